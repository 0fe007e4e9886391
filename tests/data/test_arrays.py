"""Data as a function of the step."""

import numpy as np
import pytest

from dlcore.data import PaddedBatches, ShuffledBatches

ARRAYS = {"inputs": np.arange(20).reshape(10, 2), "labels": np.arange(10)}


@pytest.mark.parametrize("batch_size", [1, 3, 5, 10])
def test_each_epoch_has_every_example_once_in_another_order(batch_size):
    data = ShuffledBatches(ARRAYS, batch_size, seed=0)
    steps = 10 * batch_size  # whole epochs, whatever the batch size
    seen = np.concatenate([data[step]["labels"] for step in range(steps)]).reshape(-1, 10)
    np.testing.assert_array_equal(np.sort(seen), np.tile(np.arange(10), (len(seen), 1)))
    assert len(np.unique(seen, axis=0)) > len(seen) * 0.9


def test_a_step_has_the_same_batch_in_whatever_order_steps_are_asked_for():
    forwards, backwards = ShuffledBatches(ARRAYS, 3, seed=1), ShuffledBatches(ARRAYS, 3, seed=1)
    expected = [forwards[step]["labels"] for step in range(30)]
    for step in reversed(range(30)):
        np.testing.assert_array_equal(backwards[step]["labels"], expected[step])


def test_fields_of_an_example_stay_together():
    batch = ShuffledBatches(ARRAYS, 4, seed=2)[5]
    np.testing.assert_array_equal(batch["inputs"][:, 0], 2 * batch["labels"])


def test_seeds_differ():
    orders = [ShuffledBatches(ARRAYS, 10, seed=seed)[0]["labels"].tolist() for seed in range(5)]
    assert len(set(map(tuple, orders))) == 5


def test_a_transform_has_random_numbers_of_its_step():
    def add_noise(batch, generator):
        return {**batch, "noise": generator.normal(size=3)}

    data = ShuffledBatches(ARRAYS, 3, 0, add_noise)
    np.testing.assert_array_equal(data[4]["noise"], data[4]["noise"])
    assert not np.array_equal(data[4]["noise"], data[5]["noise"])


@pytest.mark.parametrize("batch_size", [1, 3, 5, 10, 64])
def test_evaluation_counts_each_example_once(batch_size):
    data = PaddedBatches(ARRAYS, batch_size)
    batches = list(data)
    assert len(batches) == len(data)
    assert len({batch["labels"].shape for batch in batches}) == 1
    np.testing.assert_array_equal(
        np.concatenate([batch["labels"][batch["mask"]] for batch in batches]), np.arange(10)
    )


@pytest.mark.parametrize("batch_size", [0, -1, 11])
def test_batch_sizes_that_cannot_be_are_refused(batch_size):
    with pytest.raises(ValueError, match=f"batch_size: got {batch_size}, expected 1 to 10"):
        ShuffledBatches(ARRAYS, batch_size, 0)


@pytest.mark.parametrize("arrays", [{}, {"a": np.zeros(0)}, {"a": np.zeros(3), "b": np.zeros(4)}])
def test_arrays_that_do_not_belong_together_are_refused(arrays):
    for build in (lambda: ShuffledBatches(arrays, 1, 0), lambda: PaddedBatches(arrays, 1)):
        with pytest.raises(ValueError, match="arrays: got fields of lengths"):
            build()


def test_a_batch_behind_the_last_is_an_index_error():
    with pytest.raises(IndexError, match="batch 4 of 4"):
        PaddedBatches(ARRAYS, 3)[4]
