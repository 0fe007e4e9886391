"""Contiguous batches of long streams, such as text or audio, for truncated backpropagation through time.

Each row of a batch reads windows of a stream in turn, so that a `Stateful` layer carries its state from batch to batch.
The field ``resets`` says where a row begins anew.
"""

import functools
import heapq
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dlcore.data.arrays import ArrayBatches
from dlcore.data.batch import Batch, Transform, check_batch_size
from dlcore.data.windows import Windows
from dlcore.utils.checks import check_bool, check_integer
from dlcore.utils.rng import stream_generator


class StreamBatches(ArrayBatches):
    """An endless training set of contiguous windows: row b of a batch goes on where row b of the previous batch ended.

    The windows of an epoch, document after document, are split into ``batch_size`` contiguous parts of equal length to
    within one window. Row b reads part b. Every step of every document is seen exactly once in an epoch, and nothing
    is dropped:

    - No window holds steps of two documents. The last window of a document may be shorter than T; ``lengths [B]`` says
      how many of its steps are valid, and the padding is 0.
    - ``resets [B]`` is True where a row begins a document, and for all rows in the first batch of an epoch.
    - A row whose part has one window less than others has the length 0 in the last batch of an epoch.

    ``data[step]`` is a function of the step, a dict of arrays ``[batch_size, T, ...]`` with ``lengths`` and ``resets``
    ``[batch_size]``. ``examples`` is the number of rows of an epoch, those of length 0 included, so that an epoch is
    ``batches_per_epoch`` steps.

    >>> data = StreamBatches({"inputs": np.arange(12)}, batch_size=2, seed=0, steps=3, shifted={"labels": "inputs"})
    >>> for step in range(data.batches_per_epoch):
    ...     print(*(data[step][name].tolist() for name in ("inputs", "labels", "lengths", "resets")))
    [[0, 1, 2], [6, 7, 8]] [[1, 2, 3], [7, 8, 9]] [3, 3] [True, True]
    [[3, 4, 5], [9, 10, 0]] [[4, 5, 6], [10, 11, 0]] [3, 2] [False, False]
    """

    def __init__(
        self,
        arrays: Mapping[str, Any],
        batch_size: int,
        seed: int,
        steps: int,
        *,
        document_lengths: Sequence[int] | np.ndarray | None = None,
        shifted: Mapping[str, str] | None = None,
        shuffle: bool = False,
        transform: Transform | None = None,
    ):
        """Cuts the documents into windows.

        Args:
            arrays: fields by name, each ``[N, ...]``, the steps of all documents one after the other, in memory or
                opened by `open_arrays`.
            batch_size: B, the number of rows.
            seed: seed of the shuffling and of the transform's random numbers.
            steps: T, the number of steps of a window.
            document_lengths: the number of steps of each document, whose sum is N; an empty document has the length 0.
                None: all steps are one document.
            shifted: new fields that are another field one step later, by name. ``{"labels": "inputs"}`` gives the next
                token as the label of each token. The last step of a document then has no label and is only a label.
            shuffle: True gives the documents another order in each epoch, and the rows other windows to begin at.
            transform: changes a whole batch; it gets the generator of the step.

        Raises:
            TypeError: an argument has another type.
            ValueError: fields have different lengths; the sum of the documents is not N, or none has a step; a shifted
                field is there already or its source is not; the batch size is outside of 1 to the number of windows; or
                T or the seed is too small.
        """
        self.windows = Windows.of(arrays, steps, document_lengths, shifted)
        count = int(self.windows.counts.sum())
        if check_integer("batch_size", batch_size) > count:
            raise ValueError(
                f"batch_size: got {batch_size}, expected 1 to {count}, the number of windows of {steps} steps"
            )
        super().__init__(arrays, batch_size, seed, transform)
        self.shuffle = check_bool("shuffle", shuffle)
        self.batches_per_epoch = -(-count // batch_size)
        self.examples = self.batches_per_epoch * batch_size
        self._bounds = count * np.arange(batch_size + 1) // batch_size
        # Neighboring steps share the order of an epoch.
        self._order = functools.lru_cache(maxsize=2)(self._make_order)

    def _gather(self, step: int, start: int, stop: int) -> Batch:
        epoch, index = divmod(step, self.batches_per_epoch)
        order, ends, offset = self._order(epoch if self.shuffle else 0)
        places = self._bounds[start:stop] + index
        valid = places < self._bounds[start + 1 : stop + 1]
        places = (places + offset) % ends[-1]
        position = np.searchsorted(ends, places, side="right")
        documents = order[position]
        windows = places - (ends[position] - self.windows.counts[documents])
        begins = (windows == 0) & valid if index else np.ones(stop - start, bool)
        return self.windows.batch(np.where(valid, documents, -1), windows, begins)

    def _make_order(self, epoch: int) -> tuple[np.ndarray, np.ndarray, int]:
        """The documents' order in an epoch, the windows up to the end of each, and the window that row 0 begins at."""
        order, offset = np.arange(len(self.windows.sizes)), 0
        if self.shuffle:
            generator = stream_generator(self.seed, "streams", epoch)
            order = generator.permutation(order)
            offset = int(generator.integers(self._bounds[-1]))
        return order, np.cumsum(self.windows.counts[order]), offset


class StreamEvaluation:
    """A finite set for evaluation: every document from its first to its last step, in windows of one shape.

    Each row of a batch reads whole documents: the next document goes to the row that has the fewest windows so far.
    The evaluation carries the state of `Stateful` layers from batch to batch, as it does for all evaluation batches
    with the field ``resets``. So the metrics are those of whole documents, whatever T and the batch size are.

    Iterating gives ``len(data)`` batches, dicts of arrays ``[B, T, ...]`` with ``lengths`` and ``resets`` ``[B]``. B is
    ``batch_size``, or the number of documents with a step if that is smaller. Rows without a document have the length
    0. A long document can be cut into several, which gives more rows; each then begins from the initial carry.

    >>> data = StreamEvaluation({"inputs": np.arange(9)}, batch_size=2, steps=3, document_lengths=(4, 2, 3))
    >>> [(batch["inputs"].tolist(), batch["resets"].tolist()) for batch in data]
    [([[0, 1, 2], [4, 5, 0]], [True, True]), ([[3, 0, 0], [6, 7, 8]], [False, True])]
    """

    def __init__(
        self,
        arrays: Mapping[str, Any],
        batch_size: int,
        steps: int,
        *,
        document_lengths: Sequence[int] | np.ndarray | None = None,
        shifted: Mapping[str, str] | None = None,
    ):
        """Cuts the documents into windows and assigns them to rows.

        Args:
            arrays: as in `StreamBatches`.
            batch_size: the largest number of rows.
            steps: T, the number of steps of a window.
            document_lengths: as in `StreamBatches`.
            shifted: as in `StreamBatches`.

        Raises:
            TypeError: an argument has another type.
            ValueError: as in `StreamBatches`; but the batch size may be larger than the number of windows.
        """
        self.windows = Windows.of(arrays, steps, document_lengths, shifted)
        check_batch_size(batch_size, None)
        documents = np.flatnonzero(self.windows.sizes)
        self.batch_size = min(batch_size, len(documents))
        self._documents, self._places = self._assign(documents)

    def _assign(self, documents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The document and the window of each row in each batch, ``[batches, B]``; the document -1 is none."""
        rows: list[list[np.ndarray]] = [[] for _ in range(self.batch_size)]
        taken = [(0, row) for row in range(self.batch_size)]
        for document in documents:
            windows, row = taken[0]
            rows[row].append(document)
            heapq.heapreplace(taken, (windows + int(self.windows.counts[document]), row))
        shape = (max(taken)[0], self.batch_size)
        found, places = np.full(shape, -1), np.zeros(shape, int)
        for row, members in enumerate(rows):
            counts = self.windows.counts[members]
            found[: counts.sum(), row] = np.repeat(members, counts)
            places[: counts.sum(), row] = np.concatenate([np.arange(count) for count in counts])
        return found, places

    def __len__(self) -> int:
        return len(self._documents)

    def __getitem__(self, index: int) -> Batch:
        if check_integer("index", index, -sys.maxsize) not in range(len(self)):
            raise IndexError(f"index: got {index}, expected 0 to {len(self) - 1}, the batches of the set")
        documents, windows = self._documents[index], self._places[index]
        return self.windows.batch(documents, windows, (documents >= 0) & (windows == 0) | (index == 0))

    def __iter__(self) -> Iterator[Batch]:
        return (self[index] for index in range(len(self)))
