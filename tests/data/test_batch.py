"""Batches count their examples, check their sizes, and are cut by rows."""

import numpy as np
import pytest

from dlcore.data.batch import (
    check_batch_size,
    check_generator,
    check_rows,
    check_step,
    get_field,
    mask_rows,
    pad_rows,
    row_count,
    slice_rows,
)


def test_all_fields_have_one_row_for_each_example():
    assert row_count({"inputs": np.zeros((3, 2)), "labels": np.zeros(3)}) == 3


@pytest.mark.parametrize("arrays", [{}, {"a": np.zeros(0)}, {"a": np.zeros(3), "b": np.zeros(4)}])
def test_fields_of_different_lengths_are_refused(arrays):
    with pytest.raises(ValueError, match="arrays: got fields of lengths"):
        row_count(arrays, "arrays")


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ([1, 2], "arrays: a: got list, expected an array of numbers"),
        ((1, 2), "arrays: a: got tuple"),
        ("ab", "arrays: a: got str"),
        (None, "arrays: a: got NoneType"),
        (3, "arrays: a: got int"),
        ({"b": np.zeros(2)}, "arrays: a: got dict"),
        (np.float32(1), r"arrays: a: got float32 of shape \(\)"),
        (np.array(["x", "y"]), "arrays: a: got <U1 of shape"),
        (np.array([None, 1]), "arrays: a: got object"),
        (np.ma.array([1, 2]), "arrays: a: got a masked array"),
    ],
)
def test_fields_that_are_no_arrays_are_refused(field, message):
    with pytest.raises(TypeError, match=message):
        row_count({"a": field}, "arrays")


@pytest.mark.parametrize("batch", [None, [np.zeros(2)], np.zeros(2), "ab"])
def test_a_batch_is_a_dict(batch):
    for call in (lambda: row_count(batch), lambda: get_field(batch, "inputs")):
        with pytest.raises(TypeError, match=r"batch: got .*, expected a dict of arrays"):
            call()


def test_a_missing_field_is_named_with_those_that_are_there():
    assert get_field({"labels": 3}, "labels") == 3
    with pytest.raises(ValueError, match="labels: got a batch with the fields inputs, mask, expected"):
        get_field({"inputs": 1, "mask": 2}, "labels")


def test_rows_that_are_not_valid_are_masked_in_the_type_of_the_mask():
    valid = np.array([True, False])
    assert mask_rows({}, valid).tolist() == [True, False]
    assert mask_rows({"mask": np.array([False, True])}, valid).tolist() == [False, False]
    weights = mask_rows({"mask": np.full((2, 2), 0.5, np.float32)}, valid)
    assert (weights.dtype, weights.tolist()) == (np.float32, [[0.5, 0.5], [0, 0]])


def test_a_step_is_one_that_a_run_can_have():
    assert check_step(np.int64(2**31 - 1)) == 2**31 - 1
    for step, error in (
        (-1, ValueError),
        (2**62, ValueError),
        (1.5, TypeError),
        (None, TypeError),
        ("1", TypeError),
    ):
        with pytest.raises(error, match=f"step: got {step!r}, expected an integer from 0 to 2147483647"):
            check_step(step)


def test_a_seed_is_no_generator():
    check_generator(np.random.default_rng(0))
    for generator in (0, None, np.random.RandomState(0)):
        with pytest.raises(TypeError, match=r"generator: got .*, expected a np.random.Generator"):
            check_generator(generator)


def test_a_batch_size_is_from_one_to_the_number_of_examples():
    for batch_size, examples in ((1, 1), (5, 5), (1, 5), (99, None)):
        check_batch_size(batch_size, examples)
    with pytest.raises(ValueError, match="batch_size: got 6, expected 1 to 5, the number of examples"):
        check_batch_size(6, 5)
    with pytest.raises(ValueError, match="batch_size: got 0, expected an integer >= 1"):
        check_batch_size(0, None)
    for batch_size in (2.5, "4", None):
        with pytest.raises(TypeError, match=f"batch_size: got {batch_size!r}, expected an integer"):
            check_batch_size(batch_size, 5)


def test_rows_are_a_part_of_the_batch():
    for start, stop in ((0, 1), (0, 4), (3, 4)):
        check_rows(start, stop, 4)
    for start, stop in ((-1, 2), (2, 2), (3, 2), (0, 5)):
        with pytest.raises(ValueError, match=f"rows: got {start} to {stop}, expected a part of 0 to 4"):
            check_rows(start, stop, 4)
    for start, stop in ((0.5, 2), (0, 2.5), (0, None)):
        with pytest.raises(TypeError, match=r"(start|stop): got"):
            check_rows(start, stop, 4)


def test_rows_of_nested_fields_are_cut():
    batch = {"labels": np.arange(4), "source": {"inputs": np.arange(8).reshape(4, 2)}}
    cut = slice_rows(batch, 1, 3)
    assert cut["labels"].tolist() == [1, 2]
    assert cut["source"]["inputs"].tolist() == [[2, 3], [4, 5]]


@pytest.mark.parametrize("masked", [False, True])
def test_evaluation_batches_are_padded_with_masked_rows(masked):
    batch = {"labels": np.array([4, 5, 6])} | ({"mask": np.array([True, True, False])} if masked else {})
    assert pad_rows("eval_data", batch, 3) is batch
    padded = pad_rows("eval_data", batch, 4)
    assert padded["labels"].tolist() == [4, 5, 6, 4]
    assert padded["mask"].tolist() == [True, True, not masked, False]


@pytest.mark.parametrize("dtype", [bool, np.float32])
def test_a_mask_of_steps_is_padded_with_masked_rows(dtype):
    mask = np.ones((10, 3), dtype)
    padded = pad_rows("eval_data", {"labels": np.arange(30).reshape(10, 3), "mask": mask}, 4)
    assert padded["mask"].dtype == dtype
    np.testing.assert_array_equal(padded["mask"], [[1] * 3] * 10 + [[0] * 3] * 2)


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        ({}, ValueError, "eval_data: got fields of lengths {}"),
        ({"inputs": np.zeros((0, 2))}, ValueError, "eval_data: got fields of lengths {'inputs': 0}"),
        ({"inputs": np.zeros((3, 2)), "labels": np.zeros(2)}, ValueError, "eval_data: got fields of lengths"),
        ({"inputs": [1, 2]}, TypeError, "eval_data: inputs: got list, expected an array"),
        ([np.zeros(2)], TypeError, "eval_data: got list, expected a dict"),
    ],
)
def test_evaluation_batches_without_rows_or_with_several_numbers_of_rows_are_refused(batch, error, message):
    with pytest.raises(error, match=message):
        pad_rows("eval_data", batch, 2)
