"""A cell over a sequence: every batch rank, sequences of no step, steps with their random keys, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl
from dlcore.layers.recurrent.scan import pure_step, step_shape
from tests.helpers.cells import some_slow

KEY = jax.random.key(0)
LENGTHS = np.array([5, 0, 1, 3], np.int32)
LAYERS = {
    "lstm": dl.Recurrent(dl.LSTMCell(3)),
    "gru, reverse": dl.Recurrent(dl.GRUCell(3), reverse=True),
    "flax": dl.Recurrent(nn.OptimizedLSTMCell(3)),
    "bidirectional": dl.Bidirectional(dl.LSTMCell(3), dl.GRUCell(3)),
    "chunks": dl.Recurrent(dl.LSTMCell(3), time_chunk=2),
    "deep": dl.DeepRecurrent(dl.GRUCell(3), layers=3, norm="layer", residual=True),
}


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def random_variables(layer, inputs):
    """Normally distributed variables, which need no compilation."""
    random = np.random.default_rng(1)
    shapes = jax.eval_shape(layer.init, KEY, inputs)
    return jax.tree.map(lambda leaf: random.normal(scale=0.5, size=leaf.shape).astype(leaf.dtype), shapes)


@pytest.mark.parametrize("name", some_slow([*LAYERS][:-1], ["gru, reverse"]))
def test_any_number_of_batch_dimensions(name):
    layer = LAYERS[name]
    batches = (), (2, 1, 2)

    def shaped(variables, inputs, batch):
        rows = int(np.prod(batch))
        lengths = LENGTHS[:rows].reshape(batch)  # a constant of the trace
        return layer.apply(variables, inputs[:rows].reshape(*batch, 5, 2), lengths)

    @jax.jit
    def run(variables, inputs):
        return shaped(variables, inputs, (4,)), [shaped(variables, inputs, batch) for batch in batches]

    flat, results = jax.device_get(run(random_variables(layer, normal(4, 5, 2)), normal(4, 5, 2)))
    for batch, result in zip(batches, results, strict=True):
        rows = int(np.prod(batch))
        for part, whole in zip(jax.tree.leaves(result), jax.tree.leaves(flat), strict=True):
            assert part.shape == (*batch, *whole.shape[1:])
            np.testing.assert_allclose(
                part.reshape(rows, *whole.shape[1:]), whole[:rows], rtol=1e-6, atol=1e-6
            )


def test_under_jit_lengths_out_of_bounds_count_as_0_or_all():
    layer, inputs = dl.Recurrent(dl.GRUCell(3)), normal(2, 5, 2)
    variables = random_variables(layer, inputs)
    jitted = jax.jit(lambda lengths: layer.apply(variables, inputs, lengths))
    jax.tree.map(np.testing.assert_array_equal, jitted(jnp.array([-2, 9])), jitted(jnp.array([0, 5])))


# By default a single step of a stack is left out.
@pytest.mark.parametrize(
    ("steps", "name"),
    [
        pytest.param(
            steps, name, marks=[] if name == "lstm" or (steps, name) == (0, "deep") else pytest.mark.slow
        )
        for steps in (0, 1)
        for name in LAYERS
        if name != "flax"
    ],
)
def test_sequences_of_no_and_of_one_step(steps, name):
    layer, inputs = LAYERS[name], np.ones((2, steps, 2), np.float32)
    initial = jax.tree.map(lambda part: part + 0.5, layer.initialize_carry(inputs.shape))
    run = jax.jit(lambda carry: layer.init_with_output(KEY, inputs, None, carry)[0])
    carry, outputs = run(initial)
    assert outputs.shape[:2] == (2, steps)
    if not steps:
        jax.tree.map(np.testing.assert_array_equal, carry, initial)


def test_a_sequence_of_no_step_of_a_flax_cell():
    (carry, outputs), _ = jax.eval_shape(LAYERS["flax"].init_with_output, KEY, jnp.ones((2, 0, 2)))
    assert outputs.shape == (2, 0, 3)
    assert carry[0].shape == (2, 3)


def test_a_pure_step_draws_anew_at_every_time_step():
    class Model(nn.Module):
        cell: nn.RNNCellBase

        def __call__(self, inputs):
            step = pure_step(self.cell, jnp.zeros(8), inputs, train=True)
            return jnp.stack([step(jnp.zeros(8), inputs, t)[1] for t in (0, 1, 0)])

    model = Model(dl.GRUCell(8, input_dropout=0.5))
    outputs = jax.jit(lambda: model.init_with_output({"params": KEY, "dropout": KEY}, jnp.ones(8))[0])()
    np.testing.assert_array_equal(outputs[0], outputs[2])
    assert (np.asarray(outputs[0]) != np.asarray(outputs[1])).any()


def test_the_shape_of_a_step():
    assert step_shape(dl.GRUCell(2), (7, 5, 3)) == (7, 3)
    assert step_shape(dl.ConvGRUCell(2, 3), (7, 5, 8, 9, 3)) == (7, 8, 9, 3)


X = jnp.ones((3, 5, 2))
GRU, LSTM = dl.GRUCell(4), dl.LSTMCell(4)


def run(layer, *arguments):
    return lambda: layer.init(KEY, *arguments)


REFUSED = {
    "lengths: got -1 in row 1, expected 0 to 5": run(dl.Recurrent(GRU), X, jnp.array([5, -1, 0])),
    "lengths: got 6 in row 0, expected 0 to 5": run(dl.Recurrent(GRU), X, jnp.array([6, 1, 0])),
    "lengths: got float32, expected integers; lengths.astype": run(dl.Recurrent(GRU), X, jnp.ones(3)),
    "lengths: got bool, expected integers": run(dl.Recurrent(GRU), X, jnp.array([True, False, True])),
    "lengths: got shape (2,) for inputs of shape (3, 5, 2), expected one for each row, (3,)": run(
        dl.Recurrent(GRU), X, jnp.array([5, 1])
    ),
    "lengths: got shape (3, 1) for inputs": run(dl.Recurrent(GRU), X, jnp.array([[5], [1], [2]])),
    "lengths: got shape () for inputs": run(dl.Recurrent(GRU), X, jnp.array(5)),
    "lengths: got list, expected an array of integers": run(dl.Recurrent(GRU), X, [5, 1, 0]),
    "lengths: got 9 in row (0, 2), expected 0 to 5": run(dl.Recurrent(GRU), X[None], jnp.array([[1, 2, 9]])),
    "lengths: got 7 in row 2, expected 0 to 5": run(
        dl.Bidirectional(GRU, GRU.clone()), X, jnp.array([1, 2, 7])
    ),
    "lengths: got -4 in row 0, expected 0 to 5": run(
        dl.DeepRecurrent(GRU, layers=2), X, jnp.array([-4, 2, 3])
    ),
    "inputs: got int32, expected floating point numbers": run(dl.Recurrent(GRU), X.astype(int)),
    "inputs: got complex64, expected floating point numbers": run(dl.Recurrent(GRU), X.astype(complex)),
    "inputs: got shape (5,), expected [*batch, T, features]": run(dl.Recurrent(GRU), X[0, :, 0]),
    "initial_carry: got (3, 7), expected (3, 4) for a step's inputs of shape (3, 2) and a GRUCell": run(
        dl.Recurrent(GRU), X, None, jnp.zeros((3, 7))
    ),
    "initial_carry: got (1, 4), expected (3, 4)": run(dl.Recurrent(GRU), X, None, jnp.zeros((1, 4))),
    "initial_carry: got (3, 4), expected ((3, 4), (3, 4))": run(
        dl.Recurrent(LSTM), X, None, jnp.zeros((3, 4))
    ),
    "initial_carry: got ((3, 4), (3, 4)), expected (3, 4)": run(
        dl.Recurrent(GRU), X, None, (jnp.zeros((3, 4)),) * 2
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_arguments_that_do_not_fit_are_named(message):
    with pytest.raises((ValueError, TypeError)) as caught:
        REFUSED[message]()
    assert message in str(caught.value)
    assert "expected" in str(caught.value)
    assert "\n" not in str(caught.value)
