"""Indirect feedback by hand, with noise, and with cells of flax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl

KEY = jax.random.key(0)


def adding(kernel):
    """h_t = x_t W, with this kernel."""
    return dl.RNNCell(
        1,
        activation=lambda z: z,
        recurrent_kernel_init=nn.initializers.zeros,
        kernel_init=lambda *_: jnp.array(kernel),
    )


def test_feedback_reaches_the_lowest_cell_from_the_uppermost():
    """h1_t = x_t + 10 h2_{t-1}, h2_t = h1_t: by hand."""
    layer = dl.Recurrent(dl.FeedbackCell([adding([[1.0], [10.0]]), adding([[1.0]])]))
    (_, outputs), _ = jax.jit(layer.init_with_output)(KEY, jnp.array([[1.0], [2.0], [3.0]]))
    assert outputs[:, 0].tolist() == [1.0, 12.0, 123.0]


@pytest.mark.slow
def test_each_cell_gets_train_if_it_knows_it():
    layer = dl.Recurrent(dl.FeedbackCell([dl.GRUCell(3, recurrent_dropout=0.5), nn.GRUCell(3)]))
    inputs = jnp.ones((2, 6, 8))

    @jax.jit
    def run(key):
        variables = layer.init(KEY, inputs)
        _, states = layer.apply(variables, inputs, train=True, rngs={"dropout": key})
        carry = layer.initialize_carry(inputs.shape)
        return states, layer.apply(variables, carry, inputs[:, 0], train=False, method="step")

    (first, step), (second, again) = run(jax.random.key(1)), run(jax.random.key(2))
    assert (np.asarray(first) != np.asarray(second)).any()
    jax.tree.map(np.testing.assert_array_equal, step, again)


def test_a_stack_without_cells_is_refused():
    with pytest.raises(ValueError, match="cells: got none, expected at least one"):
        dl.FeedbackCell([])


@pytest.mark.parametrize(
    ("cells", "error", "message"),
    [
        (dl.GRUCell(2), TypeError, "cells: got GRUCell, expected a sequence of cells"),
        ([nn.Dense(2)], TypeError, "cells: got Dense, expected cells such as"),
        (
            [dl.GRUCell(4), dl.ConvLSTMCell(4, (3,))],
            ValueError,
            "cells: got a ConvLSTMCell, expected cells over",
        ),
    ],
)
def test_what_is_no_cell_over_vectors_is_refused(cells, error, message):
    """The convolutional cell would read the batch as a spatial dimension and mix its rows."""
    with pytest.raises(error, match=message):
        dl.FeedbackCell(cells)


def test_a_feedback_cell_may_be_the_uppermost_of_another():
    inner = dl.FeedbackCell([dl.GRUCell(2), dl.LSTMCell(3)])
    layer = dl.Recurrent(dl.FeedbackCell([dl.GRUCell(2), inner]))
    (_, outputs), _ = jax.eval_shape(layer.init_with_output, jax.random.key(0), jnp.ones((2, 5, 1)))
    assert outputs.shape == (2, 5, 3)
