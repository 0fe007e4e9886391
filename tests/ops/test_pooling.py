"""Max-pooling and where its gradient goes."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.ops.pooling import max_pool


def by_loops(inputs, window, strides):
    """Values and, for a gradient of ones, how often each cell is the first largest of a window."""
    rank = inputs.ndim - 2
    sizes = [(n - f) // s + 1 for n, f, s in zip(inputs.shape[1:-1], window, strides, strict=True)]
    outputs = np.zeros((len(inputs), *sizes, inputs.shape[-1]), inputs.dtype)
    chosen = np.zeros(inputs.shape)
    for row, channel in itertools.product(range(len(inputs)), range(inputs.shape[-1])):
        for place in itertools.product(*map(range, sizes)):
            starts = [p * s for p, s in zip(place, strides, strict=True)]
            cells = tuple(slice(a, a + f) for a, f in zip(starts, window, strict=True))
            seen = inputs[(row, *cells, channel)]
            first = np.unravel_index(np.argmax(seen), seen.shape)
            outputs[(row, *place, channel)] = seen[first]
            chosen[(row, *(starts[axis] + first[axis] for axis in range(rank)), channel)] += 1
    return outputs, chosen


@pytest.mark.parametrize(
    ("shape", "window", "strides"),
    [
        ((2, 6, 2), (2,), (2,)),
        ((2, 6, 4, 3), (2, 2), (2, 2)),
        ((1, 7, 7, 2), (3, 3), (2, 2)),
        ((2, 5, 6, 1), (2, 3), (1, 3)),
        ((1, 4, 4, 4, 2), (2, 2, 2), (2, 2, 2)),
        ((1, 9, 9, 1), (2, 2), (3, 3)),
    ],
)
def test_values_and_gradients_equal_loops_ties_included(shape, window, strides):
    # Few different values: most windows have a tie.
    inputs = np.random.default_rng(0).integers(0, 3, shape).astype(np.float32)
    outputs, chosen = by_loops(inputs, window, strides)
    pool = lambda x: max_pool(x, window, strides, remainder="floor")
    np.testing.assert_array_equal(pool(inputs), outputs)
    np.testing.assert_array_equal(jax.grad(lambda x: pool(x).sum())(jnp.asarray(inputs)), chosen)


def test_strides_are_the_windows_own_unless_given():
    assert max_pool(jnp.ones((1, 9, 6, 1)), (3, 2)).shape == (1, 3, 3, 1)


def test_a_nan_anywhere_in_a_window_stays():
    for cell in itertools.product(range(2), range(2)):
        image = np.zeros((1, 2, 2, 1), np.float32)
        image[(0, *cell, 0)] = np.nan
        assert np.isnan(max_pool(image)).all()


def test_forward_mode_and_second_derivatives_work():
    image = jnp.arange(16.0).reshape(1, 4, 4, 1)
    square = lambda x: (max_pool(x) ** 2).sum()
    _, forward = jax.jvp(square, (image,), (jnp.ones_like(image),))
    assert forward == jax.grad(square)(image).sum()
    assert jax.hessian(square)(image).reshape(16, 16).trace() == 8


@pytest.mark.parametrize(
    ("shape", "window", "options", "message"),
    [
        ((4, 3), 2, {}, "inputs: got shape"),
        ((1, 4, 4, 1), (2, 2, 2), {}, "window: got"),
        ((1, 4, 4, 1), 0, {}, "window: got 0"),
        ((1, 4, 4, 1), 5, {}, "kernel_size: got 5"),
        ((1, 5, 4, 1), 2, {}, "the last 1 of 5 pixels would be dropped"),
        ((1, 4, 4, 1), 2, {"strides": 0}, "strides: got 0"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(shape, window, options, message):
    with pytest.raises(ValueError, match=message):
        max_pool(jnp.ones(shape), window, **options)
