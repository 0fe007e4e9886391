"""The convolutional layer's product and the arithmetic of its sizes."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from dlcore.ops.convolution import correlate_channels, output_size, resolve_padding

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
            at = tuple(p * s + c * d for p, s, c, d in zip(place, strides, cell, dilation, strict=True))
            for k in range(features):
                group = k // (features // groups)
                seen = inputs[(slice(None), *at, slice(group * depth, (group + 1) * depth))]
                outputs[(slice(None), *place, k)] += seen @ kernel[(*cell, slice(None), k)]
    return outputs


@pytest.mark.parametrize("seed", range(24))
def test_equals_the_definition_written_as_loops(seed):
    random = np.random.default_rng(seed)
    rank, groups = random.integers(1, 4), int(random.integers(1, 3))
    window, strides, dilation = (tuple(map(int, random.integers(1, 4, rank))) for _ in range(3))
    pairs = tuple((int(a), int(b)) for a, b in random.integers(0, 3, (rank, 2)))
    sizes = [(f - 1) * d + 1 + int(random.integers(0, 5)) for f, d in zip(window, dilation, strict=True)]
    inputs = random.normal(size=(2, *sizes, 2 * groups)).astype(np.float32)
    kernel = random.normal(size=(*window, 2, 3 * groups)).astype(np.float32)
    outputs = correlate_channels(
        jnp.asarray(inputs),
        jnp.asarray(kernel),
        strides=strides,
        padding=pairs,
        dilation=dilation,
        groups=groups,
        remainder="floor",
    )
    np.testing.assert_allclose(
        outputs, by_loops(inputs, kernel, strides, pairs, dilation, groups), rtol=1e-4, atol=1e-4
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

    to_image, to_kernel = jax.grad(loss, argnums=(0, 1))(image, kernel)
    np.testing.assert_allclose(to_image, signal.convolve2d(arriving, kernel, mode="full"), rtol=1e-5)
    np.testing.assert_allclose(to_kernel, signal.correlate2d(image, arriving, mode="valid"), rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [((6, 3), 4), ((6, 3, 3), 2), ((6, 3, 1, 1), 6), ((7, 5, 1, 2), 7), ((7, 7, 1, 3), 7), ((4, 4), 1)],
)
def test_sizes_of_the_lecture(arguments, expected):
    assert output_size(*arguments) == expected


def test_the_lectures_two_and_a_half_is_an_error_that_says_what_is_lost():
    with pytest.raises(ValueError, match=r"= 2\.5, expected a whole number; the last 1 of 6 pixels"):
        output_size(6, 3, stride=2)
    assert output_size(6, 3, stride=2, remainder="floor") == 2


def test_same_keeps_the_lectures_leading_zeros_at_every_stride():
    for size, window, stride in itertools.product(range(1, 12), range(1, 6), range(1, 4)):
        ((before, after),) = resolve_padding("SAME", (size,), (window,), (stride,), (1,))
        assert before == (window - 1) // 2
        assert output_size(size, window, stride, (before, after)) == -(-size // stride)


@pytest.mark.parametrize(
    ("shape", "kernel", "options", "message"),
    [
        ((2, 5, 1), (3, 3, 1, 4), {}, "inputs: got shape"),
        ((2, 5, 5, 3), (3, 3, 1, 4), {}, "groups: got 1 for 3 input channels"),
        ((2, 5, 5, 3), (3, 3, 1, 4), {"groups": 3}, "groups: got 3"),
        ((2, 5, 5, 1), (3, 3, 1, 4), {"groups": 0}, "groups: got 0"),
        ((2, 2, 5, 1), (3, 3, 1, 4), {}, "kernel_size: got 3"),
        ((2, 5, 5, 1), (3, 3, 1, 4), {"strides": 0}, "strides: got 0"),
        ((2, 5, 5, 1), (3, 3, 1, 4), {"strides": (1, 1, 1)}, "strides: got"),
        ((2, 5, 5, 1), (3, 3, 1, 4), {"dilation": 0}, "dilation: got 0"),
        ((2, 5, 5, 1), (3, 3, 1, 4), {"padding": -1}, "padding: got -1"),
        ((2, 5, 5, 1), (3, 3, 1, 4), {"padding": "HALF"}, "padding: got"),
        ((2, 5, 5, 1), (3, 3, 1, 4), {"padding": ((1, 1),)}, "padding: got"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(shape, kernel, options, message):
    with pytest.raises(ValueError, match=message):
        correlate_channels(jnp.ones(shape), jnp.ones(kernel), **options)


def test_equals_torch():
    torch = pytest.importorskip("torch", reason="the peer torch is not installed (extra `peers`)")
    random = np.random.default_rng(1)
    inputs = random.normal(size=(2, 7, 9, 4)).astype(np.float32)
    kernel = random.normal(size=(3, 2, 2, 6)).astype(np.float32)
    options = {"strides": (2, 1), "dilation": (1, 2), "groups": 2}
    outputs = correlate_channels(inputs, kernel, padding=(1, 2), **options)
    reference = torch.nn.functional.conv2d(
        torch.tensor(inputs).permute(0, 3, 1, 2),
        torch.tensor(kernel).permute(3, 2, 0, 1),
        stride=(2, 1),
        padding=(1, 2),
        dilation=(1, 2),
        groups=2,
    )
    np.testing.assert_allclose(outputs, reference.permute(0, 2, 3, 1).numpy(), rtol=1e-4, atol=1e-5)
