"""The convolutional modules: parameters, pipeline, and state."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl

KEY = jax.random.key(0)


@pytest.mark.parametrize("kernel_size", [(3,), (3, 3), (2, 3, 2), 3])
def test_conv_equals_flax_where_flax_can_say_it(kernel_size):
    window = (3, 3) if kernel_size == 3 else kernel_size
    inputs = jax.random.normal(KEY, (2, *[6] * len(window), 3))
    layer = dl.Conv(5, kernel_size, padding=1)
    variables = layer.init(KEY, inputs)
    reference = nn.Conv(5, window, padding=1).apply(variables, inputs)
    np.testing.assert_allclose(layer.apply(variables, inputs), reference, rtol=1e-5, atol=1e-6)


def test_conv_has_the_lectures_number_of_weights():
    """(F * F * D1) * K weights and K biases."""
    params = dl.Conv(7, 3).init(KEY, jnp.ones((1, 6, 6, 5)))["params"]
    assert params["kernel"].size == 3 * 3 * 5 * 7
    assert params["bias"].size == 7
    assert "bias" not in dl.Conv(7, 3, use_bias=False).init(KEY, jnp.ones((1, 6, 6, 5)))["params"]


def test_conv_computes_in_the_dtype_it_is_told():
    inputs = jnp.ones((1, 4, 4, 1), jnp.float32)
    outputs, variables = dl.Conv(2, 3, dtype=jnp.bfloat16).init_with_output(KEY, inputs)
    assert outputs.dtype == jnp.bfloat16
    assert variables["params"]["kernel"].dtype == jnp.float32


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (dl.Conv(4, 3), (2, 6, 1), "inputs: got shape"),
        (dl.Conv(4, (3,)), (2, 6, 6, 1), "inputs: got shape"),
        (dl.Conv(4, 7), (2, 6, 6, 1), "kernel_size: got 7"),
        (dl.Conv(4, 0), (2, 6, 6, 1), "kernel_size: got"),
        (dl.Conv(0, 3), (2, 6, 6, 1), "features: got 0"),
        (dl.Conv(4, 3, strides=2), (2, 6, 6, 1), r"= 2\.5, expected a whole number"),
        (dl.Conv(4, 3, groups=3), (2, 6, 6, 2), "groups: got 3"),
    ],
)
def test_conv_refuses_what_does_not_fit(layer, shape, message):
    with pytest.raises(ValueError, match=message):
        layer.init(KEY, jnp.ones(shape))


def test_stack_is_conv_relu_pool_repeated():
    blocks = [dl.ConvBlock(3), dl.ConvBlock(5, kernel_size=2, padding=0, pool=None)]
    inputs = jax.random.normal(KEY, (2, 8, 8, 1))
    outputs, variables = dl.ConvStack(blocks).init_with_output(KEY, inputs, train=False)
    params = variables["params"]
    maps = dl.max_pool(nn.relu(dl.Conv(3, 3, padding=1).apply({"params": params["conv_0"]}, inputs)))
    expected = nn.relu(dl.Conv(5, 2).apply({"params": params["conv_1"]}, maps))
    np.testing.assert_allclose(outputs, expected, rtol=1e-6)
    assert outputs.shape == (2, 3, 3, 5)


def test_stack_in_training_updates_statistics_and_drops():
    stack = dl.ConvStack([dl.ConvBlock(8, norm="batch", dropout=0.5)])
    inputs = jax.random.normal(KEY, (16, 4, 4, 1))
    variables = stack.init(KEY, inputs, train=False)
    outputs, updated = stack.apply(
        variables, inputs, train=True, rngs={"dropout": KEY}, mutable=["batch_stats"]
    )
    before, after = variables["batch_stats"], updated["batch_stats"]
    assert not np.array_equal(before["BatchNorm_0"]["mean"], after["BatchNorm_0"]["mean"])
    assert 0.4 < (np.asarray(outputs) == 0).mean() < 0.9
    still = stack.apply(variables, inputs, train=False)
    np.testing.assert_array_equal(still, stack.apply(variables, inputs, train=False))


@pytest.mark.parametrize(
    ("options", "message"), [({"dropout": 1.0}, "dropout: got 1.0"), ({"norm": "b"}, "norm: got")]
)
def test_block_refuses_bad_settings(options, message):
    with pytest.raises(ValueError, match=message):
        dl.ConvBlock(4, **options)
