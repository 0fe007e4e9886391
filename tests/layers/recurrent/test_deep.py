"""Deep recurrent stacks: the same numbers as layer on layer by hand, compiled once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl

KEY = jax.random.key(0)
LENGTHS = jnp.array([5, 2, 0])


def random_variables(stack, inputs):
    """Normally distributed variables, which need no compilation."""
    random = np.random.default_rng(0)
    shapes = jax.eval_shape(stack.init, KEY, inputs)
    return jax.tree.map(lambda leaf: random.normal(scale=0.5, size=leaf.shape).astype(leaf.dtype), shapes)


def layer_params(params, index):
    """The parameters of one layer of a stack."""
    if not index:
        return params["first"]
    return jax.tree.map(lambda leaf: leaf[index - 1], params["upper"]["layer"])


@pytest.mark.parametrize(
    ("bidirectional", "residual"),
    [
        (False, True),
        pytest.param(True, False, marks=pytest.mark.slow),
        pytest.param(False, False, marks=pytest.mark.slow),
        pytest.param(True, True, marks=pytest.mark.slow),
    ],
)
def test_a_stack_equals_its_layers_one_after_the_other(bidirectional, residual):
    stack = dl.DeepRecurrent(dl.LSTMCell(4), layers=3, bidirectional=bidirectional, residual=residual)
    cell = dl.LSTMCell(4)
    layer = dl.Bidirectional(cell, cell.clone()) if bidirectional else dl.Recurrent(cell)

    @jax.jit
    def run(variables, inputs):
        result = stack.apply(variables, inputs, LENGTHS)
        expected, layers = inputs, []
        for index in range(3):
            params = {"params": layer_params(variables["params"], index)}
            carry, above = layer.apply(params, expected, LENGTHS)
            expected = expected + above if residual and index else above
            layers.append(carry)
        return result, (jax.tree.map(lambda *parts: jnp.stack(parts), *layers), expected)

    inputs = np.random.default_rng(1).normal(size=(3, 5, 2)).astype(np.float32)
    result, expected = run(random_variables(stack, inputs), inputs)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), result, expected)


@pytest.mark.slow
def test_each_layer_has_its_own_initial_parameters():
    stack = dl.DeepRecurrent(dl.GRUCell(4, recurrent_kernel_init=nn.initializers.normal()), layers=3)
    variables = jax.jit(stack.init)(KEY, jnp.ones((1, 2, 4)))
    kernels = variables["params"]["upper"]["layer"]["cell"]["recurrent_kernel"]
    assert (np.asarray(kernels[0]) != np.asarray(kernels[1])).any()


def test_dropout_lies_between_layers_and_batch_statistics_count_valid_steps():
    inputs = jax.random.normal(KEY, (3, 5, 2))
    padded = jnp.where((jnp.arange(5) < LENGTHS[:, None])[..., None], inputs, jnp.nan)
    stack = dl.DeepRecurrent(dl.GRUCell(4), layers=2, norm="batch", dropout=0.5)
    first, variables = dl.Recurrent(dl.GRUCell(4)), random_variables(stack, inputs)
    variables["batch_stats"] = jax.tree.map(np.zeros_like, variables["batch_stats"])

    @jax.jit
    def run(key):
        (_, outputs), state = stack.apply(
            variables, padded, LENGTHS, train=True, rngs={"dropout": key}, mutable=["batch_stats"]
        )
        _, below = first.apply({"params": variables["params"]["first"]}, padded, LENGTHS)
        return outputs, state["batch_stats"]["upper"]["norm"]["mean"][0], below

    outputs, mean, below = run(jax.random.key(1))
    assert np.isfinite(outputs).all()
    valid = np.concatenate([below[0], below[1, :2]])
    np.testing.assert_allclose(mean, 0.1 * valid.mean(axis=0), rtol=1e-5, atol=1e-6)
    assert (np.asarray(outputs) != np.asarray(run(jax.random.key(2))[0])).any()


def test_a_single_layer_has_no_dropout_after_it():
    stack, inputs = dl.DeepRecurrent(dl.GRUCell(4), layers=1, dropout=0.9), np.ones((3, 5, 2), np.float32)
    variables = random_variables(stack, inputs)

    @jax.jit
    def run(key):
        trained = stack.apply(variables, inputs, train=True, rngs={"dropout": key})
        return trained, stack.apply(variables, inputs)

    jax.tree.map(np.testing.assert_array_equal, *run(KEY))


@pytest.mark.slow
def test_the_cells_noise_differs_between_layers():
    stack = dl.DeepRecurrent(dl.GRUCell(8, zoneout=0.5), layers=3)

    @jax.jit
    def run(key):
        inputs = jnp.ones((2, 1, 8))
        variables = stack.init(KEY, inputs)
        carry, _ = stack.apply(variables, inputs, train=True, rngs={"dropout": key})
        return carry == 0  # the units that kept their initial state

    kept = np.asarray(run(KEY))
    assert (kept[1] != kept[2]).any()
    assert (kept[0] != kept[1]).any()


def test_upper_layers_one_by_one_are_the_scan():
    stack = dl.DeepRecurrent(dl.GRUCell(4), layers=3, norm="layer", residual=True)
    inputs = np.random.default_rng(1).normal(size=(3, 5, 2)).astype(np.float32)

    def one_by_one(bound):
        initial = bound.initialize_carry(inputs.shape)
        layer = dl.Recurrent(dl.GRUCell(4))
        _, outputs = layer.apply({"params": bound.variables["params"]["first"]}, inputs, LENGTHS)
        for index, run in enumerate(bound.upper_layers()):
            outputs, _ = run(outputs, initial[index + 1], LENGTHS)
        return outputs

    @jax.jit
    def run(variables):
        _, outputs = stack.apply(variables, inputs, LENGTHS)
        return outputs, one_by_one(stack.bind(variables))

    np.testing.assert_allclose(*run(random_variables(stack, inputs)), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_deep_stack_is_one_program_whatever_its_depth():
    def program(layers):
        stack = dl.DeepRecurrent(dl.LSTMCell(8), layers=layers)
        inputs = jnp.ones((2, 5, 8))
        variables = jax.eval_shape(lambda: stack.init(KEY, inputs))
        loss = lambda variables: stack.apply(variables, inputs)[1].sum()
        return jax.jit(jax.grad(loss)).lower(variables)

    two, three, many = map(program, (2, 3, 24))
    assert len(many.as_text()) <= 1.05 * len(two.as_text())
    # The compiler unrolls a loop over a single upper layer.
    assert len(many.compile().as_text()) <= 1.05 * len(three.compile().as_text())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 0}, "layers: got 0, expected an integer >= 1"),
        ({"layers": 1.5}, "layers: got 1.5, expected an integer >= 1"),
        ({"layers": 2, "dropout": 1.0}, r"dropout: got 1\.0, expected a number"),
        ({"layers": 2, "norm": "group"}, 'norm: got \'group\', expected "batch", "layer" or None'),
        ({"layers": 2, "residual": "no"}, "residual: got 'no', expected True or False"),
        ({"layers": 2, "merge": "bogus"}, "merge: got 'bogus', expected \"concat\""),
        ({"layers": 2, "bidirectional": True, "reverse": True}, "reverse: got True with bidirectional"),
    ],
)
def test_settings_that_do_not_fit_are_refused(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        dl.DeepRecurrent(dl.GRUCell(2), **options)


def test_a_carry_of_another_number_of_layers_is_refused():
    stack = dl.DeepRecurrent(dl.GRUCell(2), layers=3)
    with pytest.raises(
        ValueError, match=r"initial_carry: got \(2, 1, 2\), expected a first dimension of 3 layers"
    ):
        stack.init(KEY, jnp.ones((1, 4, 2)), None, jnp.zeros((2, 1, 2)))
