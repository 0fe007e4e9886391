"""Padded batches: masks, checks of lengths, and reductions over the valid steps only."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.ops.lengths import (
    check_lengths,
    last_over_time,
    max_over_time,
    mean_over_time,
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
