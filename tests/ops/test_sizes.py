"""The arithmetic of sizes, against counting and against the shapes that the layers return."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl
from dlcore.ops.dimensions import resolve_padding
from dlcore.ops.sizes import make_geometry, output_lengths


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [((6, 3), 4), ((6, 3, 3), 2), ((6, 3, 1, 1), 6), ((7, 5, 1, 2), 7), ((7, 7, 1, 3), 7), ((4, 4), 1)],
)
def test_sizes_of_the_lecture(arguments, expected):
    assert dl.output_size(*arguments) == expected


def test_the_error_of_the_lectures_two_and_a_half_names_the_lost_pixel_and_a_padding_that_fits():
    with pytest.raises(ValueError, match=r"= 2\.5, expected a whole number; the last 1 of 6 pixels") as error:
        dl.output_size(6, 3, stride=2)
    assert "padding=(0, 1) fits" in str(error.value)
    assert dl.output_size(6, 3, 2, (0, 1)) == 3
    assert dl.output_size(6, 3, 2, remainder="floor") == 2
    assert dl.output_size(6, 3, 2, remainder="ceil") == 3


def test_the_paddings_that_an_error_offers_fit():
    offers = 0
    for size, window, stride in itertools.product(range(5, 40, 3), range(1, 6), range(2, 6)):
        try:
            dl.output_size(size, window, stride)
        except ValueError as error:
            offered = str(error).split("padding=")[1].split(" fits")[0]
            for padding in offered.split(" or "):
                assert dl.output_size(size, window, stride, eval(padding)) >= 1
                offers += 1
    assert offers > 100


def by_counting(size, window, stride, before, after, dilation, remainder):
    """Counts the windows that fit one by one; with "ceil" also one that begins inside and reaches over the border."""
    padded, extent = size + before + after, (window - 1) * dilation + 1
    starts = [place for place in range(0, padded, stride) if place + extent <= padded]
    left_over = padded - (starts[-1] + extent) if starts else 0
    if remainder == "ceil" and left_over and starts[-1] + stride < size + before:
        starts.append(starts[-1] + stride)
    return len(starts), left_over


def random_cases(count):
    random = np.random.default_rng(0)
    for _ in range(count):
        size, window, stride, dilation = (int(n) for n in random.integers(1, (20, 6, 5, 4)))
        before, after = (int(n) for n in random.integers(0, 4, 2))
        remainder = ("error", "floor", "ceil")[random.integers(3)]
        yield size, window, stride, (before, after), dilation, remainder


@pytest.mark.parametrize("cases", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_output_size_equals_counting_and_the_shape_of_the_layer(cases):
    outcomes = {"fits": 0, "too small": 0, "left over": 0}
    for size, window, stride, padding, dilation, remainder in random_cases(cases):
        expected, left_over = by_counting(size, window, stride, *padding, dilation, remainder)
        layer = dl.Conv(2, (window,), stride, [padding], dilation, remainder=remainder)
        shapes = lambda layer=layer, size=size: (
            jax.eval_shape(
                layer.init_with_output, jax.random.key(0), jax.ShapeDtypeStruct((1, size, 1), jnp.float32)
            )[0].shape
        )
        arguments = (size, window, stride, padding, dilation, remainder)
        if expected < 1 or (left_over and remainder == "error"):
            outcomes["left over" if expected else "too small"] += 1
            for refused in (lambda: dl.output_size(*arguments), shapes):  # noqa: B023
                with pytest.raises(ValueError, match=r"dropped|at most"):
                    refused()
        else:
            outcomes["fits"] += 1
            assert dl.output_size(*arguments) == expected
            assert shapes() == (1, expected, 2)
    assert min(outcomes.values()) > cases / 20


def test_output_lengths_of_rows_are_the_output_sizes_of_the_rows_alone():
    for size, window, stride, padding, dilation, remainder in random_cases(300):
        lengths = np.minimum(np.arange(20), size)  # always the same shape, so that JAX compiles once
        got = output_lengths(jnp.asarray(lengths), window, stride, [padding], dilation, remainder)
        remainder = "floor" if remainder == "error" else remainder
        expected = [
            by_counting(n, window, stride, *padding, dilation, remainder)[0] if n else 0 for n in lengths
        ]
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("padding", ["SAME", "CAUSAL", "CIRCULAR"])
def test_named_paddings_give_size_by_stride_rounded_up_and_their_leading_zeros(padding):
    for case in itertools.product(range(1, 12), range(1, 6), range(1, 4), (1, 2)):
        size, window, stride, dilation = case
        extent = (window - 1) * dilation + 1
        ((before, after),) = resolve_padding(padding, (size,), (window,), (stride,), (dilation,))
        assert before == (extent - 1 if padding == "CAUSAL" else (extent - 1) // 2)
        assert dl.output_size(size, window, stride, (before, after), dilation, "floor") == -(-size // stride)
        assert make_geometry((size,), (window,), stride, padding, dilation).outputs == (-(-size // stride),)
        if size == 8:
            inputs, layer = jnp.ones((1, size, 1)), dl.Conv(1, (window,), stride, padding, dilation)
            outputs = jax.eval_shape(layer.init_with_output, jax.random.key(0), inputs)[0]
            assert outputs.shape == (1, -(-size // stride), 1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 3), ValueError, "size: got 0, expected an integer >= 1"),
        ((6, 0), ValueError, "kernel_size: got 0"),
        ((6, 3, 0), ValueError, "stride: got 0"),
        ((6, 3, 1, -1), ValueError, "padding: got -1"),
        ((6, 3, 1, 0, 0), ValueError, "dilation: got 0"),
        ((6, 7), ValueError, "kernel_size: got 7, which spans 7 pixels, expected at most the padded size 6"),
        ((6, 3, 1, 0, 3), ValueError, "which spans 7 pixels"),
        ((6.0, 3), TypeError, r"size: got 6\.0, expected an integer"),
        ((6, 3, 1, 0, 1, "round"), ValueError, "remainder: got 'round', expected"),
    ],
)
def test_bad_sizes_are_refused_by_name(arguments, error, message):
    with pytest.raises(error, match=message):
        dl.output_size(*arguments)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.uint32])
@pytest.mark.parametrize("padding", [0, [(1, 2)], "SAME", "CAUSAL", "VALID", "REFLECT"])
def test_output_lengths_of_every_integer_dtype_are_those_of_int32(dtype, padding):
    lengths = np.array([0, 1, 2, 100, 127])
    got = jax.jit(lambda lengths: output_lengths(lengths, 5, 2, padding, 3))(lengths.astype(dtype))
    assert got.dtype == np.int32
    np.testing.assert_array_equal(got, output_lengths(lengths.astype(np.int32), 5, 2, padding, 3))


def test_a_row_without_places_has_no_outputs_in_any_dtype():
    for dtype in (np.int8, np.uint8):
        assert output_lengths(np.zeros(1, dtype), 5).tolist() == [0]
        assert output_lengths(np.zeros(1, dtype), 5, remainder="ceil").tolist() == [0]
    for padding in (0, "SAME", "VALID"):
        assert output_lengths(np.array([-4]), 3, 2, padding).tolist() == [0]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"lengths": [3]}, TypeError, "lengths: got list, expected an array of integers"),
        ({"lengths": jnp.ones(2)}, TypeError, "lengths: got float32, expected integers"),
        ({"window": ()}, ValueError, r"window: got \(\)"),
        ({"window": 0}, ValueError, "window: got 0"),
        ({"window": None}, TypeError, "window: got None"),
        ({"strides": "2"}, TypeError, "strides: got '2'"),
        ({"strides": 0}, ValueError, "strides: got 0"),
        ({"dilation": 1.5}, TypeError, "dilation: got 1.5"),
        ({"padding": "HALF"}, ValueError, "padding: got 'HALF', expected"),
        ({"padding": None}, TypeError, "padding: got None"),
        ({"padding": -1}, ValueError, "padding: got -1"),
        ({"remainder": "x"}, ValueError, "remainder: got 'x', expected"),
    ],
)
def test_settings_of_output_lengths_are_refused_by_name(options, error, message):
    with pytest.raises(error, match=message):
        output_lengths(**{"lengths": jnp.array([3, 5]), "window": 3, **options})


def test_an_unknown_remainder_is_refused_with_every_padding():
    for padding in ("SAME", "CAUSAL", 0):
        with pytest.raises(ValueError, match="remainder: got 'x'"):
            make_geometry((8,), (3,), 1, padding, 1, "x")


def test_the_pool_of_a_block_is_not_told_to_change_the_padding_of_the_convolutions():
    with pytest.raises(ValueError, match="1 of 9 pixels would be dropped: say remainder=") as error:
        make_geometry((9,), (2,), 2, 0, name="pool")
    assert "padding" not in str(error.value)
    with pytest.raises(ValueError, match="pool: got 3, which spans 3 pixels") as error:
        make_geometry((2,), (3,), 2, 0, name="pool")
    assert "the padding larger" not in str(error.value)


def test_the_advice_of_an_error_is_found_at_once_for_any_stride():
    with pytest.raises(ValueError, match="stride: got 1000000000000 for size 6"):
        dl.output_size(6, 3, stride=10**12)
