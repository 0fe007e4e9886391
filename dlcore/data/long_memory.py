"""Synthetic tasks of long memory: random sequences in which a few places decide the answer.

A task is a function ``task(generator, examples, ...) -> batch``. `SyntheticBatches` makes an endless training set of
it, and `held_out` makes the finite set for evaluation. Symbols are integers, which a model turns into one-hot vectors.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from dlcore.data.batch import Batch, check_batch_size, check_generator, check_step, row_count
from dlcore.utils.checks import check_callable, check_integer
from dlcore.utils.rng import stream_generator

Task: TypeAlias = Callable[[np.random.Generator, int], Batch]
"""``task(generator, examples) -> batch``, whose fields are ``[examples, ...]``."""

COPIED, BLANK, DELIMITER = 10, 8, 9
"""Of `copy_memory`: the number of symbols to copy, and the two symbols that separate them from their copy."""

ORDERS = ("XX", "XY", "YX", "YY")
"""The names of the classes of `temporal_order`."""

LARGEST = 2**31 - 1  # number of examples or steps that a task makes

SYMBOLS = 6
"""The number of symbols of `temporal_order`: X, Y and four distractors."""


@dataclass(frozen=True)
class SyntheticBatches:
    """An endless training set that is made on demand: batch ``n``, which is ``data[n]``, is a function of (seed, n).

    Every batch has new examples, so that a model cannot memorize them.

    Attributes:
        task: makes a batch; for instance ``functools.partial(adding, length=100)``.
        batch_size: number of examples in a batch.
        seed: seed of the batches.

    Raises:
        TypeError: the task is not a function, or batch size or seed are not integers.
        ValueError: the batch size is below 1, or the seed below 0.

    >>> data = SyntheticBatches(lambda generator, examples: {"inputs": generator.random(examples)}, 3, seed=0)
    >>> data[7]["inputs"].shape, (data[7]["inputs"] == data[7]["inputs"]).all()
    ((3,), np.True_)
    """

    task: Task
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        check_callable("task", self.task, "functools.partial(dl.data.adding, length=100)")
        check_batch_size(self.batch_size, None)
        check_integer("seed", self.seed, 0)

    def __getitem__(self, step: int) -> Batch:
        """The batch of one step, whose fields are ``[batch_size, ...]``.

        Raises:
            TypeError: the step is not an integer, or the task does not return a dict of arrays.
            ValueError: the step is not in 0..2^31 - 1, or the task returns another number of rows.
        """
        return _make(self.task, stream_generator(self.seed, "synthetic", check_step(step)), self.batch_size)


def held_out(task: Task, examples: int) -> Batch:
    """The batch of examples for evaluation, whose fields are ``[examples, ...]``.

    It has its own stream of random numbers, so it is the same for every seed of a run and independent of the training
    examples.

    Args:
        task: makes a batch, as in `SyntheticBatches`.
        examples: number of examples.

    Raises:
        TypeError: the task is not a function, or does not return a dict of arrays; or the number is not an integer.
        ValueError: the number is below 1, or the task returns another number of rows.
    """
    check_callable("task", task, "functools.partial(dl.data.adding, length=100)")
    check_integer("examples", examples)
    return _make(task, stream_generator(0, "held out"), examples)


def _make(task: Task, generator: np.random.Generator, examples: int) -> Batch:
    """What the task returns, if it is a batch of this many rows."""
    batch = task(generator, examples)
    if row_count(batch, "task") != examples:
        raise ValueError(
            f"task: got a batch of {row_count(batch)} rows, expected {examples}, as it was asked for"
        )
    return batch


def adding(generator: np.random.Generator, examples: int, length: int) -> Batch:
    """The adding problem: the sum of the two marked numbers of a sequence.

    Each step holds a number, uniform in [0, 1), and a marker. The marker is 1 at one place of the first half and at one
    place of the second half, and 0 elsewhere. Always answering 1 has the squared error 1/6 = 0.1667, which is the
    variance of the sum.

    Source: Hochreiter & Schmidhuber 1997, experiment 4, in the form of Le, Jaitly & Hinton 2015, arXiv 1504.00941.

    Args:
        generator: the source of all random numbers.
        examples: number of sequences.
        length: number of steps.

    Returns:
        A batch: ``inputs`` float32 ``[examples, length, 2]``, ``targets`` float32 ``[examples]``.

    Raises:
        TypeError: an argument has another type.
        ValueError: there is no example, or the length is below 2, so that it has no halves.
    """
    _check_task(generator, examples)
    check_integer("length", length, 2, LARGEST)
    numbers = generator.random((examples, length), np.float32)
    marked = np.stack(
        [generator.integers(0, length // 2, examples), generator.integers(length // 2, length, examples)],
        axis=1,
    )
    markers = np.zeros_like(numbers)
    np.put_along_axis(markers, marked, 1, axis=1)
    targets = np.take_along_axis(numbers, marked, axis=1).sum(axis=1)
    return {"inputs": np.stack([numbers, markers], axis=-1), "targets": targets}


def copy_memory(generator: np.random.Generator, examples: int, delay: int) -> Batch:
    """The copy task: ten symbols, a long delay, and then the same ten symbols again.

    With T the delay, the input is ten of the symbols 0..7, T - 1 blanks (8), the delimiter (9), and ten blanks. The
    answer is T + 10 blanks and then the ten symbols. A model without memory has at best the loss 10 ln 8 / (T + 20).

    Source: Arjovsky, Shah & Bengio 2016, arXiv 1511.06464.

    Args:
        generator: the source of all random numbers.
        examples: number of sequences.
        delay: T, the number of steps between the last symbol and the first step of the copy. The copy of each symbol
            is due T + 10 steps after the symbol.

    Returns:
        A batch: ``inputs`` int32 ``[examples, T + 20]`` in 0..9, ``labels`` int32 ``[examples, T + 20]`` in 0..8.

    Raises:
        TypeError: an argument has another type.
        ValueError: there is no example, or the delay is below 1, so that it has no room for the delimiter.
    """
    _check_task(generator, examples)
    check_integer("delay", delay, 1, LARGEST)
    symbols = generator.integers(0, BLANK, (examples, COPIED), np.int32)
    inputs = np.full((examples, delay + 2 * COPIED), BLANK, np.int32)
    labels = inputs.copy()
    inputs[:, :COPIED] = labels[:, -COPIED:] = symbols
    inputs[:, -COPIED - 1] = DELIMITER
    return {"inputs": inputs, "labels": labels}


def temporal_order(generator: np.random.Generator, examples: int, length: int) -> Batch:
    """The temporal order problem: X and Y appear twice among distractors; in which order?

    With L the length, a random place in [L/10, 2L/10) and a random place in [5L/10, 6L/10) each hold X (0) or Y (1),
    drawn independently. All other places hold distractors, 2..5. The four classes are the two symbols in their order,
    see `ORDERS`.

    Source: Hochreiter & Schmidhuber 1997, task 6a, as in Pascanu, Mikolov & Bengio 2013 (arXiv 1211.5063), whose
    published program fixes these places.

    Args:
        generator: the source of all random numbers.
        examples: number of sequences.
        length: L, the number of steps.

    Returns:
        A batch: ``inputs`` int32 ``[examples, L]``, ``labels`` int32 ``[examples]`` in 0..3.

    Raises:
        TypeError: an argument has another type.
        ValueError: there is no example, or the length is below 10, so that a tenth of it has no place for a symbol.
    """
    _check_task(generator, examples)
    check_integer("length", length, 10, LARGEST)
    tenth = length // 10
    places = generator.integers(0, tenth, (examples, 2)) + np.array([tenth, length // 2])
    order = generator.integers(0, 2, (examples, 2), np.int32)
    inputs = generator.integers(2, SYMBOLS, (examples, length), np.int32)
    np.put_along_axis(inputs, places, order, axis=1)
    return {"inputs": inputs, "labels": 2 * order[:, 0] + order[:, 1]}


def _check_task(generator: np.random.Generator, examples: int) -> None:
    """Checks the arguments that every task has."""
    check_generator(generator)
    check_integer("examples", examples, 1, LARGEST)
