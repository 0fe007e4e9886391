"""Long kernels through the Fourier transform: the same product and the same gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl
from dlcore.ops.convolution import correlate_channels


def relative(got, expected):
    """The largest error by the largest value, or by 1 if that is larger: a window may see only padding."""
    return float(jnp.abs(got - expected).max() / jnp.maximum(jnp.abs(expected).max(), 1))


def test_a_long_kernel_through_the_transform_has_the_direct_product():
    random = np.random.default_rng(0)
    signal = jnp.asarray(random.normal(size=4000), jnp.float32)
    kernel = jnp.asarray(random.normal(size=2000) / 45, jnp.float32)

    def loss(signal, kernel, method):
        outputs = dl.convolve(signal, kernel, "same", method)
        return (outputs**2).sum(), outputs

    run = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True), static_argnums=2)
    fft, direct = (jax.tree.leaves(run(signal, kernel, way)) for way in ("fft", "direct"))
    for got, expected in zip(fft, direct, strict=True):
        assert relative(got, expected) < 1e-5


def test_half_precision_stays_half_precision():
    signal, kernel = jnp.ones(64, jnp.bfloat16), jnp.ones(9, jnp.bfloat16)
    outputs = jax.jit(lambda *a: dl.convolve(*a, "valid", "fft"))(signal, kernel)
    assert outputs.dtype == jnp.bfloat16
    np.testing.assert_allclose(outputs.astype(jnp.float32), 9, rtol=1e-2)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 20))])
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

    @jax.jit
    def both(inputs, kernel):
        gradient = jax.grad(loss, argnums=(0, 1), has_aux=True)
        return [jax.tree.leaves(gradient(inputs, kernel, method)) for method in ("fft", "direct")]

    fft, direct = both(inputs, kernel)
    for got, expected in zip(fft, direct, strict=True):
        assert got.shape == expected.shape
        assert relative(got, expected) < 1e-5


def test_rows_of_a_batch_do_not_mix_and_a_nan_stays_in_its_row():
    inputs = np.random.default_rng(0).normal(size=(2, 50, 1)).astype(np.float32)
    inputs[1, -1] = np.nan
    outputs = correlate_channels(inputs, jnp.ones((9, 1, 1)), padding="CAUSAL", method="fft")
    assert np.isfinite(outputs[0]).all()
    assert np.isnan(outputs[1]).all()
