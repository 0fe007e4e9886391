"""Arrays in memory as data by step: ``data[step] -> batch``, the same batch whenever it is asked for."""

import abc
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import jax
import numpy as np

from dlcore.utils.rng import stream_generator

Batch: TypeAlias = dict[str, np.ndarray]
Transform: TypeAlias = Callable[[Batch, np.random.Generator], Batch]


class ArrayBatches(abc.ABC):
    """What training sets of arrays in memory share: whole batches, parts of batches, and the transform.

    A set's own idea is `_gather`: which examples are the rows of a batch.
    """

    def __init__(
        self, arrays: Mapping[str, np.ndarray], batch_size: int, seed: int, transform: Transform | None = None
    ):
        """Checks that the arrays belong together.

        Args:
            arrays: fields by name, each ``[examples, ...]``.
            batch_size: examples in a batch.
            seed: of the order and of the transform's random numbers.
            transform: changes a whole batch, for instance `images.random_shifts`; it gets the generator of
                this step.

        Raises:
            ValueError: no examples, fields of different lengths, or a batch size outside 1..examples.
        """
        self.examples = example_count(arrays)
        check_batch_size(batch_size, self.examples)
        self.arrays, self.batch_size, self.seed, self.transform = dict(arrays), batch_size, seed, transform

    def __getitem__(self, step: int) -> Batch:
        """The batch of one step: every field as ``[batch_size, ...]``."""
        batch = self._gather(step, 0, self.batch_size)
        if self.transform is None:
            return batch
        return self.transform(batch, stream_generator(self.seed, "transform", step))

    def rows(self, step: int, start: int, stop: int) -> Batch:
        """The rows ``start`` to ``stop`` of ``data[step]``, equal to the bit, for a process that needs no others.

        Only these rows are read, unless there is a transform: what it draws for a row depends on the rows
        before it, so that it gets the whole batch and the part is cut from the result.

        Raises:
            ValueError: not 0 <= start < stop <= batch_size.
        """
        check_rows(start, stop, self.batch_size)
        if self.transform is None:
            return self._gather(step, start, stop)
        return slice_rows(self[step], start, stop)

    @abc.abstractmethod
    def _gather(self, step: int, start: int, stop: int) -> Batch:
        """The rows ``start`` to ``stop`` of a batch before the transform."""


class ShuffledBatches(ArrayBatches):
    """An endless training set: epoch after epoch, each in its own order, cut into batches.

    Batch ``n`` holds the positions ``n * batch_size ...`` of the endless row of epochs, so that every
    example is seen exactly once an epoch and none is dropped; a batch may begin in one epoch and end in the
    next. The order of an epoch is derived from (seed, epoch): any step can be asked for at once.

    >>> data = ShuffledBatches({"labels": np.arange(5)}, batch_size=2, seed=0)
    >>> sorted(np.concatenate([data[step]["labels"] for step in range(5)]).tolist())
    [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    """

    def __init__(
        self, arrays: Mapping[str, np.ndarray], batch_size: int, seed: int, transform: Transform | None = None
    ):
        """Takes and refuses what `ArrayBatches` does."""
        super().__init__(arrays, batch_size, seed, transform)
        # Neighboring steps share an epoch's order; two are alive where a batch straddles them.
        self._order = functools.lru_cache(maxsize=2)(self._shuffle)

    def _gather(self, step: int, start: int, stop: int) -> Batch:
        epochs, places = np.divmod(np.arange(start, stop) + step * self.batch_size, self.examples)
        rows = np.concatenate([self._order(epoch)[places[epochs == epoch]] for epoch in np.unique(epochs)])
        return {name: array[rows] for name, array in self.arrays.items()}

    def _shuffle(self, epoch: int) -> np.ndarray:
        return stream_generator(self.seed, "order", int(epoch)).permutation(self.examples)


class PaddedBatches:
    """A finite set for evaluation: each example once, in order, in batches of one shape.

    The last batch is filled up with copies of the first rows; ``mask`` is False on those.

    >>> data = PaddedBatches({"labels": np.arange(5)}, batch_size=2)
    >>> [(batch["labels"].tolist(), batch["mask"].tolist()) for batch in data][-1]
    ([4, 0], [True, False])
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], batch_size: int):
        """Raises ValueError for no examples, fields of different lengths, or a batch size below 1."""
        self.examples = example_count(arrays)
        check_batch_size(batch_size, None)
        # One compiled shape serves all batches; a small set must not be padded to a large one.
        self.arrays, self.batch_size = dict(arrays), min(batch_size, self.examples)

    def __len__(self) -> int:
        return -(-self.examples // self.batch_size)

    def __getitem__(self, number: int) -> Batch:
        if not 0 <= number < len(self):
            raise IndexError(f"batch {number} of {len(self)}")
        places = np.arange(self.batch_size) + number * self.batch_size
        batch = {name: array[places % self.examples] for name, array in self.arrays.items()}
        return {**batch, "mask": places < self.examples}

    def __iter__(self) -> Iterator[Batch]:
        return (self[number] for number in range(len(self)))


def example_count(arrays: Mapping[str, np.ndarray]) -> int:
    """How many examples all the fields hold; ValueError where they differ or there are none."""
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ValueError(
            f"arrays: got fields of lengths {lengths}, expected one length, at least 1; "
            "every field holds one row an example"
        )
    return next(iter(lengths.values()))


def check_batch_size(batch_size: int, examples: int | None) -> None:
    """ValueError unless 1 <= batch_size <= examples; None sets no upper bound."""
    if batch_size < 1 or (examples is not None and batch_size > examples):
        most = "" if examples is None else f" to {examples}, the number of examples"
        raise ValueError(f"batch_size: got {batch_size}, expected 1{most or ' or more'}")


def check_rows(start: int, stop: int, batch_size: int) -> None:
    """ValueError unless 0 <= start < stop <= batch_size."""
    if not 0 <= start < stop <= batch_size:
        raise ValueError(
            f"rows: got {start} to {stop}, expected a part of 0 to {batch_size}, at least one row"
        )


def slice_rows(batch: Any, start: int, stop: int) -> Any:
    """The rows ``start`` to ``stop`` of every array of a batch."""
    return jax.tree.map(lambda array: array[start:stop], batch)
