"""The carry before the first step: made for a shape, checked, described."""

import jax.numpy as jnp
import pytest
from flax import linen as nn

import dlcore as dl
from dlcore.layers.recurrent.carry import check_carry, describe_carry, hidden_of, make_carry


@pytest.mark.parametrize(
    ("cell", "inputs", "shapes"),
    [
        (dl.GRUCell(4), (2, 3), "(2, 4)"),
        (dl.LSTMCell(4), (3,), "((4,), (4,))"),
        (dl.ConvLSTMCell(4, 3), (2, 5, 6, 3), "((2, 5, 6, 4), (2, 5, 6, 4))"),
        (nn.GRUCell(4), (2, 3), "(2, 4)"),
        (dl.FeedbackCell([dl.GRUCell(3), dl.GRUCell(4)]), (2, 3), "(((2, 3), (2, 4)), (2, 4))"),
    ],
)
def test_a_carry_has_the_shapes_of_its_cell(cell, inputs, shapes):
    carry = make_carry(cell, inputs)
    assert describe_carry(carry) == shapes
    check_carry("carry", carry, cell, inputs)


def test_another_structure_or_shape_is_refused():
    for wrong, got in ((jnp.ones((2, 4)), r"\(2, 4\)"), ((jnp.ones((2, 4)),) * 3, r"\(\(2, 4\), .*\)")):
        with pytest.raises(ValueError, match=rf"state: got {got}, expected .* and a LSTMCell"):
            check_carry("state", wrong, dl.LSTMCell(4), (2, 3))


def test_hidden_is_the_last_part():
    c, h = jnp.zeros(2), jnp.ones(2)
    assert hidden_of((c, h)) is h
    assert hidden_of(h) is h
