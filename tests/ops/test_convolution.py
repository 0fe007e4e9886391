"""Convolution and correlation against the lecture's numbers, SciPy, and the definition as loops."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

import dlcore as dl
from dlcore.ops.convolution import correlate_channels

IMAGE = np.array(  # lecture: the 6 x 6 image and filter 1
    [
        [0, 1, 0, 0, 1, 0],
        [0, 1, 0, 0, 1, 0],
        [0, 1, 0, 0, 1, 0],
        [1, 0, 0, 0, 0, 1],
        [0, 1, 0, 0, 1, 0],
        [0, 0, 1, 1, 0, 0],
    ],
    np.float32,
)
FILTER = np.array([[-1, 1, -1]] * 3, np.float32)


def by_loops(inputs, kernel, strides, pairs, dilation, groups):
    """The definition, one product at a time, in float64."""
    inputs = np.pad(inputs.astype(np.float64), ((0, 0), *pairs, (0, 0)))
    window, depth, features = kernel.shape[:-2], kernel.shape[-2], kernel.shape[-1]
    sizes = [
        (n - (f - 1) * d - 1) // s + 1
        for n, f, s, d in zip(inputs.shape[1:-1], window, strides, dilation, strict=True)
    ]
    outputs = np.zeros((len(inputs), *sizes, features))
    for place in itertools.product(*map(range, sizes)):
        for cell in itertools.product(*map(range, window)):
            pixel = tuple(p * s + c * d for p, s, c, d in zip(place, strides, cell, dilation, strict=True))
            for k in range(features):
                group = k // (features // groups)
                seen = inputs[(slice(None), *pixel, slice(group * depth, (group + 1) * depth))]
                outputs[(slice(None), *place, k)] += seen @ kernel[(*cell, slice(None), k)]
    return outputs


def some(seeds, fast):
    """The first seeds, and the others marked as slow."""
    return [*range(fast), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(fast, seeds))]


@pytest.mark.parametrize("seed", some(24, fast=5))
def test_equals_the_definition_written_as_loops(seed):
    random = np.random.default_rng(seed)
    rank, groups = random.integers(1, 4), int(random.integers(1, 3))
    window, strides, dilation = (tuple(map(int, random.integers(1, 4, rank))) for _ in range(3))
    pairs = tuple((int(a), int(b)) for a, b in random.integers(0, 3, (rank, 2)))
    sizes = [(f - 1) * d + 1 + int(random.integers(0, 5)) for f, d in zip(window, dilation, strict=True)]
    inputs = random.normal(size=(2, *sizes, 2 * groups)).astype(np.float32)
    kernel = random.normal(size=(*window, 2, 3 * groups)).astype(np.float32)
    options = {"strides": strides, "padding": pairs, "dilation": dilation, "groups": groups}
    run = jax.jit(functools.partial(correlate_channels, **options, remainder="floor"))
    np.testing.assert_allclose(
        run(inputs, kernel), by_loops(inputs, kernel, strides, pairs, dilation, groups), rtol=1e-4, atol=1e-4
    )


def test_the_lectures_image_and_filter():
    maps = correlate_channels(IMAGE[None, :, :, None], FILTER[:, :, None, None])[0, :, :, 0]
    assert maps.shape == (4, 4)
    np.testing.assert_array_equal(maps, signal.correlate2d(IMAGE, FILTER, mode="valid"))
    assert maps[0, 0] == 3  # the vertical line is under the filter's middle column
    by_three = correlate_channels(IMAGE[None, :, :, None], FILTER[:, :, None, None], strides=3)
    np.testing.assert_array_equal(by_three[0, :, :, 0], maps[::3, ::3])


def test_backward_is_the_lectures():
    """dL/dX is the full convolution of the filter and dL/dO, dL/dF the correlation of X and dL/dO."""
    random = np.random.default_rng(0)
    image, kernel, arriving = (random.normal(size=(n, n)).astype(np.float32) for n in (3, 2, 2))

    def loss(image, kernel):
        return (
            correlate_channels(image[None, :, :, None], kernel[:, :, None, None])[0, :, :, 0] * arriving
        ).sum()

    to_image, to_kernel = jax.jit(jax.grad(loss, argnums=(0, 1)))(image, kernel)
    np.testing.assert_allclose(to_image, signal.convolve2d(arriving, kernel, mode="full"), rtol=1e-5)
    np.testing.assert_allclose(to_kernel, signal.correlate2d(image, arriving, mode="valid"), rtol=1e-5)


@pytest.mark.parametrize(
    ("shape", "kernel", "options", "message"),
    [
        ((2, 5, 1), (3, 3, 1, 4), {}, "inputs: got shape"),
        ((2, 5, 5, 3), (3, 3, 1, 4), {}, "groups: got 1 for 3 input channels"),
        ((2, 5, 5, 3), (3, 3, 1, 4), {"groups": 3}, "groups: got 3"),
        ((2, 5, 5, 1), (3, 3, 1, 4), {"groups": 0}, "groups: got 0"),
        ((2, 2, 5, 1), (3, 3, 1, 4), {}, "kernel_size: got 3, which spans 3 pixels, expected at most"),
        ((2, 5, 5, 1), (3, 3, 1, 4), {"strides": 0}, "strides: got 0"),
        ((2, 5, 5, 1), (3, 3, 1, 4), {"strides": (1, 1, 1)}, "strides: got"),
        ((2, 5, 5, 1), (3, 3, 1, 4), {"dilation": 0}, "dilation: got 0"),
        ((2, 5, 5, 1), (3, 3, 1, 4), {"padding": -1}, "padding: got -1"),
        ((2, 5, 5, 1), (3, 3, 1, 4), {"padding": "HALF"}, "padding: got"),
        ((2, 5, 5, 1), (3, 3, 1, 4), {"padding": ((1, 1),)}, "padding: got"),
        ((2, 5, 5, 1), (3, 3, 1, 4), {"padding": "CAUSAL"}, "padding: got .CAUSAL. in 2 dimensions"),
        ((2, 5, 5, 1), (3, 3, 1, 4), {"method": "fast"}, 'method: got \'fast\', expected "direct" or "fft"'),
        ((2, 5, 5, 0), (3, 3, 0, 4), {}, r"inputs: got shape \(2, 5, 5, 0\), expected at least one channel"),
        ((), (3, 3, 1, 4), {}, r"inputs: got shape \(\)"),
        ((2, 5, 5, 1), (3, 3, 1, 4), {"remainder": "x"}, "remainder: got 'x'"),
        ((2, 6, 6, 1), (3, 3, 1, 4), {"strides": 2}, "the last 1 of 6 pixels would be dropped"),
    ],
)
def test_shapes_and_settings_that_do_not_fit_are_refused_by_name(shape, kernel, options, message):
    with pytest.raises(ValueError, match=message):
        correlate_channels(np.ones(shape, np.float32), np.ones(kernel, np.float32), **options)


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.uint8, jnp.complex64])
def test_numbers_that_are_not_floats_are_refused(dtype):
    with pytest.raises(TypeError, match=f"inputs: got {jnp.dtype(dtype)}, expected floating point numbers"):
        correlate_channels(np.ones((2, 5, 5, 1), dtype), np.ones((3, 3, 1, 4)))


def test_the_lectures_1d_example():
    """Flip, shift, multiply: x = {.5, .5, .5}, h = {3, 2, 1}."""
    signal, kernel = [0.5, 0.5, 0.5], [3, 2, 1]
    np.testing.assert_array_equal(dl.convolve(signal, kernel), [1.5, 2.5, 3.0, 1.5, 0.5])
    flipped = {0: [3, 0, 0], 1: [2, 3, 0], 2: [1, 2, 3], 3: [0, 1, 2], 4: [0, 0, 1]}
    for n, shifted in flipped.items():
        assert np.dot(signal, shifted) == dl.convolve(signal, kernel)[n]


def test_the_lectures_2d_example():
    """The origin lies in the middle of the kernel, which is flipped in both directions."""
    image, sobel = np.arange(1.0, 10).reshape(3, 3), [[-1, -2, -1], [0, 0, 0], [1, 2, 1]]
    convolved = dl.convolve(image, sobel, mode="same")
    np.testing.assert_array_equal(convolved, [[-13, -20, -17], [-18, -24, -18], [13, 20, 17]])
    assert convolved[1, 1] == (1 * 1 + 2 * 2 + 3 * 1) + (4 * 0 + 5 * 0 + 6 * 0) + (7 * -1 + 8 * -2 + 9 * -1)


def test_convolution_is_correlation_with_the_filter_rotated():
    """The lecture's o_11 ... o_22 of both, for a 3 x 3 input and a 2 x 2 filter."""
    x, f = np.random.default_rng(0).normal(size=(3, 3)), np.random.default_rng(1).normal(size=(2, 2))
    correlated = [
        [
            f[0, 0] * x[i, j] + f[0, 1] * x[i, j + 1] + f[1, 0] * x[i + 1, j] + f[1, 1] * x[i + 1, j + 1]
            for j in range(2)
        ]
        for i in range(2)
    ]
    convolved = [
        [
            f[1, 1] * x[i, j] + f[1, 0] * x[i, j + 1] + f[0, 1] * x[i + 1, j] + f[0, 0] * x[i + 1, j + 1]
            for j in range(2)
        ]
        for i in range(2)
    ]
    np.testing.assert_allclose(dl.correlate(x, f, "valid"), correlated, rtol=1e-5)
    np.testing.assert_allclose(dl.convolve(x, f, "valid"), convolved, rtol=1e-5)
    np.testing.assert_allclose(dl.correlate(x, f[::-1, ::-1], "valid"), convolved, rtol=1e-5)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("method", ["direct", "fft"])
@pytest.mark.parametrize("seed", some(10, fast=1))
def test_equals_scipy(mode, method, seed):
    """In one, two and three dimensions."""
    random = np.random.default_rng(seed)
    rank = 1 + (seed + ("full", "same", "valid").index(mode)) % 3
    kernel = random.normal(size=random.integers(1, 6, rank))
    x = random.normal(size=[int(n + random.integers(0, 6)) for n in kernel.shape])
    both = jax.jit(lambda x, kernel: [f(x, kernel, mode, method) for f in (dl.convolve, dl.correlate)])
    for got, theirs in zip(both(x, kernel), (signal.convolve, signal.correlate), strict=True):
        expected = theirs(x, kernel, mode=mode, method="direct")
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_more_dimensions_than_layers_have():
    random = np.random.default_rng(0)
    x, kernel = random.normal(size=(4, 3, 5, 3)), random.normal(size=(2, 3, 2, 1))
    np.testing.assert_allclose(dl.convolve(x, kernel), signal.convolve(x, kernel), rtol=1e-4, atol=1e-5)


def test_a_kernel_longer_than_the_signal_is_convolved_in_full():
    x, kernel = np.arange(3.0) + 1, np.arange(7.0)
    np.testing.assert_allclose(dl.convolve(x, kernel), np.convolve(x, kernel), rtol=1e-6)
    with pytest.raises(ValueError, match="kernel_size: got 7"):
        dl.convolve(x, kernel, "valid")


@pytest.mark.parametrize(
    ("x", "kernel", "mode", "error", "message"),
    [
        ([1.0, 2], [[1.0]], "full", ValueError, r"kernel: got shape \(1, 1\) for a signal of shape \(2,\)"),
        ([], [1.0], "full", ValueError, "none empty"),
        (1.0, 2.0, "full", ValueError, "at least one"),
        ([1.0], [1.0], "half", ValueError, "mode: got 'half'"),
        ([1j], [1.0], "full", TypeError, "signal: got complex64"),
        ([1.0], [1j], "full", TypeError, "kernel: got complex64"),
        (None, [1.0], "full", TypeError, "signal: got None"),
        ("text", [1.0], "full", TypeError, "signal: got 'text'"),
        ([[1.0], [1.0, 2.0]], [1.0], "full", TypeError, "signal: got"),
        ([1.0], np.ma.masked_array([1.0], [True]), "full", TypeError, "kernel: got a masked array"),
        ([1.0], [1.0], ["full"], ValueError, r"mode: got \['full'\]"),
    ],
)
def test_arrays_that_cannot_be_convolved_are_refused_by_name(x, kernel, mode, error, message):
    with pytest.raises(error, match=message):
        dl.convolve(x, kernel, mode)


@pytest.mark.parametrize("wrong", [[[1.0]], None, 1.0, np.ma.masked_array(np.ones((1, 5, 1)), True)])
def test_what_is_no_array_is_refused_by_name(wrong):
    for arguments in ((wrong, jnp.ones((3, 1, 1))), (jnp.ones((1, 5, 1)), wrong)):
        with pytest.raises(
            TypeError, match=r"(inputs|kernel): got .*, expected an array of floating point numbers"
        ):
            correlate_channels(*arguments)
    for groups in ("1", None, 1.0):
        with pytest.raises(TypeError, match="groups: got"):
            correlate_channels(jnp.ones((1, 5, 1)), jnp.ones((3, 1, 1)), groups=groups)


@pytest.mark.parametrize("batch", [1, 8])
def test_an_output_depends_on_the_places_under_its_window_only(batch):
    """400 causal taps: NaN in the last sample reaches the last output only, and a spike of 1e8 changes no other."""
    kernel = jnp.asarray(np.random.default_rng(0).normal(size=(400, 1, 4)), jnp.float32)
    inputs = np.random.default_rng(1).normal(size=(batch, 2000, 1)).astype(np.float32)
    spoilt, spiked = inputs.copy(), inputs.copy()
    spoilt[:, -1], spiked[:, -1] = np.nan, 1e8
    outputs, with_nan, with_spike = (
        np.asarray(correlate_channels(x, kernel, padding="CAUSAL")) for x in (inputs, spoilt, spiked)
    )
    np.testing.assert_array_equal(with_nan[:, :-1], outputs[:, :-1])
    np.testing.assert_array_equal(with_spike[:, :-1], outputs[:, :-1])
    assert np.isnan(with_nan[:, -1]).all()


def test_a_signal_and_a_long_kernel_are_convolved_where_they_meet_only():
    signal, kernel = np.random.default_rng(0).normal(size=(2, 4000)).astype(np.float32)
    spoilt = signal.copy()
    spoilt[-1] = np.nan
    np.testing.assert_array_equal(dl.convolve(spoilt, kernel)[:3999], dl.convolve(signal, kernel)[:3999])


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize(
    ("shape", "kernel", "groups"),
    [
        ((2, 600, 1), (512, 1, 4), 1),  # one channel
        ((2, 60, 1), (30, 1, 100), 1),  # a few weights for many filters
        ((2, 60, 6), (30, 1, 6), 6),  # depthwise
        ((2, 20, 80), (9, 40, 4), 2),  # groups
        ((2, 12, 12, 16), (8, 8, 16, 3), 1),
    ],
)
def test_products_of_half_precision_are_summed_in_float32(dtype, shape, kernel, groups):
    """Outputs and both gradients against float64; a sum in half precision is off by tens of roundings."""
    random = np.random.default_rng(0)
    arrays = [jnp.asarray(random.uniform(0.5, 1, size), dtype) for size in (shape, kernel)]

    def run(inputs, weights):
        outputs, pull_back = jax.vjp(lambda *a: correlate_channels(*a, groups=groups), inputs, weights)
        return outputs, *pull_back(jnp.full_like(outputs, 1 / 64))

    got = jax.jit(run)(*arrays)
    with jax.enable_x64(True):
        exact = jax.jit(run)(*(jnp.asarray(np.asarray(array, np.float64)) for array in arrays))
    for values, expected in zip(got, exact, strict=True):
        assert values.dtype == dtype
        error = np.abs(np.asarray(values, np.float64) - np.asarray(expected)).max()
        assert error < 1.5 * float(jnp.finfo(dtype).eps) * np.abs(expected).max()
