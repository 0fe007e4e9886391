"""A cell over a sequence: every batch rank, sequences of no step, steps with their random keys, and what is refused."""

import functools
from functools import partial

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


MASK = np.array([[0, 0, 1, 1, 1], [1, 0, 1, 0, 1], [0] * 5, [1, 1, 1, 0, 0]], bool)


def with_gradients(layer):
    """``variables, initial, inputs, lengths, mask -> gradients, (carry, outputs)``; all steps count alike."""

    def loss(variables, initial, inputs, lengths, mask):
        carry, outputs = layer.apply(variables, inputs, lengths, initial, mask=mask)
        total = (jnp.sin(outputs) * jnp.arange(1, 1 + outputs.shape[-1])).sum()
        return total + sum((part**2).sum() for part in jax.tree.leaves(carry)), (carry, outputs)

    return jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))


@pytest.mark.parametrize(
    "name", some_slow(["lstm", "gru, reverse", "bidirectional", "deep"], ["gru, reverse"])
)
def test_a_masked_row_is_the_row_of_its_valid_steps(name):
    """Rows with padding in front, with gaps, without a valid step, and with padding at the end."""
    layer, inputs = LAYERS[name], normal(4, 5, 2)
    variables, function = random_variables(layer, inputs), with_gradients(layer)
    initial = jax.tree.map(lambda part: normal(*part.shape), layer.initialize_carry(inputs.shape))
    lengths, rows = MASK.sum(1), np.zeros_like(inputs)
    for row, length in enumerate(lengths):
        rows[row, :length] = inputs[row, MASK[row]]
    spoilt = np.where(MASK[..., None], inputs, np.array([np.nan, np.inf], np.float32))
    masked, compact = jax.device_get(
        [
            function(variables, initial, spoilt, None, MASK),
            function(variables, initial, rows, lengths, None),
        ]
    )
    ((*gradients, of_inputs), (carry, outputs)), ((*expected, of_rows), (row_carry, row_outputs)) = (
        masked,
        compact,
    )
    same = partial(
        np.testing.assert_allclose, rtol=1e-6, atol=1e-7
    )  # two programs, which may round differently
    jax.tree.map(same, (gradients, carry), (expected, row_carry))
    for ours, theirs in ((outputs, row_outputs), (of_inputs, of_rows)):
        assert not ours[~MASK].any()
        for row, length in enumerate(lengths):
            same(ours[row, MASK[row]], theirs[row, :length])


def test_a_row_with_padding_in_front_is_the_row_alone():
    layer, inputs = LAYERS["gru, reverse"], normal(1, 5, 2)
    variables = random_variables(layer, inputs)
    with jax.enable_x64(True):
        variables, inputs = jax.tree.map(np.float64, (variables, inputs))
        run = jax.jit(
            lambda variables, inputs: (
                layer.apply(variables, inputs, mask=MASK[:1]),
                layer.apply(variables, inputs[:, 2:]),
            )
        )
        (carry, outputs), (alone_carry, alone) = run(variables, inputs)
    np.testing.assert_allclose(outputs[:, 2:], alone, rtol=1e-12)
    np.testing.assert_allclose(carry, alone_carry, rtol=1e-12)


def test_a_mask_has_the_inputs_batch_dimensions():
    for shape, cell in (((5, 2), GRU), ((2, 3, 5, 2), GRU), ((3, 5, 4, 2), dl.ConvGRUCell(4, (3,)))):
        steps = shape[: len(shape) - cell.num_feature_axes]
        init = functools.partial(dl.Recurrent(cell).init_with_output, KEY, mask=np.ones(steps, bool))
        (_, outputs), _ = jax.eval_shape(init, jnp.ones(shape))
        assert outputs.shape == (*shape[:-1], 4)


X = jnp.ones((3, 5, 2))
GRU, LSTM = dl.GRUCell(4), dl.LSTMCell(4)


def run(layer, *arguments, **options):
    return lambda: layer.init(KEY, *arguments, **options)


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
    "mask: got int32, expected booleans; mask > 0": run(
        dl.Recurrent(GRU), X, mask=jnp.ones((3, 5), jnp.int32)
    ),
    "mask: got shape (3,) for inputs of shape (3, 5, 2), expected one for each step, (3, 5)": run(
        dl.DeepRecurrent(GRU, layers=2), X, mask=jnp.ones(3, bool)
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
