"""Data sets of arrays in memory. The batch of a step is ``data[step]``, the same batch at every call."""

import abc
import functools
from collections.abc import Iterator, Mapping

import numpy as np

from dlcore.data.batch import Batch, Transform, check_batch_size, check_rows, example_count, slice_rows
from dlcore.utils.rng import stream_generator


class ArrayBatches(abc.ABC):
    """The base class of endless training sets of arrays in memory: whole batches, parts of batches, and the transform.

    ``data[step]`` is the batch of a step, a dict of arrays ``[batch_size, ...]``. A subclass implements `_gather`,
    which decides which examples are the rows of a batch.
    """

    def __init__(
        self, arrays: Mapping[str, np.ndarray], batch_size: int, seed: int, transform: Transform | None = None
    ):
        """Checks that the arrays fit together.

        Args:
            arrays: fields by name, each ``[examples, ...]``.
            batch_size: number of examples in a batch.
            seed: seed of the order and of the transform's random numbers.
            transform: changes a whole batch, for instance `images.random_shifts`; it gets the generator of the step.

        Raises:
            ValueError: there is no example, fields have different lengths, or the batch size is outside 1..examples.
        """
        self.examples = example_count(arrays)
        check_batch_size(batch_size, self.examples)
        self.arrays, self.batch_size, self.seed, self.transform = dict(arrays), batch_size, seed, transform

    def __getitem__(self, step: int) -> Batch:
        """The batch of one step, whose fields are ``[batch_size, ...]``."""
        batch = self._gather(step, 0, self.batch_size)
        if self.transform is None:
            return batch
        return self.transform(batch, stream_generator(self.seed, "transform", step))

    def rows(self, step: int, start: int, stop: int) -> Batch:
        """The rows ``start`` to ``stop - 1`` of ``data[step]``, equal to the bit, as a dict of arrays.

        It is for a process that needs no other rows of the batch. Without a transform only these rows are read.
        A transform gets the whole batch, because the numbers that it draws for a row depend on the rows before it, and
        the rows are cut from its result.

        Raises:
            ValueError: 0 <= start < stop <= batch_size does not hold.
        """
        check_rows(start, stop, self.batch_size)
        if self.transform is None:
            return self._gather(step, start, stop)
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
        epochs, places = np.divmod(np.arange(start, stop) + step * self.batch_size, self.examples)
        rows = np.concatenate([self._order(epoch)[places[epochs == epoch]] for epoch in np.unique(epochs)])
        return {name: array[rows] for name, array in self.arrays.items()}

    def _shuffle(self, epoch: int) -> np.ndarray:
        return stream_generator(self.seed, "order", int(epoch)).permutation(self.examples)


class PaddedBatches:
    """A finite set for evaluation: every example once, in order, in batches of one shape.

    Iterating gives ``len(data)`` batches, dicts of arrays ``[batch_size, ...]``. Each has the additional field ``mask``
    ``[batch_size]``, True for examples. The last batch is filled up with copies of the set's first rows, whose mask is
    False.

    >>> data = PaddedBatches({"labels": np.arange(5)}, batch_size=2)
    >>> [(batch["labels"].tolist(), batch["mask"].tolist()) for batch in data][-1]
    ([4, 0], [True, False])
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], batch_size: int):
        """Checks that the arrays fit together.

        Args:
            arrays: fields by name, each ``[examples, ...]``.
            batch_size: number of examples in a batch; a smaller set is one batch without padding.

        Raises:
            ValueError: there is no example, fields have different lengths, or the batch size is below 1.
        """
        self.examples = example_count(arrays)
        check_batch_size(batch_size, None)
        # All batches have one shape, so that one compiled program serves them all.
        self.arrays, self.batch_size = dict(arrays), min(batch_size, self.examples)

    def __len__(self) -> int:
        return -(-self.examples // self.batch_size)

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        places = np.arange(self.batch_size) + index * self.batch_size
        batch = {name: array[places % self.examples] for name, array in self.arrays.items()}
        return {**batch, "mask": places < self.examples}

    def __iter__(self) -> Iterator[Batch]:
        return (self[index] for index in range(len(self)))
