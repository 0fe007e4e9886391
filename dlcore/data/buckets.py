"""Sequences of like length together: short ones aren't padded to the longest of the whole set."""

import functools
import itertools
import operator
from collections.abc import Mapping, Sequence

import numpy as np

from dlcore.data.arrays import ArrayBatches, Batch, ShuffledBatches, Transform
from dlcore.utils.rng import stream_generator


class BucketedBatches(ArrayBatches):
    """An endless training set of sequences, whose batches each hold rows of one bucket of lengths.

    The bucket of a row is the smallest boundary that is no less than its length, and a batch is cut to its
    bucket's boundary: it has one of ``len(data.boundaries)`` shapes, each compiled once.

    - Each bucket is a `ShuffledBatches` of its own: all of its examples are seen once before any of them is
      seen again, none is dropped, and every batch is full.
    - A cycle is ``ceil(examples / batch_size)`` batches, one epoch or a little more, whose buckets are in an
      order derived from (seed, cycle).
    - After c cycles a bucket has given its share of the batches, ``c * cycle * bucket's examples / examples``,
      to within one batch; in a single cycle it is less than two off. So no length is preferred in the long
      run, however few rows it has.

    Any step can be asked for at once, and all processes are in the same bucket at the same step.

    >>> arrays = {"inputs": np.ones((6, 9, 1)), "lengths": np.array([2, 9, 3, 4, 7, 4])}
    >>> data = BucketedBatches(arrays, batch_size=2, seed=0, boundaries=(4,))
    >>> data.boundaries, sorted(data[step]["inputs"].shape for step in range(3))
    ((4, 9), [(2, 4, 1), (2, 4, 1), (2, 9, 1)])
    """

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray],
        batch_size: int,
        seed: int,
        boundaries: Sequence[int] = (16, 32, 64),
        transform: Transform | None = None,
        fields: Sequence[str] | None = None,
    ):
        """Sorts the rows into buckets.

        Args:
            arrays: fields by name, each ``[examples, ...]``: those with a time axis ``[examples, T, ...]`` are
                padded behind each row's end, and ``lengths`` ``[examples]`` says where that is.
            batch_size: examples in a batch.
            seed: of the order and of the transform's random numbers.
            boundaries: the longest row of each bucket. One of T or more becomes T, and longer rows than the last have
                a bucket that ends at T. A bucket of fewer rows than a batch goes into the next longer one, and
                the longest into the one before it, which then ends where the longest did; ``data.boundaries``
                are those that are left.
            transform: changes a whole batch after it was cut; it gets the generator of this step.
            fields: those with a time axis, which are cut; otherwise ``inputs`` and every field whose second axis
                is as long as that of ``inputs``.

        Raises:
            ValueError: what `ArrayBatches` refuses, boundaries that don't increase from 1, no lengths or such as
                are outside 0..T, or fields without a common time axis.
        """
        super().__init__(arrays, batch_size, seed, transform)
        self.fields, steps = time_fields(self.arrays, fields)
        lengths = read_lengths(self.arrays, steps)
        self.boundaries = filled_boundaries(boundaries, lengths, steps, batch_size)
        bucket_of = np.searchsorted(self.boundaries, lengths)
        self._buckets = [
            ShuffledBatches(
                {"row": np.flatnonzero(bucket_of == bucket)}, batch_size, self._bucket_seed(bucket)
            )
            for bucket in range(len(self.boundaries))
        ]
        self.batches_per_cycle = -(-self.examples // batch_size)
        self._examples_up_to = np.cumsum([0] + [bucket.examples for bucket in self._buckets])
        self._plan = functools.lru_cache(maxsize=2)(self._make_plan)  # neighboring steps share a cycle's plan

    def _gather(self, step: int, start: int, stop: int) -> Batch:
        cycle, place = divmod(int(step), self.batches_per_cycle)
        bucket, number = (int(part[place]) for part in self._plan(cycle))
        rows = self._buckets[bucket].rows(number, start, stop)["row"]
        boundary = self.boundaries[bucket]
        return {
            name: array[rows, :boundary] if name in self.fields else array[rows]
            for name, array in self.arrays.items()
        }

    def _make_plan(self, cycle: int) -> tuple[np.ndarray, np.ndarray]:
        """Of each batch of a cycle: its bucket, and which of the bucket's own batches it is."""
        begin, end = self._batches_before(cycle), self._batches_before(cycle + 1)
        sorted_buckets = np.repeat(np.arange(len(begin)), end - begin)
        buckets = stream_generator(self.seed, "buckets", cycle).permutation(sorted_buckets)
        numbers = np.empty_like(buckets)
        # A stable sort finds each bucket's places in the order of time: its own batches come in turn.
        numbers[np.argsort(buckets, kind="stable")] = np.concatenate(list(map(np.arange, begin, end)))
        return buckets, numbers

    def _batches_before(self, cycle: int) -> np.ndarray:
        """How many batches each bucket gave before a cycle: its share, rounded so that the sum is exact.

        Sums are rounded and their differences taken; a share is at least one batch a cycle, so that none falls.
        """
        return np.diff(cycle * self.batches_per_cycle * self._examples_up_to // self.examples)

    def _bucket_seed(self, bucket: int) -> int:
        return int(stream_generator(self.seed, "bucket", bucket).integers(2**63))


def time_fields(
    arrays: Mapping[str, np.ndarray], fields: Sequence[str] | None
) -> tuple[tuple[str, ...], int]:
    """The names of the fields with a time axis, and its length; ValueError where there is no such axis."""
    named = ("inputs",) if fields is None else tuple(fields)
    shapes = {name: arrays[name].shape if name in arrays else None for name in named}
    axes = {shape[1:2] if shape else () for shape in shapes.values()}
    if len(axes) != 1 or () in axes:
        raise ValueError(
            f"fields: got {shapes}, expected fields of shape [examples, T, ...] with one T; "
            f"name those with a time axis, of {', '.join(arrays)}"
        )
    axis = axes.pop()
    if fields is None:
        named = tuple(name for name, array in arrays.items() if array.shape[1:2] == axis)
    return named, axis[0]


def read_lengths(arrays: Mapping[str, np.ndarray], steps: int) -> np.ndarray:
    """The field ``lengths``; ValueError where it is missing or has values outside 0..steps."""
    if "lengths" not in arrays:
        raise ValueError(
            f"lengths: got none beside {', '.join(arrays)}, expected a field with the valid steps of each row; "
            "add it to the arrays"
        )
    lengths = np.asarray(arrays["lengths"])
    if lengths.ndim != 1 or lengths.min() < 0 or lengths.max() > steps:
        raise ValueError(
            f"lengths: got shape {lengths.shape} and values {lengths.min()} to {lengths.max()}, expected one of "
            f"0 to {steps} for each row; {steps} is how far the rows are padded"
        )
    return lengths


def filled_boundaries(
    boundaries: Sequence[int], lengths: np.ndarray, steps: int, batch_size: int
) -> tuple[int, ...]:
    """The boundaries of buckets with at least a batch of rows each, the last no less than the longest row.

    >>> filled_boundaries((2, 4, 6), np.array([1, 1, 3, 5, 5, 6, 9]), steps=9, batch_size=2)
    (2, 9)

    Raises:
        ValueError: boundaries that don't increase from 1.
    """
    ends = tuple(map(operator.index, boundaries))
    if any(end >= following for end, following in itertools.pairwise((0, *ends))):
        raise ValueError(
            f"boundaries: got {ends}, expected whole numbers from 1 upward; sort them, each once"
        )
    ends = (*(end for end in ends if end < steps), steps)
    filled, taken = [], 0
    for end in ends:
        covered = int(np.count_nonzero(lengths <= end))
        if covered - taken >= batch_size:
            filled.append(end)
            taken = covered
    if taken < len(lengths):  # the longest rows are too few for a bucket of their own
        filled[-1] = next(end for end in ends if end >= lengths.max())
    return tuple(filled)
