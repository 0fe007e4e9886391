"""Long kernels by way of the Fourier transform: the same product, forward and backward."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl
from dlcore.ops.convolution import correlate_channels
from dlcore.ops.fft_convolution import fft_is_cheaper
from dlcore.ops.sizes import geometry


def relative(got, expected):
    """The largest error by the largest value, at least 1: a window may see nothing but padding."""
    return float(jnp.abs(got - expected).max() / jnp.maximum(jnp.abs(expected).max(), 1))


def test_4000_taps_go_by_fft_and_equal_the_direct_product():
    random = np.random.default_rng(0)
    signal = jnp.asarray(random.normal(size=16000), jnp.float32)
    kernel = jnp.asarray(random.normal(size=4000) / 63, jnp.float32)
    assert fft_is_cheaper((1, 16000, 1), (4000, 1, 1), geometry((16000,), (4000,), 1, 0))

    def loss(signal, kernel, method):
        return (dl.convolve(signal, kernel, "same", method) ** 2).sum()

    for method in ("auto", "fft"):
        outputs = [dl.convolve(signal, kernel, "same", way) for way in (method, "direct")]
        assert relative(*outputs) < 1e-5
        gradients = [jax.grad(loss, argnums=(0, 1))(signal, kernel, way) for way in (method, "direct")]
        for got, expected in zip(*gradients, strict=True):
            assert relative(got, expected) < 1e-5


def test_half_precision_comes_back_as_it_was():
    signal, kernel = jnp.ones(64, jnp.bfloat16), jnp.ones(9, jnp.bfloat16)
    outputs = dl.convolve(signal, kernel, "valid", "fft")
    assert outputs.dtype == jnp.bfloat16
    np.testing.assert_allclose(outputs.astype(jnp.float32), 9, rtol=1e-2)


@pytest.mark.parametrize("seed", range(20))
def test_every_option_of_a_layer_has_the_same_product(seed):
    random = np.random.default_rng(seed)
    rank, groups = int(random.integers(1, 3)), int(random.integers(1, 3))
    window, strides, dilation = (tuple(map(int, random.integers(1, 4, rank))) for _ in range(3))
    sizes = [(f - 1) * d + 1 + int(random.integers(0, 6)) for f, d in zip(window, dilation, strict=True)]
    inputs = jnp.asarray(random.normal(size=(2, *sizes, 2 * groups)), jnp.float32)
    kernel = jnp.asarray(random.normal(size=(*window, 2, 3 * groups)), jnp.float32)
    remainder = ("floor", "ceil")[seed % 2]

    def product(inputs, kernel, method):
        return correlate_channels(
            inputs,
            kernel,
            strides=strides,
            padding=[(1, 2)] * rank,
            dilation=dilation,
            groups=groups,
            remainder=remainder,
            method=method,
        )

    def loss(inputs, kernel, method):
        outputs = product(inputs, kernel, method)
        return (outputs**2).sum(), outputs

    differentiated = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True), static_argnums=2)
    fft, direct = (jax.tree.leaves(differentiated(inputs, kernel, method)) for method in ("fft", "direct"))
    for got, expected in zip(fft, direct, strict=True):
        assert got.shape == expected.shape
        assert relative(got, expected) < 1e-5


@pytest.mark.parametrize(
    ("inputs", "kernel"),
    [((64, 28, 28, 1), (3, 3, 1, 32)), ((64, 14, 14, 32), (5, 5, 32, 64)), ((1, 9, 1), (9, 1, 1))],
)
def test_short_kernels_are_multiplied_directly(inputs, kernel):
    assert not fft_is_cheaper(inputs, kernel, geometry(inputs[1:-1], kernel[:-2], 1, 0))
