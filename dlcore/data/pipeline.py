"""Data on its way: sets that are decoded example by example, and read-ahead to the device."""

import collections
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import numpy as np

T = TypeVar("T", covariant=True)


class ByStep(Protocol[T]):
    """A training set: the batch of any step, the same whenever it is asked for."""

    def __getitem__(self, step: int, /) -> T: ...


class RandomAccess(Protocol):
    """A grain source: examples by number, for instance the files of a folder."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int, /) -> Any: ...


def decoded_batches(
    source: RandomAccess,
    decode: Callable[[Any, np.random.Generator], Mapping[str, np.ndarray]],
    batch_size: int,
    seed: int,
) -> ByStep[Mapping[str, np.ndarray]]:
    """A shuffled, endless training set of examples that are decoded when they are needed, through grain.

    For files, audio, anything that is not an array in memory (arrays are faster as
    `arrays.ShuffledBatches`). The result is a ``grain.MapDataset``: all of grain's transforms fit.

    Args:
        source: ``len`` and ``source[number]``, for instance a list of paths.
        decode: an example's record and its own generator (for augmentation) -> its fields.
        batch_size: examples in a batch; the epochs' last partial batches are filled from the next epoch.
        seed: of the order, which differs in every epoch, and of the generators.

    Raises:
        ValueError: a batch size outside 1..len(source).

    >>> data = decoded_batches(["a", "bb", "ccc"], lambda text, _: {"size": np.array(len(text))}, 3, seed=0)
    >>> sorted(data[4]["size"].tolist())
    [1, 2, 3]
    """
    import grain

    from dlcore.data.arrays import check_batch_size

    check_batch_size(batch_size, len(source))
    return (
        grain.MapDataset.source(source).seed(seed).shuffle().repeat(None).random_map(decode).batch(batch_size)
    )


def read_ahead(
    data: ByStep[T], steps: range, place: Callable[[T], Any], depth: int = 2, workers: int = 1
) -> Generator[Any, None, None]:
    """``place(data[step])`` for every step in order, made ``depth`` steps before it is asked for.

    Args:
        data: batches by step; read from worker threads.
        steps: the steps to deliver.
        place: what happens to a batch in the thread, usually ``jax.device_put``.
        depth: batches that wait ready.
        workers: threads; more than one pays where decoding releases the interpreter's lock.

    Raises:
        Whatever reading a batch raised, when that batch's turn comes.

    >>> list(read_ahead([10, 11, 12, 13], range(1, 4), place=str))
    ['11', '12', '13']
    """

    def make(step: int) -> Any:
        return place(data[step])

    pool = ThreadPoolExecutor(workers, thread_name_prefix="read_ahead")
    waiting: collections.deque[Future[Any]] = collections.deque()
    try:
        for step in steps:
            waiting.append(pool.submit(make, step))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
