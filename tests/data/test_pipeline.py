"""Decoding through grain, and read-ahead."""

import threading
import time

import numpy as np
import pytest

from dlcore.data import decoded_batches, read_ahead


def decode(number, generator):
    return {"number": np.array(number), "noise": generator.normal(size=2)}


def test_decoded_batches_are_a_function_of_the_step():
    first, second = (decoded_batches(range(7), decode, 3, seed=5) for _ in range(2))
    expected = [first[step] for step in range(14)]
    for step in reversed(range(14)):
        np.testing.assert_array_equal(second[step]["noise"], expected[step]["noise"])
    seen = np.concatenate([batch["number"] for batch in expected]).reshape(-1, 7)
    np.testing.assert_array_equal(np.sort(seen), np.tile(np.arange(7), (6, 1)))
    assert len(np.unique(seen, axis=0)) > 1


def test_decoded_batches_refuse_a_batch_larger_than_the_set():
    with pytest.raises(ValueError, match="batch_size: got 8, expected 1 to 7"):
        decoded_batches(range(7), decode, 8, seed=0)


@pytest.mark.parametrize(("depth", "workers"), [(1, 1), (2, 1), (5, 3)])
def test_read_ahead_keeps_the_order(depth, workers):
    class Uneven:
        def __getitem__(self, step):
            time.sleep(0.002 * (step % 3))
            return step

    assert list(read_ahead(Uneven(), range(3, 20), lambda x: x, depth, workers)) == list(range(3, 20))


def test_read_ahead_of_no_steps_is_empty():
    assert list(read_ahead([1], range(4, 4), lambda x: x)) == []


def test_read_ahead_works_ahead_but_no_further_than_its_depth():
    read = []

    class Recorded:
        def __getitem__(self, step):
            read.append(step)
            return step

    batches = read_ahead(Recorded(), range(100), lambda x: x, depth=3)
    next(batches)
    batches.close()
    assert 1 <= len(read) <= 4
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read_ahead")]


def test_an_error_in_reading_arrives_at_its_step():
    class Broken:
        def __getitem__(self, step):
            if step == 2:
                raise OSError("disk gone")
            return step

    batches = read_ahead(Broken(), range(5), lambda x: x)
    assert [next(batches), next(batches)] == [0, 1]
    with pytest.raises(OSError, match="disk gone"):
        next(batches)
