"""Pooling and its gradient, against loops, padded batches against rows alone, and torch."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl
from dlcore.ops.direct_convolution import MAX_SLICES
from dlcore.ops.pooling import count_cells, max_pool
from dlcore.ops.sizes import make_geometry


def by_loops(inputs, window, strides):
    """The values, and for a gradient of ones how often each cell is the first largest one of a window."""
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


def pool_and_gradient(inputs, window, strides=None):
    """The maxima, and the gradient of their sum."""

    @jax.jit
    def run(inputs):
        outputs, pull_back = jax.vjp(lambda x: max_pool(x, window, strides, remainder="floor"), inputs)
        return outputs, pull_back(jnp.ones_like(outputs))[0]

    return run(inputs)


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
def test_values_and_gradients_equal_loops_also_with_ties(shape, window, strides):
    # Few different values: most windows have a tie.
    inputs = np.random.default_rng(0).integers(0, 3, shape).astype(np.float32)
    jax.tree.map(
        np.testing.assert_array_equal,
        pool_and_gradient(inputs, window, strides),
        by_loops(inputs, window, strides),
    )


def test_windows_lie_side_by_side_unless_strides_are_given():
    assert jax.eval_shape(lambda: max_pool(jnp.ones((1, 9, 6, 1)), (3, 2))).shape == (1, 3, 3, 1)


def test_a_nan_anywhere_in_a_window_stays():
    images = np.zeros((4, 2, 2, 1), np.float32)
    images.reshape(4, 4)[np.arange(4), np.arange(4)] = np.nan
    assert np.isnan(max_pool(images)).all()


def test_forward_mode_and_second_derivatives_work():
    image = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    square = lambda x: (max_pool(x) ** 2).sum()

    @jax.jit
    def run(image):
        forward = jax.jvp(square, (image,), (jnp.ones_like(image),))[1]
        return forward, jax.grad(square)(image).sum(), jax.hessian(square)(image)

    forward, reverse, hessian = run(image)
    assert forward == reverse
    assert hessian.reshape(16, 16).trace() == 8


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
        ((1, 4, 4, 1), 2, {"ties": "Split"}, 'ties: got \'Split\', expected "first" or "split"'),
        ((1, 4, 4, 1), 2, {"remainder": "x"}, "remainder: got 'x'"),
        ((1, 4, 4, 1), 2, {"remainder": "x", "padding": "SAME"}, "remainder: got 'x'"),
        ((1, 4, 4, 1), 3, {"padding": "REFLECT"}, 'padding: got "REFLECT" for a pool'),
        ((1, 0, 4, 1), 2, {}, "inputs: got shape"),
    ],
)
def test_shapes_and_settings_that_do_not_fit_are_refused_by_name(shape, window, options, message):
    with pytest.raises(ValueError, match=message):
        max_pool(np.ones(shape, np.float32), window, **options)


def test_the_lectures_backward_example():
    """The gradient goes to the cell that the value came from; all other cells get 0."""
    grid = jnp.array([[1.0, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]])[None, :, :, None]
    arriving = jnp.array([[10.0, 20], [30, 40]])
    gradient = jax.jit(jax.grad(lambda x: (dl.max_pool(x)[0, :, :, 0] * arriving).sum()))(grid)[0, :, :, 0]
    np.testing.assert_array_equal(gradient, [[0, 0, 0, 0], [0, 10, 0, 20], [30, 0, 0, 0], [0, 0, 0, 40]])


def test_ties_go_to_the_first_or_are_split():
    flat = jnp.ones((1, 2, 2, 1))
    for ties, expected in (("first", [[1, 0], [0, 0]]), ("split", [[0.25, 0.25], [0.25, 0.25]])):
        both = lambda x, ties=ties: (
            dl.max_pool(x, ties=ties).sum() + 10 * dl.global_max_pool(x, ties=ties).sum()
        )
        gradient = jax.jit(jax.grad(both))(flat)[0, :, :, 0]
        np.testing.assert_allclose(gradient, 11 * np.array(expected), rtol=1e-6)


def test_large_windows_are_reduced_as_small_ones_are():
    window = MAX_SLICES + 3
    inputs = np.random.default_rng(0).integers(0, 9, (2, 3 * window + 1, 2)).astype(np.float32)
    jax.tree.map(
        np.testing.assert_array_equal,
        pool_and_gradient(inputs, window),
        by_loops(inputs, (window,), (window,)),
    )
    means = inputs[:, :-1].reshape(2, 3, window, 2).mean(2)
    np.testing.assert_allclose(dl.avg_pool(inputs, window, remainder="floor"), means, rtol=1e-5)


def test_padding_is_never_the_largest_and_never_counts():
    inputs = -np.arange(1, 7, dtype=np.float32).reshape(1, 6, 1)

    @jax.jit
    def run(inputs):
        return (
            dl.max_pool(inputs, 3, 1, padding=1)[0, :, 0],
            dl.avg_pool(inputs, 3, 1, padding=1)[0, :, 0],
            dl.max_pool(inputs, 4, 4, remainder="ceil")[0, :, 0],
        )

    maxima, means, ceiled = run(inputs)
    assert maxima.tolist() == [-1, -1, -2, -3, -4, -5]
    np.testing.assert_allclose(means, [-1.5, -2, -3, -4, -5, -5.5], rtol=1e-6)
    assert ceiled.tolist() == [-1, -5]


@pytest.mark.parametrize("pool", [dl.max_pool, dl.avg_pool])
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"window": 2}, marks=pytest.mark.slow),
        {"window": 3, "strides": 2, "padding": 1},
        pytest.param({"window": 3, "strides": 2, "padding": "SAME"}, marks=pytest.mark.slow),
        {"window": 4, "strides": 3, "remainder": "ceil"},
        pytest.param(
            {"window": (3, 2), "strides": (1, 2), "padding": [(1, 1), (0, 0)]}, marks=pytest.mark.slow
        ),
    ],
)
def test_each_row_of_a_padded_batch_is_pooled_as_if_alone(pool, options):
    options = {"remainder": "floor", **options}
    trailing = (4, 2) if isinstance(options["window"], tuple) else (2,)
    if trailing == (2,):
        options = {name: (value,) if name == "window" else value for name, value in options.items()}
    lengths = np.array([0, 1, 5, 7], np.int32)
    inputs = np.random.default_rng(0).normal(size=(4, 7, *trailing)).astype(np.float32)
    inputs[np.arange(7) >= lengths[:, None]] = np.nan

    def loss(inputs, lengths=None):
        outputs = pool(inputs, lengths=lengths, **options)
        return (outputs**2).sum(), outputs

    pooled = jax.jit(jax.grad(loss, has_aux=True))
    gradient, together = pooled(inputs, lengths)
    for row, length in enumerate(lengths.tolist()):
        try:
            (alone_gradient,), (alone,) = pooled(inputs[row : row + 1, :length])
        except ValueError:  # the row is too short for one window
            alone, alone_gradient = np.zeros((0, *together.shape[2:])), np.zeros((length, *trailing))
        np.testing.assert_allclose(together[row, : len(alone)], alone, rtol=1e-6)
        assert (np.asarray(together[row, len(alone) :]) == 0).all()
        np.testing.assert_allclose(gradient[row, :length], alone_gradient, rtol=1e-6)
        assert (np.asarray(gradient[row, length:]) == 0).all()


@pytest.mark.parametrize(("pool", "reduce"), [(dl.global_max_pool, np.max), (dl.global_avg_pool, np.mean)])
@pytest.mark.parametrize("trailing", [(3,), (2, 3)])
def test_global_pools_see_valid_places_only(pool, reduce, trailing):
    inputs = np.random.default_rng(0).normal(size=(3, 5, *trailing)).astype(np.float32)
    axes = tuple(range(1, len(trailing) + 1))
    lengths, padded = np.array([0, 2, 5], np.int32), inputs.copy()
    padded[0], padded[1, 2:] = np.nan, np.nan

    @jax.jit
    def run(inputs, padded):
        gradient = jax.grad(lambda x: pool(x, lengths).sum())(padded)
        return pool(inputs), pool(padded, lengths), gradient

    whole, got, gradient = run(inputs, padded)
    np.testing.assert_allclose(whole, reduce(inputs, axes), rtol=1e-6)
    np.testing.assert_array_equal(got[0], 0)
    np.testing.assert_allclose(got[1], reduce(inputs[1:2, :2], axes)[0], rtol=1e-6)
    np.testing.assert_allclose(got[2], reduce(inputs[2:], axes)[0], rtol=1e-6)
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[0], 0)


def test_channel_pooling_takes_neighbors():
    maps = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 3, 6)), jnp.float32)
    groups = np.asarray(maps).reshape(2, 3, 3, 2, 3)
    np.testing.assert_allclose(dl.channel_pool(maps, 3), groups.max(-1))
    np.testing.assert_allclose(dl.channel_pool(maps, 3, "average"), groups.mean(-1), rtol=1e-5, atol=1e-7)
    for size in (2.0, None, "3"):
        with pytest.raises(TypeError, match="size: got"):
            dl.channel_pool(maps, size)
    for size in (4, 7, 0):
        with pytest.raises(ValueError, match=f"size: got {size}"):
            dl.channel_pool(maps, size)
    with pytest.raises(ValueError, match="kind: got 'least'"):
        dl.channel_pool(maps, 3, "least")


@pytest.mark.parametrize("pool", [dl.max_pool, dl.avg_pool, dl.global_max_pool, dl.global_avg_pool])
def test_integers_and_flat_inputs_are_refused(pool):
    with pytest.raises(TypeError, match="inputs: got int32, expected floating point numbers"):
        pool(jnp.ones((1, 4, 4, 1), jnp.int32))
    for shape in ((4, 4), ()):
        with pytest.raises(ValueError, match="inputs: got shape"):
            pool(jnp.ones(shape))
    for wrong in ([[[1.0]]], None, "text", np.ma.masked_array(np.ones((1, 4, 1)), True)):
        with pytest.raises(TypeError, match=r"inputs: got .*, expected an array of floating point numbers"):
            pool(wrong)
    with pytest.raises(TypeError, match="lengths: got list, expected an array of integers"):
        pool(jnp.ones((1, 4, 4, 1)), lengths=[4])


@pytest.mark.parametrize("pool", [dl.max_pool, dl.avg_pool, dl.global_max_pool, dl.global_avg_pool])
def test_no_rows_and_no_channels_give_none(pool):
    for shape in ((0, 4, 4, 2), (2, 4, 4, 0)):
        outputs = pool(jnp.ones(shape))
        assert (outputs.shape[0], outputs.shape[-1]) == (shape[0], shape[-1])
        assert jax.grad(lambda x: pool(x).sum())(jnp.ones(shape)).shape == shape


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.uint32])
def test_lengths_of_every_integer_dtype_are_counted_in_int32(dtype):
    inputs = np.random.default_rng(0).normal(size=(4, 20, 20, 1)).astype(np.float32)
    lengths = np.array([0, 1, 13, 20], np.int32)

    @jax.jit
    def run(inputs, lengths):
        pools = (dl.max_pool, dl.avg_pool)
        return [pool(inputs, lengths=lengths) for pool in (*pools, dl.global_max_pool, dl.global_avg_pool)]

    jax.tree.map(np.testing.assert_array_equal, run(inputs, lengths.astype(dtype)), run(inputs, lengths))


def test_narrow_lengths_do_not_overflow():
    assert dl.global_avg_pool(jnp.ones((1, 20, 20, 1)), jnp.array([20], jnp.uint8)).tolist() == [[1.0]]
    pooled = dl.max_pool(jnp.ones((1, 4, 1)), lengths=jnp.array([1], jnp.uint8))
    np.testing.assert_array_equal(pooled, np.zeros((1, 2, 1)))


def test_under_jit_a_length_above_the_size_is_taken_as_the_size():
    pool = jax.jit(lambda lengths: dl.global_avg_pool(jnp.ones((3, 20, 1)), lengths))
    assert pool(np.array([40, 20, -1])).tolist() == [[1.0], [1.0], [0.0]]


def test_means_are_summed_in_float32_at_least():
    ones = jnp.ones((1, 400, 1), jnp.bfloat16)
    for mean in (
        dl.avg_pool(ones, 400),
        dl.avg_pool(ones, 400, lengths=jnp.array([400])),
        dl.global_avg_pool(ones),
        dl.global_avg_pool(ones, jnp.array([400])),
        dl.channel_pool(jnp.ones((1, 400), jnp.bfloat16), 400, "average"),
    ):
        assert mean.dtype == jnp.bfloat16
        assert mean.ravel().tolist() == [1.0]
    large = jnp.full((1, 40, 1), 6e4, jnp.float16)  # whose sum is beyond float16
    for mean in (dl.avg_pool(large, 20), dl.avg_pool(large, 40), dl.global_avg_pool(large, jnp.array([40]))):
        assert np.isfinite(np.asarray(mean)).all()


def test_a_window_that_holds_only_padding_of_a_short_row_is_0():
    """The second window begins at place 3, which a row of length 3 does not have."""
    inputs, lengths = jnp.ones((2, 4, 1)), np.array([3, 4], np.int32)
    for pool in (dl.max_pool, dl.avg_pool):
        outputs = pool(inputs, 2, 3, padding=[(0, 2)], remainder="floor", lengths=lengths)
        assert outputs[..., 0].tolist() == [[1.0, 0.0], [1.0, 1.0]]


def test_the_cells_of_a_window_are_counted_as_by_hand():
    for size, window, stride, before, dilation in itertools.product((4, 7), (1, 3), (1, 3), (0, 2), (1, 2)):
        geometry = make_geometry((9,), (window,), stride, [(before, 3)], dilation, "floor")
        places = [
            [k * stride + cell * dilation - before for cell in range(window)]
            for k in range(geometry.outputs[0])
        ]
        expected = [sum(0 <= place < size for place in cells) for cells in places]
        assert count_cells(size, geometry, 0).tolist() == expected
        assert count_cells(jnp.array([[size]]), geometry, 0).tolist() == [expected]


WINDOWS = [
    {"window": (MAX_SLICES + 3,), "dilation": 2},
    {"window": (40,), "strides": 3, "dilation": 3, "padding": [(4, 5)], "remainder": "ceil"},
    {"window": (5, 7), "strides": (2, 1), "dilation": (2, 3), "padding": 1},
    {"window": (6, 6), "strides": 4, "dilation": (1, 2), "padding": "SAME"},
    {"window": (3,), "dilation": 2, "padding": 1},
]


@pytest.mark.parametrize("lengths", [None, np.array([0, 100, 131], np.int32)])
@pytest.mark.parametrize("options", WINDOWS)
def test_gradients_with_dilation_equal_finite_differences(options, lengths):
    random = np.random.default_rng(0)
    shape = (3, 131, 1) if len(options["window"]) == 1 else (3, 131, 31, 1)
    inputs = random.permutation(np.arange(np.prod(shape))).reshape(shape).astype(np.float64)  # without ties
    direction = random.normal(size=shape)
    step = 1e-3  # A maximum is linear as long as the same cell is the largest, so the difference is exact.

    def run(inputs, direction, ties):
        pool = lambda x: max_pool(x, **{"remainder": "floor", "ties": ties, "lengths": lengths, **options})
        outputs, pull_back = jax.vjp(pool, inputs)
        arriving = jnp.cos(jnp.arange(outputs.size)).reshape(outputs.shape)
        return ((pool(inputs + step * direction) - outputs) * arriving).sum() / step, pull_back(arriving)[0]

    with jax.enable_x64(True):
        both = jax.jit(lambda *arrays: [run(*arrays, ties) for ties in ("first", "split")])(inputs, direction)
    for difference, gradient in jax.device_get(both):
        np.testing.assert_allclose((gradient * direction).sum(), difference, rtol=1e-6, atol=1e-6)
        assert gradient.any()


def test_large_windows_have_second_derivatives():
    inputs = jnp.asarray(np.random.default_rng(0).normal(size=(1, 50, 1)), jnp.float32)
    loss = lambda x: (max_pool(x, (MAX_SLICES + 3,), 1, dilation=1) ** 2).sum()
    chosen = jax.jit(jax.grad(lambda x: max_pool(x, (MAX_SLICES + 3,), 1).sum()))(inputs)
    twice = jax.jit(lambda x: jax.jvp(jax.grad(loss), (x,), (jnp.ones_like(x),))[1])(inputs)
    np.testing.assert_allclose(twice, 2 * chosen, rtol=1e-6)


# torch


def channels_first(array, torch):
    return torch.tensor(np.moveaxis(np.asarray(array), -1, 1).copy(), requires_grad=True)


def channels_last(tensor):
    return np.moveaxis(tensor.detach().numpy(), 1, -1)


@pytest.mark.parametrize(
    "seed", [*range(2), *(pytest.param(n, marks=pytest.mark.slow) for n in range(2, 40))]
)
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_pools_equal_torchs(kind, seed):
    torch = pytest.importorskip("torch", reason="the peer torch is not installed (extra `peers`)")
    random = np.random.default_rng(seed)
    rank, ceil = 1 + seed % 3, bool(seed % 2)
    window = tuple(map(int, random.integers(1, 5, rank)))
    strides = tuple(map(int, random.integers(1, 4, rank)))
    padding = tuple(int(random.integers(0, f // 2 + 1)) for f in window)
    # Torch divides also by the cells that its window covers of the *ceiled* padding; dlcore divides by real cells.
    options = {"count_include_pad": False} if kind == "avg" else {}
    sizes = [f + int(random.integers(0, 6)) for f in window]
    # Few different values, so that the largest one often occurs twice.
    inputs = random.integers(0, 5, (2, *sizes, 3)).astype(np.float32)
    pool = dl.max_pool if kind == "max" else dl.avg_pool

    def loss(inputs):
        outputs = pool(inputs, window, strides, padding=padding, remainder="ceil" if ceil else "floor")
        return (outputs**2).sum(), outputs

    gradient, outputs = jax.jit(jax.grad(loss, has_aux=True))(inputs)
    theirs = channels_first(inputs, torch)
    function = getattr(torch.nn.functional, f"{kind}_pool{rank}d")
    reference = function(theirs, window, strides, padding, ceil_mode=ceil, **options)
    (reference**2).sum().backward()
    np.testing.assert_allclose(outputs, channels_last(reference), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(gradient, channels_last(theirs.grad), rtol=1e-4, atol=1e-4)


def test_dilated_max_pools_equal_torchs():
    torch = pytest.importorskip("torch", reason="the peer torch is not installed (extra `peers`)")
    inputs = np.random.default_rng(0).normal(size=(2, 9, 8, 2)).astype(np.float32)
    outputs = dl.max_pool(inputs, (3, 2), (1, 2), dilation=(2, 3), padding=(1, 0), remainder="floor")
    reference = torch.nn.functional.max_pool2d(channels_first(inputs, torch), (3, 2), (1, 2), (1, 0), (2, 3))
    np.testing.assert_allclose(outputs, channels_last(reference), rtol=1e-6)
