"""Batches count their examples, check their sizes, and are cut by rows."""

import numpy as np
import pytest

from dlcore.data.batch import check_batch_size, check_rows, example_count, slice_rows


def test_all_fields_have_one_row_for_each_example():
    assert example_count({"inputs": np.zeros((3, 2)), "labels": np.zeros(3)}) == 3


@pytest.mark.parametrize("arrays", [{}, {"a": np.zeros(0)}, {"a": np.zeros(3), "b": np.zeros(4)}])
def test_fields_of_different_lengths_are_refused(arrays):
    with pytest.raises(ValueError, match="arrays: got fields of lengths"):
        example_count(arrays)


def test_a_batch_size_is_from_one_to_the_number_of_examples():
    for batch_size, examples in ((1, 1), (5, 5), (1, 5), (99, None)):
        check_batch_size(batch_size, examples)
    with pytest.raises(ValueError, match="batch_size: got 6, expected 1 to 5, the number of examples"):
        check_batch_size(6, 5)
    with pytest.raises(ValueError, match="batch_size: got 0, expected 1 or more"):
        check_batch_size(0, None)


def test_rows_are_a_part_of_the_batch():
    for start, stop in ((0, 1), (0, 4), (3, 4)):
        check_rows(start, stop, 4)
    for start, stop in ((-1, 2), (2, 2), (3, 2), (0, 5)):
        with pytest.raises(ValueError, match=f"rows: got {start} to {stop}, expected a part of 0 to 4"):
            check_rows(start, stop, 4)


def test_rows_of_nested_fields_are_cut():
    batch = {"labels": np.arange(4), "source": {"inputs": np.arange(8).reshape(4, 2)}}
    cut = slice_rows(batch, 1, 3)
    assert cut["labels"].tolist() == [1, 2]
    assert cut["source"]["inputs"].tolist() == [[2, 3], [4, 5]]
