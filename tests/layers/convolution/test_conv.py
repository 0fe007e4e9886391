"""The convolutional layer: parameters, true convolution, and what it refuses."""

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


def test_flip_is_true_convolution():
    image = jax.random.normal(KEY, (1, 5, 5, 1))
    layer = dl.Conv(1, 3, flip=True, use_bias=False)
    variables = layer.init(KEY, image)
    expected = dl.convolve(image[0, ..., 0], variables["params"]["kernel"][..., 0, 0], mode="valid")
    np.testing.assert_allclose(layer.apply(variables, image)[0, ..., 0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.uint8, jnp.bool_])
def test_conv_refuses_numbers_that_are_no_floats(dtype):
    with pytest.raises(TypeError, match=f"inputs: got {jnp.dtype(dtype)}, expected floating point numbers"):
        dl.Conv(4, 3).init(KEY, jnp.ones((1, 6, 6, 1), dtype))


def test_causal_convolution_sees_no_future():
    layer = dl.Conv(2, (3,), padding="CAUSAL", dilation=2)
    inputs = jax.random.normal(KEY, (1, 9, 1))
    variables = layer.init(KEY, inputs)
    gradient = jax.grad(lambda x: layer.apply(variables, x)[0, 5].sum())(inputs)
    assert np.nonzero(np.asarray(gradient)[0, :, 0])[0].tolist() == [1, 3, 5]
