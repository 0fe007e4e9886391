"""Padded batches: masks, checks of lengths, and reductions over the valid steps only."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.ops.lengths import (
    check_lengths,
    check_mask,
    compact_steps,
    known_lengths,
    last_over_time,
    max_over_time,
    mean_over_time,
    spread_steps,
    valid_steps,
    zero_padding,
)

LENGTHS = np.array([0, 1, 4], np.int32)


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 2), (3, 4, 2, 5)])
def test_padding_becomes_zero_and_takes_no_gradient(shape):
    mask = (np.arange(4) < LENGTHS[:, None]).reshape(3, 4, *[1] * (len(shape) - 2))
    inputs = np.where(mask, np.ones(shape, np.float32), np.nan)

    @jax.jit
    def run(inputs):
        return jax.grad(lambda x: (zero_padding(x, LENGTHS) ** 2).sum())(inputs), zero_padding(
            inputs, LENGTHS
        )

    gradient, outputs = run(inputs)
    np.testing.assert_array_equal(outputs, np.broadcast_to(mask, shape))
    np.testing.assert_array_equal(gradient, 2 * np.broadcast_to(mask, shape))


def test_the_mask_of_any_batch_rank():
    assert valid_steps(LENGTHS.reshape(3, 1), 2).tolist() == [[[False] * 2], [[True, False]], [[True] * 2]]


REDUCTIONS = {
    last_over_time: lambda steps: steps[-1],
    mean_over_time: lambda steps: steps.mean(axis=0),
    max_over_time: lambda steps: steps.max(axis=0),
}


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("features", [(), (2,)])
def test_reductions_over_time_see_valid_steps_only(reduction, features):
    outputs = np.random.default_rng(0).normal(size=(3, 4, *features)).astype(np.float32) - 3
    padding = np.arange(4) >= LENGTHS[:, None]
    spoilt = outputs.copy()
    spoilt[padding] = np.nan

    @jax.jit
    def run(outputs, spoilt):
        gradient = jax.grad(lambda x: (reduction(x, LENGTHS) ** 2).sum())(spoilt)
        return reduction(spoilt, LENGTHS), gradient, reduction(outputs)

    reduced, gradient, unpadded = run(outputs, spoilt)
    for row, length in enumerate(LENGTHS):
        expected = REDUCTIONS[reduction](outputs[row, :length]) if length else np.zeros(features)
        np.testing.assert_allclose(reduced[row], expected, rtol=1e-6)
        np.testing.assert_allclose(unpadded[row], REDUCTIONS[reduction](outputs[row]), rtol=1e-6)
    assert np.isfinite(gradient).all()
    assert not np.asarray(gradient)[padding].any()


@pytest.mark.parametrize(
    ("lengths", "error", "message"),
    [
        ([1, 2], TypeError, r"lengths: got list, expected an array of integers; jnp.array\(lengths\)"),
        (None, TypeError, "lengths: got None, expected an array of integers"),
        (np.ma.masked_array([1, 2], [True, False]), TypeError, "lengths: got a masked array"),
        (np.array([True, False]), TypeError, "lengths: got bool, expected integers"),
        (np.int32(1), ValueError, r"lengths: got shape \(\) for inputs of shape \(2, 4, 1\)"),
        (
            np.array([1, 2**32 + 1], np.uint64),
            ValueError,
            "lengths: got 4294967297 in row 1, expected 0 to 4",
        ),
        (np.array([1.0, 2.0]), TypeError, "lengths: got float64, expected integers"),
        (np.array([1, 2, 3]), ValueError, r"lengths: got shape \(3,\) for inputs of shape \(2, 4, 1\)"),
        (np.array([[1], [2]]), ValueError, "lengths: got shape"),
        (np.array([1, 5]), ValueError, "lengths: got 5 in row 1, expected 0 to 4"),
        (np.array([-2, 1]), ValueError, "lengths: got -2 in row 0, expected 0 to 4"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(lengths, error, message):
    with pytest.raises(error, match=message):
        check_lengths(lengths, (2, 4, 1))


def test_errors_name_the_row_of_any_batch_rank_and_the_argument():
    with pytest.raises(ValueError, match=r"memory_lengths: got 7 in row \(1, 0\), expected 0 to 4"):
        check_lengths(np.array([[1], [7]]), (2, 1, 4, 1), batch_rank=2, name="memory_lengths")


def test_traced_lengths_are_checked_by_type_and_shape():
    check = lambda lengths: check_lengths(lengths, (2, 4, 1))
    jax.eval_shape(check, jnp.array([9, 9]))
    with pytest.raises(TypeError, match="expected integers"):
        jax.eval_shape(check, jnp.array([1.0, 2.0]))


@pytest.mark.parametrize(
    "dtype", ["int4", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
)
def test_checked_lengths_are_int32(dtype):
    for lengths in (np.array([0, 4], jnp.dtype(dtype)), jnp.asarray(np.array([0, 4], jnp.dtype(dtype)))):
        checked = check_lengths(lengths, (2, 4, 1))
        assert checked.dtype == jnp.int32
        assert checked.tolist() == [0, 4]


def test_traced_lengths_below_0_count_as_0_and_above_the_steps_as_all_steps():
    check = jax.jit(lambda lengths: check_lengths(lengths, (2, 4, 1)))
    assert check(np.array([-3, 9], np.int8)).tolist() == [0, 4]
    assert check(np.array([2**32 - 1, 5], np.uint32)).tolist() == [4, 4]


def test_narrow_lengths_do_not_overflow():
    assert mean_over_time(jnp.ones((1, 300, 1)), jnp.array([200], jnp.uint8)).tolist() == [[1.0]]
    assert last_over_time(jnp.ones((1, 20, 1)), jnp.array([0], jnp.uint8)).tolist() == [[0.0]]


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_under_jit_a_length_above_the_steps_is_taken_as_all_steps(reduction):
    outputs = np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32)
    reduced = jax.jit(reduction)(outputs, np.array([9, -1, 4], np.int32))
    np.testing.assert_array_equal(reduced, reduction(outputs, np.array([4, 0, 4], np.int32)))


def test_means_are_computed_in_float32_at_least():
    outputs = jnp.full((1, 1001, 1), 100, jnp.float16)
    assert mean_over_time(outputs, jnp.array([1001])).tolist() == [[100.0]]
    assert mean_over_time(outputs).tolist() == [[100.0]]
    assert mean_over_time(outputs).dtype == jnp.float16


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("lengths", [None, np.zeros(2, np.int32)])
def test_a_batch_without_steps_reduces_to_zeros(reduction, lengths):
    np.testing.assert_array_equal(reduction(jnp.ones((2, 0, 3)), lengths), np.zeros((2, 3)))
    gradient = jax.grad(lambda x: reduction(x, lengths).sum())(jnp.ones((2, 0, 3)))
    assert gradient.shape == (2, 0, 3)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_outputs_that_are_no_batch_of_sequences_are_refused_by_name(reduction):
    for wrong in ([[1.0]], None, "text", np.ma.masked_array(np.ones((2, 3)), True)):
        with pytest.raises(TypeError, match=r"outputs: got .*, expected an array of "):
            reduction(wrong)
    with pytest.raises(ValueError, match=r"outputs: got shape \(3,\), expected \[B, T, \.\.\.\]"):
        reduction(jnp.ones(3))


def test_masks_of_what_is_no_array_of_integers_are_refused_by_name():
    for lengths, steps in (
        ([1, 2], 3),
        (None, 3),
        (jnp.ones(2), 3),
        (jnp.array([1]), 2.5),
        (jnp.array([1]), None),
    ):
        with pytest.raises(TypeError, match=r"(lengths|steps): got"):
            valid_steps(lengths, steps)
    with pytest.raises(ValueError, match="steps: got -1, expected an integer >= 0"):
        valid_steps(jnp.array([1]), -1)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64])
def test_known_lengths_stay_on_the_host(dtype):
    with jax.transfer_guard("disallow"):
        known = known_lengths(np.array([4, 0], dtype), (2, 4))
        with pytest.raises(ValueError, match="lengths: got 5 in row 1, expected 0 to 4"):
            known_lengths(np.array([4, 5], dtype), (2, 4))
    assert isinstance(known, np.ndarray)
    assert known.dtype == np.int64
    assert known.tolist() == [4, 0]


MASK = np.array([[0, 1, 1, 0], [1, 0, 0, 1], [0, 0, 0, 0]], bool)


@pytest.mark.parametrize("features", [(), (2, 2)])
def test_valid_steps_move_to_the_front_and_back(features):
    inputs = np.random.default_rng(0).normal(size=(3, 4, *features)).astype(np.float32)
    inputs[~MASK] = np.nan
    rows, lengths = compact_steps(inputs, MASK)
    assert lengths.tolist() == [2, 2, 0]
    for row, compact in enumerate(np.asarray(rows)):
        np.testing.assert_array_equal(compact[: lengths[row]], inputs[row, MASK[row]])
        assert not compact[lengths[row] :].any()
    back = np.asarray(spread_steps(rows, MASK))
    np.testing.assert_array_equal(back[MASK], inputs[MASK])
    assert not back[~MASK].any()
    one_row, length = compact_steps(inputs[1], MASK[1])
    np.testing.assert_array_equal(one_row, rows[1])
    assert length == 2
    empty, _ = compact_steps(inputs[:, :0], MASK[:, :0])
    assert spread_steps(empty, MASK[:, :0]).shape == (3, 0, *features)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_reductions_over_time_see_the_steps_of_the_mask_only(reduction):
    outputs = np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32) - 3
    outputs[~MASK] = np.nan
    lengths = np.array([4, 3, 4], np.int32)

    @jax.jit
    def run(outputs):
        gradient = jax.grad(lambda x: (reduction(x, mask=MASK) ** 2).sum())(outputs)
        return reduction(outputs, mask=MASK), gradient, reduction(outputs, lengths, mask=MASK)

    reduced, gradient, with_lengths = run(outputs)
    expected = [REDUCTIONS[reduction](outputs[row, MASK[row]]) for row in range(2)]
    np.testing.assert_allclose(reduced, [*expected, [0, 0]], rtol=1e-6)
    np.testing.assert_allclose(with_lengths[1], outputs[1, 0], rtol=1e-6)
    assert np.isfinite(gradient).all()
    assert not np.asarray(gradient)[~MASK].any()


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (MASK.tolist(), TypeError, "mask: got list, expected an array of booleans"),
        (None, TypeError, "mask: got None, expected an array of booleans"),
        (MASK.astype(np.float32), TypeError, "mask: got float32, expected booleans; mask > 0"),
        (MASK.astype(int), TypeError, "mask: got int64, expected booleans"),
        (
            MASK[:, 0],
            ValueError,
            r"mask: got shape \(3,\) for inputs of shape \(3, 4, 2\), expected .* \(3, 4\)",
        ),
        (MASK.T, ValueError, r"mask: got shape \(4, 3\)"),
    ],
)
def test_masks_that_do_not_fit_are_refused(mask, error, message):
    with pytest.raises(error, match=message):
        check_mask(mask, None, (3, 4, 2))
