"""Recurrent layers of a whole model: their parts in torch and flax, both ways."""

import numpy as np
import pytest
from flax.traverse_util import flatten_dict

import dlcore as dl
from dlcore.layers.convert.libraries import to_torch
from dlcore.layers.convert.modules import Layer
from dlcore.layers.convert.recurrent_parts import read_recurrent, write_recurrent

CELL = dl.LSTMCell(2)
PARAMS = {
    name: np.random.default_rng(0).normal(size=shape).astype(np.float32)
    for name, shape in {"input_kernel": (3, 8), "recurrent_kernel": (2, 8), "bias": (8,)}.items()
}
OWN = {f"params/{name}": array for name, array in PARAMS.items()}


@pytest.mark.parametrize("library", ["torch", "flax"])
@pytest.mark.parametrize("module", [CELL, dl.Recurrent(CELL)])
def test_a_cell_wherever_its_parameters_lie(module, library):
    layer = Layer(module, CELL, {"cell": "there"})
    written = write_recurrent({"cell": OWN}, layer, library)
    if library == "torch":
        suffix = "" if module is CELL else "_l0"
        assert set(written) == {f"{name}{suffix}" for name in to_torch(PARAMS, CELL)}
    back = read_recurrent(written, layer, library)
    assert set(back) == {f"params/there/{name}" for name in PARAMS}
    for name, array in PARAMS.items():
        np.testing.assert_array_equal(back[f"params/there/{name}"], array)


def test_a_stack_of_one_layer_is_torchs_layer():
    layer = Layer(dl.DeepRecurrent(CELL, layers=1), CELL, {"first": "deep/first"})
    own = {f"params/cell/{name}": array for name, array in PARAMS.items()}
    written = write_recurrent({"first": own}, layer, "torch")
    assert set(written) == {f"{name}_l0" for name in to_torch(PARAMS, CELL)}
    back = read_recurrent(written, layer, "torch")
    assert set(back) == {f"params/deep/first/{'/'.join(path)}" for path in flatten_dict({"cell": PARAMS})}
