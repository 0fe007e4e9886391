"""Deep recurrent stacks: the same numbers as layer on layer by hand, compiled once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl

KEY = jax.random.key(0)
LENGTHS = jnp.array([5, 2, 0])


def layer_params(params, number):
    """The parameters of one layer of a stack."""
    if not number:
        return params["first"]
    return jax.tree.map(lambda leaf: leaf[number - 1], params["upper"]["layer"])


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("residual", [False, True])
def test_a_stack_equals_its_layers_one_after_the_other(bidirectional, residual):
    inputs = jax.random.normal(KEY, (3, 5, 2))
    stack = dl.DeepRecurrent(dl.LSTMCell(4), layers=3, bidirectional=bidirectional, residual=residual)
    variables = stack.init(KEY, inputs, train=False)
    carry, outputs = stack.apply(variables, inputs, LENGTHS, train=False)
    cell = dl.LSTMCell(4)
    layer = dl.Bidirectional(cell, cell.clone()) if bidirectional else dl.Recurrent(cell)
    expected = inputs
    for number in range(3):
        params = {"params": layer_params(variables["params"], number)}
        own, above = layer.apply(params, expected, LENGTHS)
        expected = expected + above if residual and number else above
        for part, whole in zip(jax.tree.leaves(own), jax.tree.leaves(carry), strict=True):
            np.testing.assert_allclose(whole[number], part, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)
    again, _ = stack.apply(variables, inputs, LENGTHS, carry, train=False)
    assert jax.tree.map(jnp.shape, again) == jax.tree.map(jnp.shape, carry)


def test_each_layer_begins_with_parameters_of_its_own():
    variables = dl.DeepRecurrent(dl.GRUCell(4), layers=3).init(KEY, jnp.ones((1, 2, 4)), train=False)
    kernels = variables["params"]["upper"]["layer"]["cell"]["recurrent_kernel"]
    assert (np.asarray(kernels[0]) != np.asarray(kernels[1])).any()


def test_dropout_lies_between_layers_and_batch_statistics_are_of_valid_steps():
    inputs = jax.random.normal(KEY, (3, 5, 2))
    padded = jnp.where((jnp.arange(5) < LENGTHS[:, None])[..., None], inputs, jnp.nan)
    stack = dl.DeepRecurrent(dl.GRUCell(4), layers=2, norm="batch", dropout=0.5)
    variables = stack.init(KEY, inputs, train=False)
    (_, outputs), state = stack.apply(
        variables, padded, LENGTHS, train=True, rngs={"dropout": KEY}, mutable=["batch_stats"]
    )
    assert np.isfinite(outputs).all()
    _, below = dl.Recurrent(dl.GRUCell(4)).apply({"params": variables["params"]["first"]}, padded, LENGTHS)
    valid = np.concatenate([below[0], below[1, :2]])
    mean = state["batch_stats"]["upper"]["norm"]["mean"][0]
    np.testing.assert_allclose(mean, 0.1 * valid.mean(axis=0), rtol=1e-5, atol=1e-6)
    one = dl.DeepRecurrent(dl.GRUCell(4), layers=1, dropout=0.9)
    alone = one.init(KEY, inputs, train=False)
    np.testing.assert_array_equal(
        one.apply(alone, inputs, train=True, rngs={"dropout": KEY})[1],
        one.apply(alone, inputs, train=False)[1],
    )
    different = [
        stack.apply(
            variables, inputs, train=True, rngs={"dropout": jax.random.key(seed)}, mutable=["batch_stats"]
        )[0][1]
        for seed in (1, 2)
    ]
    assert (np.asarray(different[0]) != np.asarray(different[1])).any()


def test_a_deep_stack_is_one_program_whatever_its_depth():
    def program(layers):
        stack = dl.DeepRecurrent(dl.LSTMCell(8), layers=layers)
        inputs = jnp.ones((2, 5, 8))
        variables = jax.eval_shape(lambda: stack.init(KEY, inputs, train=False))
        loss = lambda variables: stack.apply(variables, inputs, train=False)[1].sum()
        return jax.jit(jax.grad(loss)).lower(variables)

    two, three, many = map(program, (2, 3, 24))
    assert len(many.as_text()) <= 1.05 * len(two.as_text())
    # Compiled, a loop of a single upper layer is none any more.
    assert len(many.compile().as_text()) <= 1.05 * len(three.compile().as_text())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 0}, "layers: got 0, expected an integer >= 1"),
        ({"layers": 2, "dropout": 1.0}, r"dropout: got 1\.0, expected a share"),
        ({"layers": 2, "norm": "group"}, "norm: got 'group', expected None"),
        ({"layers": 2, "bidirectional": True, "reverse": True}, "reverse: got True with bidirectional"),
    ],
)
def test_settings_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        dl.DeepRecurrent(dl.GRUCell(2), **options)


def test_a_carry_of_another_number_of_layers_is_refused():
    stack = dl.DeepRecurrent(dl.GRUCell(2), layers=3)
    with pytest.raises(
        ValueError, match=r"initial_carry: got \(2, 1, 2\), expected a first dimension of 3 layers"
    ):
        stack.init(KEY, jnp.ones((1, 4, 2)), None, jnp.zeros((2, 1, 2)), train=False)


def test_feedback_reaches_the_lowest_layer_from_the_uppermost():
    """h1_t = x_t + 10 h2_{t-1}, h2_t = h1_t: by hand."""
    cells = [
        dl.RNNCell(
            1,
            activation=lambda z: z,
            recurrent_kernel_init=jax.nn.initializers.zeros,
            kernel_init=lambda *_: jnp.array([[1.0], [10.0]]),
        ),
        dl.RNNCell(
            1,
            activation=lambda z: z,
            recurrent_kernel_init=jax.nn.initializers.zeros,
            kernel_init=jax.nn.initializers.ones,
        ),
    ]
    outputs = dl.Recurrent(dl.FeedbackCell(cells)).init_with_output(KEY, jnp.array([[1.0], [2.0], [3.0]]))[0][
        1
    ]
    assert outputs[:, 0].tolist() == [1.0, 12.0, 123.0]
