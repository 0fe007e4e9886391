"""The table of layers that the tests of the transformations share is complete."""

import inspect

from flax import linen as nn

import dlcore as dl
from tests.helpers.layers import CASES, FAST, FEW, MECHANISMS, REFERENCES, modules_in

OF_TOKENS = {"EncoderDecoder", "SequenceDecoder"}
"""Modules whose inputs are tokens, which have no derivative; their parts are in the table."""


def test_every_public_layer_and_cell_is_in_the_table():
    public = {
        name
        for name in dl.__all__
        if inspect.isclass(getattr(dl, name)) and issubclass(getattr(dl, name), nn.Module)
    }
    tested = {
        type(module).__name__
        for case in CASES.values()
        if case.layer is not None
        for module in modules_in(case.layer)
    }
    assert public
    assert public - tested == OF_TOKENS


def test_the_other_lists_name_cases():
    assert {*FAST, *FEW, *MECHANISMS, *REFERENCES} <= set(CASES)
