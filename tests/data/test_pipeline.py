"""Decoding by grain, parts of batches, and prefetching keep the batches and their order."""

import dataclasses
import threading
import time

import grain
import numpy as np
import pytest

from dlcore.data import ShuffledBatches, decoded_batches, prefetch, rows_of


def decode(record, generator):
    return {"record": np.array(record), "noise": generator.normal(size=2)}


def assert_same_batch(got, expected):
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        assert got[name].dtype == array.dtype
        np.testing.assert_array_equal(got[name], array)


def test_decoded_batches_are_a_function_of_the_step():
    first, second = (decoded_batches(range(7), decode, 3, seed=5) for _ in range(2))
    expected = [first[step] for step in range(7)]
    for step in reversed(range(7)):
        np.testing.assert_array_equal(second[step]["noise"], expected[step]["noise"])
    seen = np.concatenate([batch["record"] for batch in expected]).reshape(-1, 7)
    np.testing.assert_array_equal(np.sort(seen), np.tile(np.arange(7), (3, 1)))
    assert len(np.unique(seen, axis=0)) > 1


def test_decoded_batches_equal_those_of_grain():
    dataset = grain.MapDataset.source(range(7)).seed(5).shuffle().repeat(None).random_map(decode).batch(3)
    data = decoded_batches(range(7), decode, 3, seed=5)
    assert (data.examples, data.batch_size) == (7, 3)
    for step in (0, 1, 2, 3, 10_000):
        assert_same_batch(data[step], dataset[step])


def test_only_the_wanted_rows_are_decoded():
    decoded = []

    def decode_and_note(record, generator):
        decoded.append(record)
        return decode(record, generator)

    data = decoded_batches(range(7), decode_and_note, 5, seed=5)
    for step in range(3):  # the second and the third batch straddle two epochs
        batch = data[step]
        for start, stop in ((0, 1), (1, 3), (2, 5), (0, 5)):
            decoded.clear()
            assert_same_batch(
                data.rows(step, start, stop), {name: array[start:stop] for name, array in batch.items()}
            )
            assert decoded == batch["record"][start:stop].tolist()
    with pytest.raises(ValueError, match="rows: got 2 to 6, expected a part of 0 to 5"):
        data.rows(0, 2, 6)


def test_transforms_of_grain_apply_to_the_elements():
    data = decoded_batches(range(7), decode, 3, seed=5)
    doubled = dataclasses.replace(data, elements=data.elements.map(lambda one: {"double": 2 * one["record"]}))
    np.testing.assert_array_equal(doubled[4]["double"], 2 * data[4]["record"])
    np.testing.assert_array_equal(doubled.rows(4, 1, 3)["double"], 2 * data[4]["record"][1:])


def test_decoded_batches_refuse_a_batch_larger_than_the_set():
    with pytest.raises(ValueError, match="batch_size: got 8, expected 1 to 7"):
        decoded_batches(range(7), decode, 8, seed=0)


class Plain:
    """A user's set without a method for rows; it has another attribute of that name."""

    rows = 100

    def __getitem__(self, step):
        return {"labels": np.arange(8) + step, "nested": {"inputs": np.ones((8, 2)) * step}}


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_rows_are_cut_from_the_batches_of_any_set(processes):
    each = 8 // processes
    for step in range(3):
        parts = [rows_of(Plain(), step, each * part, each * (part + 1)) for part in range(processes)]
        expected = Plain()[step]
        np.testing.assert_array_equal(np.concatenate([part["labels"] for part in parts]), expected["labels"])
        np.testing.assert_array_equal(
            np.concatenate([part["nested"]["inputs"] for part in parts]), expected["nested"]["inputs"]
        )


def test_a_set_with_a_method_for_rows_loads_only_these():
    class Rows:
        def __getitem__(self, step):
            raise AssertionError("the whole batch was loaded")

        def rows(self, step, start, stop):
            return {"loaded": np.array([step, start, stop])}

    assert rows_of(Rows(), 5, 1, 3)["loaded"].tolist() == [5, 1, 3]


@pytest.mark.parametrize(("depth", "workers"), [(0, 1), (1, 1), (2, 1), (5, 3)])
def test_prefetching_keeps_the_order(depth, workers):
    def make(step):
        time.sleep(0.002 * (step % 3))
        return step

    assert list(prefetch(make, range(3, 20), depth, workers)) == list(range(3, 20))


def test_batches_do_not_depend_on_the_number_of_workers():
    data = ShuffledBatches(
        {"labels": np.arange(10)}, 8, 0, lambda batch, generator: {**batch, "noise": generator.normal(size=8)}
    )
    for workers in (1, 2, 4):
        batches = prefetch(lambda step: rows_of(data, step, 2, 6), range(20), depth=8, workers=workers)
        for step, batch in enumerate(batches):
            assert_same_batch(batch, {name: array[2:6] for name, array in data[step].items()})


def test_prefetching_no_keys_is_empty():
    assert list(prefetch(str, range(4, 4))) == []


def test_keys_may_be_ranges_of_steps():
    keys = (range(first, min(first + 3, 8)) for first in range(0, 8, 3))
    assert list(prefetch(list, keys)) == [[0, 1, 2], [3, 4, 5], [6, 7]]


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_prefetching_takes_and_makes_no_more_keys_than_its_depth(depth, workers):
    taken, made = [], []

    def endless():
        while True:
            taken.append(len(taken))
            yield taken[-1]

    def make(key):
        made.append(key)
        return key

    results = prefetch(make, endless(), depth, workers)
    for count in range(1, 10):
        assert next(results) == count - 1
        assert len(taken) == count + depth
        assert len(made) <= count + depth
    results.close()


def test_calls_that_have_not_begun_are_canceled_at_the_end():
    made, go_on = [], threading.Event()

    def make(key):
        made.append(key)
        if key:
            go_on.wait(10)
        return key

    results = prefetch(make, range(100), depth=3)
    assert next(results) == 0
    threading.Timer(0.05, go_on.set).start()
    results.close()
    assert made in ([0], [0, 1])
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_an_error_of_a_call_is_raised_at_its_key():
    def make(step):
        if step == 2:
            raise OSError("disk gone")
        return step

    results = prefetch(make, range(5))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(OSError, match="disk gone"):
        next(results)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_an_error_of_the_keys_ends_the_threads():
    def keys():
        yield 0
        raise OSError("no more keys")

    with pytest.raises(OSError, match="no more keys"):
        list(prefetch(str, keys()))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"depth": -1}, ValueError, "depth: got -1, expected an integer >= 0"),
        ({"depth": 1.5}, TypeError, r"depth: got 1\.5"),
        ({"workers": 0}, ValueError, "workers: got 0, expected an integer >= 1"),
        ({"make": None}, TypeError, "make: got None, expected a function"),
        ({"keys": 5}, TypeError, "keys: got 5"),
    ],
)
def test_prefetch_refuses_bad_arguments_before_the_first_result_is_asked_for(arguments, error, message):
    with pytest.raises(error, match=message):
        prefetch(**{"make": str, "keys": range(3), **arguments})


@pytest.mark.parametrize(
    ("data", "step", "error", "message"),
    [
        ([Plain()[0]], 1, ValueError, "data: got none for step 1, expected a batch for every step"),
        ({}, 0, ValueError, "data: got none for step 0"),
        (None, 0, TypeError, "data: got NoneType, expected data.step"),
        ([Plain()[0]], -1, ValueError, "step: got -1"),
        ([Plain()[0]], None, TypeError, "step: got None"),
    ],
)
def test_a_step_without_a_batch_is_named(data, step, error, message):
    with pytest.raises(error, match=message):
        rows_of(data, step, 0, 2)


@pytest.mark.parametrize(("start", "stop"), [(-2, 2), (0, 9), (2, 2)])
def test_rows_outside_of_the_batches_of_any_set_are_refused(start, stop):
    with pytest.raises(ValueError, match=f"rows: got {start} to {stop}, expected a part of 0 to 8"):
        rows_of(Plain(), 0, start, stop)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"source": 7}, TypeError, "source: got int, expected a list"),
        ({"decode": None}, TypeError, "decode: got None, expected a function"),
        ({"batch_size": 2.5}, TypeError, r"batch_size: got 2\.5"),
        ({"seed": -1}, ValueError, "seed: got -1"),
    ],
)
def test_decoded_batches_refuse_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        decoded_batches(**{"source": range(7), "decode": decode, "batch_size": 3, "seed": 0, **arguments})


def test_decoded_batches_refuse_steps_that_no_run_has():
    data = decoded_batches(range(7), decode, 3, seed=0)
    for step in (-1, 2**62):
        with pytest.raises(ValueError, match=f"step: got {step}"):
            data[step]


def test_an_error_in_the_code_of_the_data_is_its_own():
    class Data:
        def __getitem__(self, step):
            return {"inputs": {"x": step}["typo"]}

    with pytest.raises(KeyError, match="typo"):
        rows_of(Data(), 0, 0, 2)
