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
    ("cells", "message"),
    [
        (dl.GRUCell(2), "cells: got GRUCell, expected a sequence of cells"),
        ([nn.Dense(2)], "cells: got Dense, expected cells such as"),
    ],
)
def test_what_is_no_sequence_of_cells_is_refused(cells, message):
    with pytest.raises(TypeError, match=message):
        dl.FeedbackCell(cells)


@pytest.mark.parametrize("cells", [[dl.GRUCell(4), dl.ConvLSTMCell(4, (3,))], [dl.ConvGRUCell(4, 3)]])
def test_cells_over_images_are_refused(cells):
    """Within a stack they took the places of an image for rows of the batch."""
    with pytest.raises(
        ValueError, match=r"cells: got a Conv\w+Cell, expected cells over \[\.\.\., features\]"
    ):
        dl.FeedbackCell(cells)


@pytest.mark.parametrize("where", ["compact", "setup"])
def test_a_stack_that_a_model_makes_itself_runs_as_one_from_outside(where):
    """Flax binds the cells that a compact method makes to the method's module, not to the stack."""
    make = lambda: dl.Recurrent(
        dl.FeedbackCell([dl.RNNCell(3), dl.FeedbackCell([dl.GRUCell(3), dl.LSTMCell(4)])])
    )

    class Compact(nn.Module):
        @nn.compact
        def __call__(self, inputs):
            return make()(inputs)[1]

    class SetUp(nn.Module):
        def setup(self):
            self.layer = make()

        def __call__(self, inputs):
            return self.layer(inputs)[1]

    model = {"compact": Compact, "setup": SetUp}[where]()
    inputs = jax.random.normal(KEY, (2, 5, 1))

    @jax.jit
    def run(inputs):
        outputs, variables = model.init_with_output(KEY, inputs)
        gradient = jax.grad(lambda variables: (model.apply(variables, inputs) ** 2).sum())(variables)
        if where == "setup":
            params = variables["params"]["layer"]
        else:
            params = variables["params"]
            inner = {"cells_0": params["GRUCell_0"], "cells_1": params["LSTMCell_0"]}
            params = {"cell": {"cells_0": params["RNNCell_0"], "cells_1": inner}}
        return outputs, make().apply({"params": params}, inputs)[1], gradient

    outputs, expected, gradient = run(inputs)
    np.testing.assert_allclose(outputs, expected, rtol=1e-6, atol=1e-6)
    assert all(np.asarray(leaf).any() for leaf in jax.tree.leaves(gradient))
