"""Helpers for arrays: dtypes, trailing axes and a choice by row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.ops.arrays import at_least_float32, check_floats, expand_to_rank, where_rows


@pytest.mark.parametrize("dtype", [np.int32, np.bool_, np.complex64])
def test_arrays_without_real_floats_are_refused_by_name(dtype):
    with pytest.raises(
        TypeError, match=f"weights: got {np.dtype(dtype)}, expected floating point numbers; convert"
    ):
        check_floats("weights", np.ones(2, dtype))


def test_every_real_float_is_accepted():
    for dtype in (np.float16, jnp.bfloat16, np.float32, np.float64):
        check_floats("weights", np.ones(2, dtype))


def test_half_precision_becomes_float32_and_wider_floats_stay():
    with jax.enable_x64(True):
        for dtype, expected in (
            (jnp.bfloat16, "float32"),
            (np.float16, "float32"),
            (np.float32, "float32"),
            (np.float64, "float64"),
        ):
            assert at_least_float32(jnp.ones(2, dtype)).dtype == expected


def test_axes_of_size_one_are_appended():
    array = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(expand_to_rank(array, 4), array[:, :, None, None])
    assert expand_to_rank(array, 2).shape == (2, 3)


def test_rows_are_chosen_whole():
    these, others = np.ones((2, 3, 4)), np.zeros((2, 3, 4))
    rows = np.array([[True, False, True], [False, False, True]])
    chosen = np.asarray(where_rows(rows, these, others))
    for index in np.ndindex(2, 3):
        np.testing.assert_array_equal(chosen[index], these[index] if rows[index] else others[index])
