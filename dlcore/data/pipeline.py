"""Data on its way: sets that are decoded example by example, parts of batches, and read-ahead."""

import collections
import dataclasses
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import numpy as np

from dlcore.data.arrays import check_batch_size, check_rows, slice_rows

T = TypeVar("T", covariant=True)
Key = TypeVar("Key")
Made = TypeVar("Made")


class ByStep(Protocol[T]):
    """A training set: the batch of any step, the same whenever it is asked for and on whichever process.

    A set may also have ``rows(step, start, stop)``, which loads a part of a batch: see `rows_of`.
    """

    def __getitem__(self, step: int, /) -> T: ...


class RandomAccess(Protocol):
    """A grain source: examples by number, for instance the files of a folder."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int, /) -> Any: ...


@dataclasses.dataclass(frozen=True)
class DecodedBatches:
    """Batches of a grain dataset: `decoded_batches` makes them.

    Grain's transforms fit on the elements:
    ``dataclasses.replace(data, elements=data.elements.map(function))``.

    Args:
        elements: an endless ``grain.MapDataset`` of single examples.
        examples: how many of them are one epoch.
        batch_size: examples in a batch.
    """

    elements: Any
    examples: int
    batch_size: int

    def __getitem__(self, step: int) -> Mapping[str, np.ndarray]:
        """The batch of one step: the fields of ``batch_size`` elements, stacked."""
        return self.rows(step, 0, self.batch_size)

    def rows(self, step: int, start: int, stop: int) -> Mapping[str, np.ndarray]:
        """The rows ``start`` to ``stop`` of ``data[step]``, equal to the bit; no other example is decoded.

        Raises:
            ValueError: not 0 <= start < stop <= batch_size.
        """
        check_rows(start, stop, self.batch_size)
        first = step * self.batch_size
        return self.elements[first + start : first + stop].batch(stop - start)[0]


def decoded_batches(
    source: RandomAccess,
    decode: Callable[[Any, np.random.Generator], Mapping[str, np.ndarray]],
    batch_size: int,
    seed: int,
) -> DecodedBatches:
    """A shuffled, endless training set of examples that are decoded when they are needed, through grain.

    For files, audio, anything that is not an array in memory (arrays are faster as
    `arrays.ShuffledBatches`).

    Args:
        source: ``len`` and ``source[number]``, for instance a list of paths.
        decode: an example's record and its own generator (for augmentation) -> its fields, of the same
            shapes and dtypes for every example.
        batch_size: examples in a batch; the epochs' last partial batches are filled from the next epoch.
        seed: of the order, which differs in every epoch, and of the generators.

    Raises:
        ValueError: a batch size outside 1..len(source).

    >>> data = decoded_batches(["a", "bb", "ccc"], lambda text, _: {"size": np.array(len(text))}, 3, seed=0)
    >>> sorted(data[4]["size"].tolist())
    [1, 2, 3]
    """
    import grain

    check_batch_size(batch_size, len(source))
    elements = grain.MapDataset.source(source).seed(seed).shuffle().repeat(None).random_map(decode)
    return DecodedBatches(elements, len(source), batch_size)


def rows_of(data: ByStep[Any], step: int, start: int, stop: int) -> Any:
    """The rows ``start`` to ``stop`` of ``data[step]``, for a process that needs no others.

    Every process loads its own rows of the same batch, so that a batch does not depend on their number.

    Args:
        data: where it has a method ``rows(step, start, stop)``, that loads the rows; of another training set
            the whole batch is made and cut.
        step: the batch.
        start: its first row that is wanted.
        stop: one behind the last.

    >>> rows_of([{"labels": np.arange(4)}, {"labels": np.arange(4, 8)}], step=1, start=2, stop=4)
    {'labels': array([6, 7])}
    """
    load = getattr(data, "rows", None)
    return load(step, start, stop) if callable(load) else slice_rows(data[step], start, stop)


def prefetch(
    make: Callable[[Key], Made], keys: Iterable[Key], depth: int = 2, workers: int = 1
) -> Generator[Made, None, None]:
    """``make(key)`` for every key in order, made up to ``depth`` keys before it is asked for.

    Args:
        make: called in worker threads, for instance to read a batch and to place it on the device.
        keys: steps, or anything else; no more of them are taken than are made.
        depth: results that are made, or wait ready, behind the one that was delivered last.
        workers: threads; more than one pays where ``make`` releases the interpreter's lock. The order of the
            results is that of the keys, whatever the number.

    Raises:
        Whatever ``make`` raised, when that key's turn comes.

    Closing the generator cancels what has not begun and waits for what has.

    >>> data = [10, 11, 12, 13]
    >>> list(prefetch(lambda step: str(data[step]), range(1, 4)))
    ['11', '12', '13']
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="prefetch")
    waiting: collections.deque[Future[Made]] = collections.deque()
    try:
        for key in keys:
            waiting.append(pool.submit(make, key))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
