"""Batches of sequences of similar length, so that short sequences are not padded to the longest of the whole set."""

import functools
import itertools
import sys
from collections.abc import Mapping, Sequence

import numpy as np

from dlcore.data.arrays import ArrayBatches, ShuffledBatches
from dlcore.data.batch import Batch, Transform, get_field
from dlcore.data.sources import take_rows
from dlcore.ops.lengths import known_lengths
from dlcore.utils.checks import check_integer
from dlcore.utils.rng import stream_generator


class BucketedBatches(ArrayBatches):
    """An endless training set of sequences whose batches each hold rows of one bucket of lengths.

    A row belongs to the bucket with the smallest boundary that is at least its length. A batch is cut to the boundary
    of its bucket, so that it has one of ``len(data.boundaries)`` shapes, each compiled once.

    - Each bucket is a `ShuffledBatches`: all of its examples are seen once before any of them is seen again, none is
      dropped, and every batch is full.
    - A cycle has ``ceil(examples / batch_size)`` batches, which is one epoch or a little more. The order of the buckets
      in a cycle is a function of (seed, cycle).
    - After c cycles a bucket has given its share of the batches, ``c * cycle * bucket's examples / examples``, to
      within one batch; within a single cycle the deviation is less than two batches. In the long run no length is
      preferred, however few rows it has.

    ``data[step]`` is the batch of any step, a dict of arrays ``[batch_size, ...]``. It is made directly, without the
    batches before it, and all processes use the same bucket at the same step.

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
        lengths: Sequence[str] = ("lengths",),
    ):
        """Sorts the rows into buckets.

        Args:
            arrays: fields by name, each ``[examples, ...]``. Fields with a time axis are ``[examples, T, ...]`` and are
                padded after the end of each row; ``lengths`` ``[examples]`` holds these ends.
            batch_size: number of examples in a batch.
            seed: seed of the order and of the transform's random numbers.
            boundaries: the largest length of each bucket. A boundary of T or more becomes T, and a bucket that ends at
                T is added for the rows that are longer than the last boundary. A bucket with fewer rows than a batch
                is merged into the next longer one. If the last bucket has too few rows, it is merged into the one
                before it, which then ends where the last one did. ``data.boundaries`` are the boundaries that are left.
            transform: changes a whole batch after it was cut; it gets the generator of the step.
            fields: the fields with a time axis, which are cut; None means ``inputs`` and every field whose second axis
                is as long as that of ``inputs``.
            lengths: the fields with lengths ``[examples]``; a row's bucket is that of its largest one. For pairs of
                sequences that are padded to one T it is ``("lengths", "label_lengths")``.

        Raises:
            TypeError: an error of `ArrayBatches`; lengths or boundaries are not integers, or fields or lengths are not
                names.
            ValueError: an error of `ArrayBatches`; boundaries that do not increase from 1; missing lengths, or lengths
                outside 0..T; or fields without a common time axis.
        """
        super().__init__(arrays, batch_size, seed, transform)
        self.fields, steps = time_fields(self.arrays, fields)
        longest = self._longest(_names("lengths", lengths), steps)
        self.boundaries = filled_boundaries(boundaries, longest, steps, batch_size)
        bucket_of = np.searchsorted(self.boundaries, longest)
        self._buckets = [
            ShuffledBatches(
                {"row": np.flatnonzero(bucket_of == bucket)}, batch_size, self._bucket_seed(bucket)
            )
            for bucket in range(len(self.boundaries))
        ]
        self.batches_per_cycle = -(-self.examples // batch_size)
        self._examples_up_to = np.cumsum([0] + [bucket.examples for bucket in self._buckets])
        self._plan = functools.lru_cache(maxsize=2)(self._make_plan)  # neighboring steps share a cycle's plan

    @property
    def longest_step(self) -> int:
        """The first step whose batch is as long as the last boundary, and so needs the most memory."""
        buckets, _ = self._plan(0)
        return int(buckets.argmax())

    def _longest(self, names: Sequence[str], steps: int) -> np.ndarray:
        """The largest length of each row."""
        if not names:
            raise ValueError("lengths: got (), expected at least one name, such as ('lengths',)")
        shape = (self.examples, steps)
        return np.max([known_lengths(get_field(self.arrays, name)[:], shape) for name in names], axis=0)

    def _gather(self, step: int, start: int, stop: int) -> Batch:
        cycle, place = divmod(step, self.batches_per_cycle)
        bucket, index = (int(part[place]) for part in self._plan(cycle))
        rows = self._buckets[bucket].rows(index, start, stop)["row"]
        boundary = self.boundaries[bucket]
        return {
            name: take_rows(array, rows, boundary if name in self.fields else None)
            for name, array in self.arrays.items()
        }

    def _make_plan(self, cycle: int) -> tuple[np.ndarray, np.ndarray]:
        """For each batch of a cycle: its bucket, and its index among the batches of that bucket."""
        begin, end = self._batches_before(cycle), self._batches_before(cycle + 1)
        sorted_buckets = np.repeat(np.arange(len(begin)), end - begin)
        buckets = stream_generator(self.seed, "buckets", cycle).permutation(sorted_buckets)
        indices = np.empty_like(buckets)
        # A stable sort keeps the places of each bucket in the order of the steps, so that its batches come in turn.
        indices[np.argsort(buckets, kind="stable")] = np.concatenate(list(map(np.arange, begin, end)))
        return buckets, indices

    def _batches_before(self, cycle: int) -> np.ndarray:
        """How many batches each bucket gave before a cycle: its share, rounded so that the sum is exact.

        The cumulative shares are rounded down and their differences taken. A bucket's result never decreases from one
        cycle to the next, because its share is at least one batch a cycle.
        """
        return np.diff(cycle * self.batches_per_cycle * self._examples_up_to // self.examples)

    def _bucket_seed(self, bucket: int) -> int:
        return int(stream_generator(self.seed, "bucket", bucket).integers(2**63))


def time_fields(
    arrays: Mapping[str, np.ndarray], fields: Sequence[str] | None
) -> tuple[tuple[str, ...], int]:
    """Finds the fields with a time axis.

    Args:
        arrays: fields by name, each ``[examples, ...]``.
        fields: the fields with a time axis; None means ``inputs`` and every field whose second axis is as long as that
            of ``inputs``.

    Returns:
        A pair: a tuple of the names of the fields with a time axis, and T, the length of that axis.

    Raises:
        TypeError: fields are not a sequence of names.
        ValueError: a field is missing or has no second axis, or these axes differ.
    """
    named = ("inputs",) if fields is None else _names("fields", fields)
    shapes = {name: arrays[name].shape if name in arrays else None for name in named}
    axes = {shape[1:2] if shape else () for shape in shapes.values()}
    if len(axes) != 1 or () in axes:
        raise ValueError(
            f"fields: got {shapes}, expected fields of shape [examples, T, ...] with one T; "
            f"name the fields with a time axis among {', '.join(arrays)}"
        )
    axis = axes.pop()
    if fields is None:
        named = tuple(name for name, array in arrays.items() if np.shape(array)[1:2] == axis)
    return named, axis[0]


def _names(argument: str, names: Sequence[str]) -> tuple[str, ...]:
    """Names of fields; TypeError if they are none."""
    if not (isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)):
        raise TypeError(f"{argument}: got {names!r}, expected a tuple of names, such as ('inputs', 'labels')")
    return tuple(names)


def filled_boundaries(
    boundaries: Sequence[int], lengths: np.ndarray, steps: int, batch_size: int
) -> tuple[int, ...]:
    """The boundaries that are left after buckets with fewer rows than a batch were merged, see `BucketedBatches`.

    Args:
        boundaries: the boundaries that the user asked for.
        lengths: integers ``[examples]``, the lengths of the rows.
        steps: T, the length that rows are padded to.
        batch_size: number of examples in a batch, at most the number of rows.

    Returns:
        An increasing tuple of integers; the last is at least the length of the longest row.

    Raises:
        TypeError: the boundaries are not a sequence of integers.
        ValueError: they do not increase from 1.

    >>> filled_boundaries((2, 4, 6), np.array([1, 1, 3, 5, 5, 6, 9]), steps=9, batch_size=2)
    (2, 9)
    """
    if isinstance(boundaries, str) or not hasattr(boundaries, "__iter__"):
        raise TypeError(f"boundaries: got {boundaries!r}, expected a tuple of integers, such as (16, 32, 64)")
    ends = tuple(check_integer("boundaries", end, -sys.maxsize) for end in boundaries)
    if any(end >= following for end, following in itertools.pairwise((0, *ends))):
        raise ValueError(
            f"boundaries: got {ends}, expected increasing whole numbers from 1 upward; sort them, each once"
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
