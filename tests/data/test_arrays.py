"""Data sets of arrays are a function of the step, and they give every example its turn."""

import numpy as np
import pytest

from dlcore.data import PaddedBatches, ShuffledBatches

ARRAYS = {"inputs": np.arange(20).reshape(10, 2), "labels": np.arange(10)}


@pytest.mark.parametrize("batch_size", [1, 3, 5, 10])
def test_each_epoch_has_every_example_once_in_another_order(batch_size):
    data = ShuffledBatches(ARRAYS, batch_size, seed=0)
    steps = 10 * batch_size  # whole epochs for every batch size
    seen = np.concatenate([data[step]["labels"] for step in range(steps)]).reshape(-1, 10)
    np.testing.assert_array_equal(np.sort(seen), np.tile(np.arange(10), (len(seen), 1)))
    assert len(np.unique(seen, axis=0)) > len(seen) * 0.9


def test_a_batch_does_not_depend_on_the_order_of_the_steps():
    forwards, backward = ShuffledBatches(ARRAYS, 3, seed=1), ShuffledBatches(ARRAYS, 3, seed=1)
    expected = [forwards[step]["labels"] for step in range(30)]
    for step in reversed(range(30)):
        np.testing.assert_array_equal(backward[step]["labels"], expected[step])


def test_fields_of_an_example_stay_together():
    batch = ShuffledBatches(ARRAYS, 4, seed=2)[5]
    np.testing.assert_array_equal(batch["inputs"][:, 0], 2 * batch["labels"])


def test_seeds_differ():
    orders = [ShuffledBatches(ARRAYS, 10, seed=seed)[0]["labels"].tolist() for seed in range(5)]
    assert len(set(map(tuple, orders))) == 5


def test_a_transform_gets_the_random_numbers_of_its_step():
    def add_noise(batch, generator):
        return {**batch, "noise": generator.normal(size=3)}

    data = ShuffledBatches(ARRAYS, 3, 0, add_noise)
    np.testing.assert_array_equal(data[4]["noise"], data[4]["noise"])
    assert not np.array_equal(data[4]["noise"], data[5]["noise"])


def add_noise_to_inputs(batch, generator):
    return {**batch, "inputs": batch["inputs"] + generator.normal(size=batch["inputs"].shape)}


@pytest.mark.parametrize("transform", [None, add_noise_to_inputs])
@pytest.mark.parametrize("processes", [1, 2, 4])
def test_the_rows_of_all_processes_are_the_batch(transform, processes):
    data = ShuffledBatches(ARRAYS, 8, 3, transform)  # every other batch straddles two epochs
    each = 8 // processes
    for step in range(10):
        parts = [data.rows(step, each * process, each * (process + 1)) for process in range(processes)]
        assert all(len(part["labels"]) == each for part in parts)
        for name, array in data[step].items():
            whole = np.concatenate([part[name] for part in parts])
            assert whole.dtype == array.dtype
            np.testing.assert_array_equal(whole, array)


def test_without_a_transform_no_other_rows_are_read():
    read = []

    class Recorded:
        def __len__(self):
            return 10

        def __getitem__(self, rows):
            read.extend(range(rows.start, rows.stop))
            return np.arange(rows.start, rows.stop)

    data = ShuffledBatches({"labels": Recorded()}, 8, seed=0)
    rows = data.rows(1, 3, 6)["labels"].tolist()
    assert sorted(rows) == read
    assert len(read) == 3
    assert data[1]["labels"][3:6].tolist() == rows


def test_a_transform_may_add_a_field_without_rows_to_a_whole_batch():
    data = ShuffledBatches(ARRAYS, 4, 0, lambda batch, _: {**batch, "scale": np.float32(0.5)})
    assert data[0]["scale"] == 0.5


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (2, 2), (3, 2), (0, 5), (4, 8)])
@pytest.mark.parametrize("transform", [None, add_noise_to_inputs])
def test_rows_outside_the_batch_are_refused(start, stop, transform):
    with pytest.raises(ValueError, match=f"rows: got {start} to {stop}, expected a part of 0 to 4"):
        ShuffledBatches(ARRAYS, 4, 0, transform).rows(0, start, stop)


def test_a_set_knows_its_number_of_examples_and_its_batch_size():
    data = ShuffledBatches(ARRAYS, 4, 0)
    assert (data.examples, data.batch_size) == (10, 4)


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
def test_batch_sizes_outside_the_set_are_refused(batch_size):
    with pytest.raises(ValueError, match=f"batch_size: got {batch_size}, expected (1 to 10|an integer >= 1)"):
        ShuffledBatches(ARRAYS, batch_size, 0)


@pytest.mark.parametrize("arrays", [{}, {"a": np.zeros(0)}, {"a": np.zeros(3), "b": np.zeros(4)}])
def test_arrays_of_different_lengths_are_refused(arrays):
    for build in (lambda: ShuffledBatches(arrays, 1, 0), lambda: PaddedBatches(arrays, 1)):
        with pytest.raises(ValueError, match="arrays: got fields of lengths"):
            build()


def test_a_batch_after_the_last_is_an_index_error():
    for index in (4, -1):
        with pytest.raises(IndexError, match=f"index: got {index}, expected 0 to 3"):
            PaddedBatches(ARRAYS, 3)[index]
    with pytest.raises(TypeError, match=r"index: got 1\.5"):
        PaddedBatches(ARRAYS, 3)[1.5]


@pytest.mark.parametrize("dtype", [bool, np.int32, np.float32])
@pytest.mark.parametrize("shape", [(10,), (10, 2), (10, 2, 3)])
def test_the_mask_of_the_examples_is_kept_and_copies_are_masked(dtype, shape):
    mask = np.random.default_rng(0).uniform(0.5, 2, shape) * (np.arange(10) % 3 > 0).reshape(
        -1, *[1] * (len(shape) - 1)
    )
    mask = mask.astype(dtype)
    masks = np.concatenate([batch["mask"] for batch in PaddedBatches({**ARRAYS, "mask": mask}, 4)])
    assert masks.dtype == dtype
    np.testing.assert_array_equal(masks[:10], mask)
    assert (masks.shape, masks[10:].any()) == ((12, *shape[1:]), False)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"batch_size": 2.5}, TypeError, r"batch_size: got 2\.5, expected an integer"),
        ({"batch_size": None}, TypeError, "batch_size: got None"),
        ({"seed": -1}, ValueError, "seed: got -1"),
        ({"seed": None}, TypeError, "seed: got None"),
        ({"transform": "flip"}, TypeError, "transform: got 'flip', expected a function"),
        ({"arrays": None}, TypeError, "arrays: got NoneType, expected a dict"),
        ({"arrays": {"inputs": [1, 2, 3]}}, TypeError, "arrays: inputs: got list"),
    ],
)
def test_arguments_of_another_type_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        ShuffledBatches(**{"arrays": ARRAYS, "batch_size": 2, "seed": 0, **arguments})


@pytest.mark.parametrize(
    ("step", "error"), [(-1, ValueError), (2**62, ValueError), (0.5, TypeError), (None, TypeError)]
)
@pytest.mark.parametrize("transform", [None, add_noise_to_inputs])
def test_steps_that_no_run_has_are_refused(step, error, transform):
    data = ShuffledBatches(ARRAYS, 4, 0, transform)
    for call in (lambda: data[step], lambda: data.rows(step, 0, 2)):
        with pytest.raises(error, match=f"step: got {step}, expected an integer from 0 to 2147483647"):
            call()


def test_the_last_step_that_a_run_can_have_has_a_batch():
    assert ShuffledBatches(ARRAYS, 4, 0)[2**31 - 1]["labels"].shape == (4,)


def test_a_transform_that_returns_no_batch_is_named():
    with pytest.raises(TypeError, match="transform: got NoneType, expected a dict"):
        ShuffledBatches(ARRAYS, 4, 0, lambda batch, generator: None)[0]
