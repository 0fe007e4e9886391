"""The way of data to the device: training sets by step, examples decoded on demand, parts of batches, prefetching."""

import collections
import dataclasses
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import jax
import numpy as np

from dlcore.data.batch import check_batch_size, check_rows, check_step, slice_rows
from dlcore.utils.checks import check_callable, check_integer

T = TypeVar("T", covariant=True)
Key = TypeVar("Key")
Made = TypeVar("Made")


class ByStep(Protocol[T]):
    """A training set: ``data[step]`` is the batch of a step, the same at every call and on every process.

    This is a protocol: any object with this method fits. A set may also have a method ``rows(step, start, stop)`` that
    loads a part of a batch: see `rows_of`.
    """

    def __getitem__(self, step: int, /) -> T: ...


class RandomAccess(Protocol):
    """A source of examples by index: anything with ``len(source)`` and ``source[index]``, for instance a list of paths.

    This is a protocol. Grain calls such an object a random access source.
    """

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...


@dataclasses.dataclass(frozen=True)
class DecodedBatches:
    """An endless training set of a grain dataset, which `decoded_batches` makes; ``data[step]`` is a dict of arrays.

    Transforms of grain apply to the elements:
    ``dataclasses.replace(data, elements=data.elements.map(function))``.

    Attributes:
        elements: an endless ``grain.MapDataset`` of single examples.
        examples: number of examples in an epoch.
        batch_size: number of examples in a batch.
    """

    elements: Any
    examples: int
    batch_size: int

    def __getitem__(self, step: int) -> Mapping[str, np.ndarray]:
        """The batch of one step: the fields of ``batch_size`` elements, stacked."""
        return self.rows(step, 0, self.batch_size)

    def rows(self, step: int, start: int, stop: int) -> Mapping[str, np.ndarray]:
        """The rows ``start`` to ``stop - 1`` of ``data[step]``, equal to the bit; no other example is decoded.

        Returns:
            A dict of arrays ``[stop - start, ...]``.

        Raises:
            TypeError: step, start or stop is not an integer.
            ValueError: 0 <= start < stop <= batch_size does not hold, or the step is not in 0..2^31 - 1.
        """
        check_rows(start, stop, self.batch_size)
        first = check_step(step) * self.batch_size
        return self.elements[first + start : first + stop].batch(stop - start)[0]


def decoded_batches(
    source: RandomAccess,
    decode: Callable[[Any, np.random.Generator], Mapping[str, np.ndarray]],
    batch_size: int,
    seed: int,
) -> DecodedBatches:
    """A shuffled, endless training set whose examples are decoded by grain when they are needed.

    It is for files, audio, and everything else that is not an array in memory. `arrays.ShuffledBatches` is faster for
    arrays.

    Args:
        source: has ``len(source)`` and ``source[index]``, for instance a list of paths.
        decode: ``decode(record, generator)`` returns the fields of one example, with the same shapes and dtypes for all
            examples; the generator is the example's own, for augmentation.
        batch_size: number of examples in a batch; the last batch of an epoch is filled up from the next epoch.
        seed: seed of the order, which differs in every epoch, and of the generators.

    Returns:
        A `DecodedBatches`: ``data[step]`` is a dict of arrays ``[batch_size, ...]``.

    Raises:
        TypeError: an argument has another type.
        ValueError: the batch size is outside 1..len(source), or the seed is below 0.

    >>> data = decoded_batches(["a", "bb", "ccc"], lambda text, _: {"size": np.array(len(text))}, 3, seed=0)
    >>> sorted(data[4]["size"].tolist())
    [1, 2, 3]
    """
    import grain

    if not (hasattr(source, "__len__") and hasattr(source, "__getitem__")) or isinstance(
        source, str | Mapping
    ):
        raise TypeError(
            f"source: got {type(source).__name__}, expected a list, or len(source) and source[index]"
        )
    check_callable("decode", decode, 'lambda record, generator: {"inputs": record}')
    check_integer("seed", seed, 0)
    check_batch_size(batch_size, len(source))
    elements = grain.MapDataset.source(source).seed(seed).shuffle().repeat(None).random_map(decode)
    return DecodedBatches(elements, len(source), batch_size)


def rows_of(data: ByStep[Any], step: int, start: int, stop: int) -> Any:
    """The rows ``start`` to ``stop - 1`` of ``data[step]``, for a process that needs no other rows.

    Every process loads its own rows of the same batch, so that the batch does not depend on the number of processes.

    Args:
        data: a training set. If it has a method ``rows(step, start, stop)``, that method loads the rows; otherwise the
            whole batch is made and cut.
        step: the step of the batch.
        start: the first row.
        stop: the row after the last one.

    Returns:
        A tree like a batch, of arrays ``[stop - start, ...]``.

    Raises:
        TypeError: the data has no ``data[step]``, or step, start or stop is not an integer.
        ValueError: 0 <= start < stop <= the number of rows does not hold, or there is no batch of the step.

    >>> rows_of([{"labels": np.arange(4)}, {"labels": np.arange(4, 8)}], step=1, start=2, stop=4)
    {'labels': array([6, 7])}
    """
    load = getattr(data, "rows", None)
    if callable(load):
        return load(step, start, stop)
    batch = batch_of(data, step)
    sizes: list[tuple[int, ...]] = [getattr(leaf, "shape", ())[:1] for leaf in jax.tree.leaves(batch)]
    if () in sizes or not sizes:
        raise TypeError(
            f"data: got a batch with other leaves than arrays [B, ...] for step {step}, expected none"
        )
    check_rows(start, stop, min(sizes)[0])
    return slice_rows(batch, start, stop)


def batch_of(data: ByStep[Any], step: int, name: str = "data") -> Any:
    """``data[step]``; ``name`` is what error messages call the data.

    Raises:
        TypeError: the data has no ``data[step]``, or the step is not an integer.
        ValueError: the data has no batch of this step, as a list that is too short.
    """
    if not hasattr(data, "__getitem__"):
        raise TypeError(f"{name}: got {type(data).__name__}, expected {name}[step], such as ShuffledBatches")
    try:
        return data[check_step(step)]
    except (IndexError, KeyError) as error:
        if not isinstance(data, Sequence | Mapping):
            raise  # it is an error in the data's own code
        raise ValueError(
            f"{name}: got none for step {step}, expected a batch for every step ({error})"
        ) from error


def prefetch(
    make: Callable[[Key], Made], keys: Iterable[Key], depth: int = 2, workers: int = 1
) -> Generator[Made, None, None]:
    """Returns a generator that yields ``make(key)`` for every key in order, and makes results in advance in threads.

    Nothing is made before the first result is asked for. Closing the generator cancels the calls of ``make``
    that have not begun and waits for those that have.

    Args:
        make: a function that worker threads call, for instance to read a batch and to place it on the device.
        keys: steps, or anything else; a key is taken only when its result is to be made.
        depth: the largest number of results that are made in advance: they are in progress or wait to be yielded.
        workers: number of threads; more than one pays if ``make`` releases the interpreter's lock. The results keep
            the order of the keys for any number.

    Raises:
        TypeError: ``make`` is not a function, ``keys`` cannot be iterated, or a number is not an integer.
        ValueError: the depth is below 0, or there is no worker.
        Exception: whatever ``make`` raised for a key, when the turn of that key comes.

    >>> data = [10, 11, 12, 13]
    >>> list(prefetch(lambda step: str(data[step]), range(1, 4)))
    ['11', '12', '13']
    """
    check_callable("make", make, "data.__getitem__")
    if not isinstance(keys, Iterable):
        raise TypeError(f"keys: got {keys!r}, expected something to iterate over, such as range(100)")
    return _results(make, keys, check_integer("depth", depth, 0), check_integer("workers", workers))


def _results(
    make: Callable[[Key], Made], keys: Iterable[Key], depth: int, workers: int
) -> Generator[Made, None, None]:
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
