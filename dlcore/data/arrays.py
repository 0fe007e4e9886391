"""Data sets of arrays. The batch of a step is ``data[step]``, the same batch at every call."""

import abc
import functools
import sys
from collections.abc import Iterator, Mapping

import numpy as np

from dlcore.data.batch import (
    Batch,
    Transform,
    check_batch_size,
    check_fields,
    check_rows,
    check_step,
    mask_rows,
    row_count,
    slice_rows,
)
from dlcore.data.sources import take_rows
from dlcore.utils.checks import check_callable, check_integer
from dlcore.utils.rng import stream_generator


class ArrayBatches(abc.ABC):
    """The base class of endless training sets of arrays: whole batches, parts of batches, and the transform.

    ``data[step]`` is the batch of a step, a dict of arrays ``[batch_size, ...]``. A subclass implements `_gather`,
    which decides which examples are the rows of a batch. The arrays are in memory, or they are sources that only the
    rows of a batch are read from, see `open_arrays`.
    """

    def __init__(
        self, arrays: Mapping[str, np.ndarray], batch_size: int, seed: int, transform: Transform | None = None
    ):
        """Checks that the arrays fit together.

        Args:
            arrays: fields by name, each ``[examples, ...]``, in memory or opened by `open_arrays`.
            batch_size: number of examples in a batch.
            seed: seed of the order and of the transform's random numbers.
            transform: changes a whole batch, for instance `random_shifts`; it gets the generator of the step.

        Raises:
            TypeError: a field is not an array, or an argument has another type.
            ValueError: there is no example, fields have different lengths, the batch size is outside 1..examples, or
                the seed is below 0.
        """
        self.examples = row_count(arrays, "arrays")
        check_batch_size(batch_size, self.examples)
        check_integer("seed", seed, 0)
        if transform is not None:
            check_callable("transform", transform, "dl.data.random_flips")
        self.arrays, self.batch_size, self.seed, self.transform = dict(arrays), batch_size, seed, transform

    def __getitem__(self, step: int) -> Batch:
        """The batch of one step, whose fields are ``[batch_size, ...]``.

        Raises:
            TypeError: the step is not an integer, or the transform does not return a batch.
            ValueError: the step is not in 0..2^31 - 1.
        """
        batch = self._gather(check_step(step), 0, self.batch_size)
        if self.transform is None:
            return batch
        changed = self.transform(batch, stream_generator(self.seed, "transform", step))
        check_fields(changed, "transform")
        return changed

    def rows(self, step: int, start: int, stop: int) -> Batch:
        """The rows ``start`` to ``stop - 1`` of ``data[step]``, equal to the bit, as a dict of arrays.

        It is for a process that needs no other rows of the batch. Without a transform only these rows are read.
        A transform gets the whole batch, because the numbers that it draws for a row depend on the rows before it, and
        the rows are cut from its result.

        Raises:
            TypeError: step, start or stop is not an integer.
            ValueError: 0 <= start < stop <= batch_size does not hold, or the step is not in 0..2^31 - 1.
        """
        check_rows(start, stop, self.batch_size)
        if self.transform is None:
            return self._gather(check_step(step), start, stop)
        return slice_rows(self[step], start, stop)

    @abc.abstractmethod
    def _gather(self, step: int, start: int, stop: int) -> Batch:
        """The rows ``start`` to ``stop`` of a batch before the transform."""


class ShuffledBatches(ArrayBatches):
    """An endless training set: one epoch after the other, each in its own random order, cut into batches.

    Batch ``n`` begins at position ``n * batch_size`` of the sequence of epochs. Every example is seen exactly once in
    an epoch, none is dropped, and a batch may begin in one epoch and end in the next. The order of an epoch is a
    function of (seed, epoch), so that the batch of any step can be made directly.

    >>> data = ShuffledBatches({"labels": np.arange(5)}, batch_size=2, seed=0)
    >>> sorted(np.concatenate([data[step]["labels"] for step in range(5)]).tolist())
    [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    """

    def __init__(
        self, arrays: Mapping[str, np.ndarray], batch_size: int, seed: int, transform: Transform | None = None
    ):
        """Has the arguments and errors of `ArrayBatches`."""
        super().__init__(arrays, batch_size, seed, transform)
        # Neighboring steps share the order of an epoch; a batch that straddles two epochs needs two orders.
        self._order = functools.lru_cache(maxsize=2)(self._shuffle)

    def _gather(self, step: int, start: int, stop: int) -> Batch:
        epoch, place = divmod(step * self.batch_size + start, self.examples)
        rows = self._order(epoch)[place : place + stop - start]
        missing = stop - start - len(rows)
        if missing:
            rows = np.concatenate([rows, self._order(epoch + 1)[:missing]])
        return {name: take_rows(array, rows) for name, array in self.arrays.items()}

    def _shuffle(self, epoch: int) -> np.ndarray:
        return stream_generator(self.seed, "order", epoch).permutation(self.examples)


class PaddedBatches:
    """A finite set for evaluation: every example once, in order, in batches of one shape.

    Iterating gives ``len(data)`` batches, dicts of arrays ``[batch_size, ...]``. The last batch is filled up with
    copies of the set's first rows. Each batch has the field ``mask``, which is False or 0 for these copies. For
    examples it is the mask that the arrays have, and True ``[batch_size]`` if they have none.

    >>> data = PaddedBatches({"labels": np.arange(5)}, batch_size=2)
    >>> [(batch["labels"].tolist(), batch["mask"].tolist()) for batch in data][-1]
    ([4, 0], [True, False])
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], batch_size: int):
        """Checks that the arrays fit together.

        Args:
            arrays: fields by name, each ``[examples, ...]``, in memory or opened by `open_arrays`.
            batch_size: number of examples in a batch; a smaller set is one batch without padding.

        Raises:
            TypeError: a field is not an array, or the batch size is not an integer.
            ValueError: there is no example, fields have different lengths, or the batch size is below 1.
        """
        self.examples = row_count(arrays, "arrays")
        check_batch_size(batch_size, None)
        # All batches have one shape, so that one compiled program serves them all.
        self.arrays, self.batch_size = dict(arrays), min(batch_size, self.examples)

    def __len__(self) -> int:
        return -(-self.examples // self.batch_size)

    def __getitem__(self, index: int) -> Batch:
        if check_integer("index", index, -sys.maxsize) not in range(len(self)):
            raise IndexError(f"index: got {index}, expected 0 to {len(self) - 1}, the batches of the set")
        places = np.arange(self.batch_size) + index * self.batch_size
        batch = {name: take_rows(array, places % self.examples) for name, array in self.arrays.items()}
        return {**batch, "mask": mask_rows(batch, places < self.examples)}

    def __iter__(self) -> Iterator[Batch]:
        return (self[index] for index in range(len(self)))
