"""Synthetic tasks keep their definitions, checked row by row in plain Python."""

import math
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

from dlcore.data import SyntheticBatches, adding, copy_memory, held_out, rows_of, temporal_order
from dlcore.data.long_memory import ORDERS

TASKS = {
    "adding": partial(adding, length=11),
    "copy": partial(copy_memory, delay=5),
    "temporal order": partial(temporal_order, length=27),
}


def three_rows(generator, examples):
    return {"inputs": np.ones((3, 2))}


def generator():
    return np.random.default_rng(0)


def test_adding_sums_the_two_marked_numbers_one_of_each_half():
    batch = adding(generator(), 2000, length=11)
    assert {name: (array.dtype, array.shape) for name, array in batch.items()} == {
        "inputs": (np.float32, (2000, 11, 2)),
        "targets": (np.float32, (2000,)),
    }
    seen = set()
    for steps, target in zip(batch["inputs"].tolist(), batch["targets"].tolist(), strict=True):
        assert all(0 <= number < 1 and marker in (0, 1) for number, marker in steps)
        first, second = (place for place, (_, marker) in enumerate(steps) if marker)
        assert first < 5 <= second
        assert target == pytest.approx(steps[first][0] + steps[second][0])
        seen.add((first, second))
    assert len(seen) == 5 * 6  # every pair of places occurs


def test_always_answering_one_has_the_variance_of_the_sum_as_error():
    targets = adding(generator(), 100_000, length=4)["targets"]
    assert ((targets - 1) ** 2).mean() == pytest.approx(1 / 6, rel=0.02)


def test_a_copy_sequence_is_symbols_blanks_delimiter_and_answer():
    delay = 5
    batch = copy_memory(generator(), 500, delay)
    assert batch["inputs"].dtype == batch["labels"].dtype == np.int32
    for inputs, labels in zip(batch["inputs"].tolist(), batch["labels"].tolist(), strict=True):
        symbols = inputs[:10]
        assert set(symbols) <= set(range(8))
        assert inputs == symbols + [8] * (delay - 1) + [9] + [8] * 10
        assert labels == [8] * (delay + 10) + symbols
    frequencies = np.bincount(batch["inputs"][:, :10].ravel(), minlength=8) / 5000
    np.testing.assert_allclose(frequencies, 1 / 8, atol=0.02)


@pytest.mark.parametrize("delay", [1, 50])
def test_a_model_without_memory_has_the_published_loss(delay):
    """It is certain of the blanks and gives eight symbols the same probability: 10 ln 8 / (T + 20)."""
    batch = copy_memory(generator(), 4, delay)
    answer = np.arange(delay + 20) >= delay + 10
    probabilities = (
        np.where(answer[:, None], np.arange(9) < 8, np.arange(9) == 8) / np.where(answer, 8, 1)[:, None]
    )
    of_labels = probabilities[np.arange(delay + 20), batch["labels"]]
    assert -np.log(of_labels).mean() == pytest.approx(10 * math.log(8) / (delay + 20))


def test_temporal_order_has_two_symbols_at_their_places():
    batch = temporal_order(generator(), 2000, length=27)
    seen = set()
    for symbols, label in zip(batch["inputs"].tolist(), batch["labels"].tolist(), strict=True):
        first, second = (place for place, symbol in enumerate(symbols) if symbol < 2)
        assert ORDERS[label] == "XY"[symbols[first]] + "XY"[symbols[second]]
        assert set(symbols) <= set(range(6))
        seen.add((first, second))
    assert seen == {(first, second) for first in (2, 3) for second in (13, 14)}
    np.testing.assert_allclose(np.bincount(batch["labels"]) / 2000, 1 / 4, atol=0.05)
    distractors = np.bincount(batch["inputs"].ravel())[2:]
    np.testing.assert_allclose(distractors / distractors.sum(), 1 / 4, atol=0.02)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_batch_is_a_function_of_seed_and_step(task):
    """It depends neither on the order of the calls, nor on the thread, nor on how it is cut into parts."""
    data = SyntheticBatches(task, batch_size=6, seed=3)
    expected = [data[step] for step in range(8)]
    with ThreadPoolExecutor(4) as pool:
        again = list(pool.map(SyntheticBatches(task, 6, 3).__getitem__, reversed(range(8))))[::-1]
    for step, (one, other) in enumerate(zip(expected, again, strict=True)):
        parts = [rows_of(data, step, start, start + 2) for start in (0, 2, 4)]
        for name, array in one.items():
            np.testing.assert_array_equal(array, other[name])
            np.testing.assert_array_equal(array, np.concatenate([part[name] for part in parts]))


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_steps_seeds_and_the_held_out_set_share_no_example(task):
    batches = [SyntheticBatches(task, 20, seed)[step] for seed in (0, 1) for step in range(10)]
    rows = [row.tobytes() for batch in (*batches, held_out(task, 100)) for row in batch["inputs"]]
    assert len(set(rows)) == 500
    np.testing.assert_array_equal(held_out(task, 100)["inputs"], held_out(task, 100)["inputs"])


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: adding(generator(), 1, length=1), "length: got 1, expected an integer from 2 to"),
        (lambda: copy_memory(generator(), 1, delay=0), "delay: got 0, expected an integer from 1 to"),
        (lambda: temporal_order(generator(), 1, length=9), "length: got 9, expected an integer from 10 to"),
        (lambda: SyntheticBatches(TASKS["adding"], 0, seed=0), "batch_size: got 0"),
    ],
)
def test_sequences_that_are_too_short_are_refused(make, named):
    with pytest.raises(ValueError, match=named):
        make()


@pytest.mark.parametrize(
    ("make", "error", "named"),
    [
        (lambda: held_out(TASKS["adding"], 0), ValueError, "examples: got 0, expected an integer >= 1"),
        (lambda: held_out(TASKS["adding"], 2.5), TypeError, r"examples: got 2\.5"),
        (lambda: held_out("adding", 2), TypeError, "task: got 'adding', expected a function such as"),
        (lambda: SyntheticBatches(None, 2, seed=0), TypeError, "task: got None"),
        (lambda: SyntheticBatches(TASKS["adding"], 2.5, seed=0), TypeError, r"batch_size: got 2\.5"),
        (lambda: SyntheticBatches(TASKS["adding"], 2, seed=-1), ValueError, "seed: got -1"),
        (lambda: SyntheticBatches(TASKS["adding"], 2, seed=0)[-1], ValueError, "step: got -1"),
        (
            lambda: SyntheticBatches(TASKS["adding"], 2, seed=0)[2**62],
            ValueError,
            "step: got 4611686018427387904",
        ),
        (
            lambda: held_out(lambda generator, examples: None, 2),
            TypeError,
            "task: got NoneType, expected a dict",
        ),
        (
            lambda: SyntheticBatches(three_rows, 2, seed=0)[0],
            ValueError,
            "task: got a batch of 3 rows, expected 2",
        ),
        (lambda: adding(0, 1, length=5), TypeError, "generator: got 0, expected a np.random.Generator"),
        (lambda: adding(generator(), 0, length=5), ValueError, "examples: got 0"),
        (
            lambda: copy_memory(generator(), 1, delay="5"),
            TypeError,
            "delay: got '5', expected an integer from 1 to",
        ),
        (lambda: temporal_order(generator(), -1, length=10), ValueError, "examples: got -1"),
    ],
)
def test_arguments_that_make_no_examples_are_refused(make, error, named):
    with pytest.raises(error, match=named):
        make()


def test_the_shortest_sequences_have_all_symbols():
    assert adding(generator(), 3, length=2)["inputs"][..., 1].tolist() == [[1, 1]] * 3
    assert copy_memory(generator(), 1, delay=1)["inputs"][0, 10:].tolist() == [9] + [8] * 10
    assert (temporal_order(generator(), 9, length=10)["inputs"][:, [1, 5]] < 2).all()
