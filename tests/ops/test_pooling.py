"""Pooling, and where its gradient goes."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl
from dlcore.ops.direct_convolution import MAX_SLICES
from dlcore.ops.lengths import valid_steps
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
        ((1, 4, 4, 1), 5, {}, "window: got 5, which spans 5 pixels, expected at most"),
        ((1, 5, 4, 1), 2, {}, "the last 1 of 5 pixels would be dropped"),
        ((1, 4, 4, 1), 2, {"strides": 0}, "strides: got 0"),
        ((1, 4, 4, 1), 2, {"padding": 2}, "padding: got 2 .* puts a window wholly into the padding"),
        ((1, 4, 4, 1), 2, {"ties": "last"}, "ties: got 'last'"),
        ((1, 0, 4, 1), 2, {}, "inputs: got shape"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(shape, window, options, message):
    with pytest.raises(ValueError, match=message):
        max_pool(jnp.ones(shape), window, **options)


def test_the_lectures_backward_example():
    """The gradient gets passed to the cell it came from, all other cells get 0."""
    grid = jnp.array([[1.0, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]])[None, :, :, None]
    arriving = jnp.array([[10.0, 20], [30, 40]])
    gradient = jax.grad(lambda x: (dl.max_pool(x)[0, :, :, 0] * arriving).sum())(grid)[0, :, :, 0]
    np.testing.assert_array_equal(gradient, [[0, 0, 0, 0], [0, 10, 0, 20], [30, 0, 0, 0], [0, 0, 0, 40]])


def test_ties_go_to_the_first_or_are_split():
    flat = jnp.ones((1, 2, 2, 1))
    for ties, expected in (("first", [[1, 0], [0, 0]]), ("split", [[0.25, 0.25], [0.25, 0.25]])):
        gradient = jax.grad(lambda x, ties=ties: dl.max_pool(x, ties=ties).sum())(flat)
        np.testing.assert_array_equal(gradient[0, :, :, 0], expected)
        gradient = jax.grad(lambda x, ties=ties: dl.global_max_pool(x, ties=ties).sum())(flat)
        np.testing.assert_array_equal(gradient[0, :, :, 0], expected)


def test_large_windows_are_reduced_as_small_ones_are():
    window = MAX_SLICES + 3
    inputs = np.random.default_rng(0).integers(0, 9, (2, 3 * window + 1, 2)).astype(np.float32)
    outputs, chosen = by_loops(inputs, (window,), (window,))
    pool = lambda x: max_pool(x, window, remainder="floor")
    np.testing.assert_array_equal(pool(inputs), outputs)
    np.testing.assert_array_equal(jax.grad(lambda x: pool(x).sum())(jnp.asarray(inputs)), chosen)
    means = inputs[:, :-1].reshape(2, 3, window, 2).mean(2)
    np.testing.assert_allclose(dl.avg_pool(inputs, window, remainder="floor"), means, rtol=1e-5)


def test_padding_never_wins_and_never_counts():
    inputs = -jnp.arange(1.0, 7).reshape(1, 6, 1)
    np.testing.assert_array_equal(dl.max_pool(inputs, 3, 1, padding=1)[0, :, 0], [-1, -1, -2, -3, -4, -5])
    means = [-1.5, -2, -3, -4, -5, -5.5]
    np.testing.assert_allclose(dl.avg_pool(inputs, 3, 1, padding=1)[0, :, 0], means, rtol=1e-6)
    ceiled = dl.max_pool(inputs, 4, 4, remainder="ceil")[0, :, 0]
    np.testing.assert_array_equal(ceiled, [-1, -5])


@pytest.mark.parametrize("pool", [dl.max_pool, dl.avg_pool])
@pytest.mark.parametrize(
    "options",
    [
        {"window": 2},
        {"window": 3, "strides": 2, "padding": 1},
        {"window": 3, "strides": 2, "padding": "SAME"},
        {"window": 4, "strides": 3, "remainder": "ceil"},
        {"window": (3, 2), "strides": (1, 2), "padding": [(1, 1), (0, 0)]},
    ],
)
def test_rows_of_a_padded_batch_are_pooled_as_if_alone(pool, options):
    options = {"remainder": "floor", **options}
    trailing = (4, 2) if isinstance(options["window"], tuple) else (2,)
    if trailing == (2,):
        options = {name: (value,) if name == "window" else value for name, value in options.items()}
    lengths = jnp.array([0, 1, 4, 7, 9])
    inputs = np.random.default_rng(0).normal(size=(5, 9, *trailing)).astype(np.float32)
    inputs[~np.asarray(valid_steps(lengths, 9))] = np.nan

    def loss(inputs, lengths=None):
        outputs = pool(inputs, lengths=lengths, **options)
        return (outputs**2).sum(), outputs

    pooled = jax.jit(jax.grad(loss, has_aux=True))
    gradient, together = pooled(inputs, lengths)
    for row, length in enumerate(lengths.tolist()):
        try:
            (alone_gradient,), (alone,) = pooled(inputs[row : row + 1, :length])
        except ValueError:  # too short for one window
            alone, alone_gradient = jnp.zeros((0, *together.shape[2:])), jnp.zeros((length, *trailing))
        np.testing.assert_allclose(together[row, : len(alone)], alone, rtol=1e-6)
        assert (np.asarray(together[row, len(alone) :]) == 0).all()
        np.testing.assert_allclose(gradient[row, :length], alone_gradient, rtol=1e-6)
        assert (np.asarray(gradient[row, length:]) == 0).all()


@pytest.mark.parametrize(("pool", "reduce"), [(dl.global_max_pool, np.max), (dl.global_avg_pool, np.mean)])
@pytest.mark.parametrize("trailing", [(3,), (2, 3)])
def test_global_pools_see_valid_places_only(pool, reduce, trailing):
    inputs = np.random.default_rng(0).normal(size=(3, 5, *trailing)).astype(np.float32)
    axes = tuple(range(1, len(trailing) + 1))
    np.testing.assert_allclose(pool(jnp.asarray(inputs)), reduce(inputs, axes), rtol=1e-6)
    lengths = jnp.array([0, 2, 5])
    inputs[0], inputs[1, 2:] = np.nan, np.nan
    got = pool(jnp.asarray(inputs), lengths)
    np.testing.assert_array_equal(got[0], 0)
    np.testing.assert_allclose(got[1], reduce(inputs[1:2, :2], axes)[0], rtol=1e-6)
    np.testing.assert_allclose(got[2], reduce(inputs[2:], axes)[0], rtol=1e-6)
    gradient = jax.grad(lambda x: pool(x, lengths).sum())(jnp.asarray(inputs))
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[0], 0)


def test_channel_pooling_takes_neighbors():
    maps = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 3, 6)), jnp.float32)
    groups = np.asarray(maps).reshape(2, 3, 3, 2, 3)
    np.testing.assert_allclose(dl.channel_pool(maps, 3), groups.max(-1))
    np.testing.assert_allclose(dl.channel_pool(maps, 3, "average"), groups.mean(-1), rtol=1e-5, atol=1e-7)
    for size in (4, 7, 0):
        with pytest.raises(ValueError, match=f"size: got {size}"):
            dl.channel_pool(maps, size)
    with pytest.raises(ValueError, match="kind: got 'least'"):
        dl.channel_pool(maps, 3, "least")


@pytest.mark.parametrize("pool", [dl.max_pool, dl.avg_pool, dl.global_max_pool, dl.global_avg_pool])
def test_integers_and_flat_inputs_are_refused(pool):
    with pytest.raises(TypeError, match="inputs: got int32, expected floating point numbers"):
        pool(jnp.ones((1, 4, 4, 1), jnp.int32))
    with pytest.raises(ValueError, match="inputs: got shape"):
        pool(jnp.ones((4, 4)))
