"""Batches of sequences of similar length are a function of the step, and every bucket gets its share."""

from fractions import Fraction

import numpy as np
import pytest

from dlcore.data import BucketedBatches, rows_of
from dlcore.utils.rng import stream_generator

LENGTHS = np.array([2, 9, 3, 4, 7, 4, 12, 5, 8, 1, 4, 10, 3, 6, 2, 8, 2, 4, 11])
EXAMPLES, STEPS = len(LENGTHS), 12


def make_arrays():
    """Every valid number names its example, and the padding is 0."""
    valid = np.arange(STEPS) < LENGTHS[:, None]
    inputs = np.where(valid[..., None], np.arange(1, EXAMPLES + 1)[:, None, None] + np.array([0, 0.5]), 0)
    return {
        "inputs": inputs.astype(np.float32),
        "targets": np.where(valid, np.arange(EXAMPLES)[:, None], -1),
        "lengths": LENGTHS,
        "labels": np.arange(EXAMPLES),
        "weights": np.arange(EXAMPLES * 3).reshape(EXAMPLES, 3),
    }


def make_data(batch_size=2, boundaries=(4, 8), seed=0, transform=None):
    return BucketedBatches(make_arrays(), batch_size, seed, boundaries, transform)


def add_noise(batch, generator):
    return {**batch, "inputs": batch["inputs"] + generator.normal(size=batch["inputs"].shape)}


def reference(data, boundaries, steps):
    """The bucket and the examples of each of the first steps, by plain loops."""
    buckets = [[] for _ in boundaries]
    for example, length in enumerate(LENGTHS):
        buckets[next(i for i, end in enumerate(boundaries) if length <= end)].append(example)
    cycle_size = -(-EXAMPLES // data.batch_size)

    def stream(bucket):
        seed = int(stream_generator(data.seed, "bucket", bucket).integers(2**63))
        epoch = 0
        while True:
            for place in stream_generator(seed, "order", epoch).permutation(len(buckets[bucket])):
                yield buckets[bucket][place]
            epoch += 1

    examples = [stream(bucket) for bucket in range(len(buckets))]
    given, batches, cycle = [0] * len(buckets), [], 0
    while len(batches) < steps:
        turns, covered, total = [], 0, 0
        for bucket, members in enumerate(buckets):
            before = total
            covered += len(members)
            total = Fraction((cycle + 1) * cycle_size * covered, EXAMPLES).__floor__()
            turns += [bucket] * (total - before - given[bucket])
            given[bucket] = total - before
        for bucket in stream_generator(data.seed, "buckets", cycle).permutation(turns):
            batches.append((bucket, [next(examples[bucket]) for _ in range(data.batch_size)]))
        cycle += 1
    return batches[:steps]


@pytest.mark.parametrize("seed", range(4))
def test_the_longest_step_is_the_first_one_of_full_length(seed):
    data = make_data(seed=seed)
    lengths = [data[step]["inputs"].shape[1] for step in range(data.batches_per_cycle)]
    assert data.longest_step == lengths.index(max(lengths))
    assert max(lengths) == data.boundaries[-1]


@pytest.mark.parametrize("batch_size", [1, 2, 4])
@pytest.mark.parametrize("seed", [0, 7])
def test_batches_are_those_of_a_plain_loop(batch_size, seed):
    data = make_data(batch_size, (4, 8), seed)
    arrays = make_arrays()
    assert data.boundaries == (4, 8, 12)
    for step, (bucket, examples) in enumerate(reference(data, (4, 8, 12), 150)):
        batch, end = data[step], data.boundaries[bucket]
        assert batch["labels"].tolist() == examples
        np.testing.assert_array_equal(batch["inputs"], arrays["inputs"][examples][:, :end])
        np.testing.assert_array_equal(batch["targets"], arrays["targets"][examples][:, :end])
        np.testing.assert_array_equal(batch["lengths"], LENGTHS[examples])
        np.testing.assert_array_equal(batch["weights"], arrays["weights"][examples])


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4])
def test_every_example_is_seen_once_in_each_epoch_of_its_bucket(batch_size):
    data = make_data(batch_size)
    seen = {end: [] for end in data.boundaries}
    for step in range(400):
        batch = data[step]
        end = batch["inputs"].shape[1]
        assert (batch["lengths"] <= end).all()
        seen[end] += batch["labels"].tolist()
    for low, high in zip((0, *data.boundaries), data.boundaries, strict=False):
        members = np.flatnonzero((low < LENGTHS) & (high >= LENGTHS))
        passes = np.array(seen[high][: len(seen[high]) // len(members) * len(members)]).reshape(
            -1, len(members)
        )
        np.testing.assert_array_equal(np.sort(passes), np.tile(members, (len(passes), 1)))
        assert len(np.unique(passes, axis=0)) > 1


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4])
def test_a_bucket_has_its_share_to_within_one_batch_at_the_end_of_every_cycle(batch_size):
    data = make_data(batch_size)
    cycle_size, members = -(-EXAMPLES // batch_size), {4: 10, 8: 5, 12: 4}
    given = dict.fromkeys(members, 0)
    for step in range(100 * cycle_size):
        given[data[step]["inputs"].shape[1]] += 1
        if (step + 1) % cycle_size == 0:
            for end, count in given.items():
                assert abs(count - Fraction((step + 1) * members[end], EXAMPLES)) < 1


def test_buckets_are_mixed_and_cycles_differ():
    data = make_data(1)
    orders = [[data[cycle * EXAMPLES + i]["inputs"].shape[1] for i in range(EXAMPLES)] for cycle in range(9)]
    assert len(set(map(tuple, orders))) == 9
    assert all(sorted(order) == [4] * 10 + [8] * 5 + [12] * 4 for order in orders)


@pytest.mark.parametrize("transform", [None, add_noise])
def test_a_batch_does_not_depend_on_the_order_of_the_steps(transform):
    forwards, backward = make_data(transform=transform), make_data(transform=transform)
    expected = [forwards[step] for step in range(60)]
    for step in reversed(range(60)):
        for name, array in backward[step].items():
            np.testing.assert_array_equal(array, expected[step][name])


@pytest.mark.parametrize("transform", [None, add_noise])
@pytest.mark.parametrize("processes", [1, 2, 4])
def test_the_rows_of_all_processes_are_the_batch(transform, processes):
    data = make_data(4, transform=transform)
    each = 4 // processes
    for step in range(30):
        parts = [rows_of(data, step, each * process, each * (process + 1)) for process in range(processes)]
        for name, array in data[step].items():
            whole = np.concatenate([part[name] for part in parts])
            assert whole.dtype == array.dtype
            np.testing.assert_array_equal(whole, array)
    with pytest.raises(ValueError, match="rows: got 0 to 5"):
        data.rows(0, 0, 5)


@pytest.mark.parametrize(
    ("boundaries", "batch_size", "expected"),
    [
        ((4, 8), 4, (4, 8, 12)),
        ((), 4, (12,)),
        ((16, 32), 4, (12,)),  # no bucket ends after T
        ((2, 4, 12), 4, (2, 4, 12)),
        ((1, 4, 12), 4, (4, 12)),  # a bucket with too few rows joins the next one
        ((4, 8), 5, (4, 12)),  # and the last one joins the one before it
        ((4, 8, 11), 2, (4, 8, 12)),
        ((4, 8), 11, (12,)),
        ((1, 2, 3), 19, (12,)),
    ],
)
def test_a_bucket_has_at_least_a_batch_of_rows(boundaries, batch_size, expected):
    data = make_data(batch_size, boundaries)
    assert data.boundaries == expected
    assert {data[step]["inputs"].shape[1] for step in range(200)} == set(expected)


def test_no_bucket_is_longer_than_the_longest_row_needs():
    arrays = {"inputs": np.zeros((6, 50, 1)), "lengths": np.array([3, 3, 3, 3, 3, 15])}
    assert BucketedBatches(arrays, 2, 0, (4, 16, 32)).boundaries == (16,)
    assert BucketedBatches({**arrays, "lengths": np.full(6, 3)}, 2, 0, (4, 16)).boundaries == (4,)


def test_a_set_knows_its_number_of_examples_and_its_batch_size():
    data = make_data(3)
    assert (data.examples, data.batch_size) == (EXAMPLES, 3)


def test_named_fields_are_cut_and_no_others():
    arrays = {"tokens": np.zeros((4, 6)), "scores": np.zeros((4, 6)), "lengths": np.array([1, 2, 2, 1])}
    batch = BucketedBatches(arrays, 2, 0, (2,), fields=("tokens",))[0]
    assert (batch["tokens"].shape, batch["scores"].shape) == ((2, 2), (2, 6))


def test_pairs_of_sequences_are_sorted_by_the_longer_one():
    arrays = make_arrays()
    arrays["label_lengths"] = np.roll(LENGTHS, 3)
    data = BucketedBatches(arrays, 2, 0, (4, 8), lengths=("lengths", "label_lengths"))
    for step in range(data.batches_per_cycle):
        batch = data[step]
        longest = np.maximum(batch["lengths"], batch["label_lengths"])
        end = batch["inputs"].shape[1]
        assert end in data.boundaries
        assert (longest <= end).all()
        assert (longest > max((0, *(other for other in data.boundaries if other < end)))).all()


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({}, {"boundaries": (8, 4)}, r"boundaries: got \(8, 4\), expected increasing whole numbers from 1"),
        ({}, {"boundaries": (4, 4)}, "boundaries: got"),
        ({}, {"boundaries": (0, 4)}, "boundaries: got"),
        ({}, {"boundaries": (-4,)}, "boundaries: got"),
        ({}, {"batch_size": 0}, "batch_size: got 0, expected an integer >= 1"),
        ({}, {"batch_size": 20}, "batch_size: got 20, expected 1 to 19"),
        ({"lengths": LENGTHS + 1}, {}, "lengths: got 13 in row 6, expected 0 to 12"),
        ({"lengths": LENGTHS - 2}, {}, "lengths: got -1 in row 9, expected 0 to 12"),
        ({"lengths": LENGTHS[:, None]}, {}, r"lengths: got shape \(19, 1\)"),
        ({"lengths": None}, {}, "lengths: got a batch with the fields inputs, targets, labels, weights"),
        ({"inputs": None}, {}, r"fields: got \{'inputs': None\}"),
        ({"inputs": np.zeros(19)}, {}, r"fields: got \{'inputs': \(19,\)\}"),
        ({}, {"fields": ("inputs", "weights")}, "fields: got .* with one T"),
        ({}, {"fields": ()}, r"fields: got \{\}"),
        ({}, {"lengths": ()}, r"lengths: got \(\), expected at least one name"),
        ({"labels": np.zeros(3)}, {}, "arrays: got fields of lengths"),
    ],
)
def test_arrays_and_boundaries_that_do_not_fit_are_refused(change, arguments, message):
    arrays = {name: array for name, array in {**make_arrays(), **change}.items() if array is not None}
    with pytest.raises(ValueError, match=message):
        BucketedBatches(arrays, **{"batch_size": 2, "seed": 0, "boundaries": (4, 8), **arguments})


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({}, {"boundaries": None}, "boundaries: got None, expected a tuple of integers"),
        ({}, {"boundaries": 8}, "boundaries: got 8"),
        ({}, {"boundaries": (4.0, 8.0)}, r"boundaries: got 4\.0, expected an integer"),
        ({}, {"boundaries": "48"}, "boundaries: got '48'"),
        ({}, {"fields": "inputs"}, "fields: got 'inputs', expected a tuple of names"),
        ({}, {"fields": 3}, "fields: got 3"),
        ({}, {"lengths": "lengths"}, "lengths: got 'lengths', expected a tuple of names"),
        ({"lengths": np.full(19, np.nan)}, {}, "lengths: got float64, expected integers"),
        ({"lengths": LENGTHS.astype(float)}, {}, "lengths: got float64, expected integers"),
    ],
)
def test_arguments_of_another_type_are_refused(change, arguments, message):
    with pytest.raises(TypeError, match=message):
        BucketedBatches(
            {**make_arrays(), **change}, **{"batch_size": 2, "seed": 0, "boundaries": (4, 8), **arguments}
        )


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "uint32", "int64", "uint64"])
def test_lengths_of_every_integer_type_give_the_same_buckets(dtype):
    arrays = make_arrays()
    data = BucketedBatches({**arrays, "lengths": LENGTHS.astype(dtype)}, 2, 0, (4, 8))
    for step in range(20):
        np.testing.assert_array_equal(data[step]["labels"], make_data()[step]["labels"])


def test_the_first_and_the_last_step_that_a_run_can_have():
    assert make_data()[2**31 - 1]["labels"].shape == (2,)
    for step in (-1, 2**62):
        with pytest.raises(ValueError, match=f"step: got {step}"):
            make_data()[step]
