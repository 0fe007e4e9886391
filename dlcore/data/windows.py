"""Documents of a stream that are cut into windows of T steps; no window holds steps of two documents."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from dlcore.data.batch import STREAMS, Batch, row_count
from dlcore.utils.checks import check_instance, check_integer


class Windows(NamedTuple):
    """The windows of all documents. The last window of a document may be shorter than T.

    Attributes:
        arrays: fields by name, each ``[N, ...]``: the steps of all documents one after the other.
        empty: an array ``[0, ...]`` for each field, with the shape and the type of its steps.
        shifted: the source of each field that is another field one step later.
        steps: T, the largest number of steps of a window.
        starts: integers ``[documents]``, the place of each document's first step.
        sizes: integers ``[documents]``, the number of steps that windows have of each document.
        counts: integers ``[documents]``, the number of windows of each document.
    """

    arrays: dict[str, Any]
    empty: dict[str, np.ndarray]
    shifted: dict[str, str]
    steps: int
    starts: np.ndarray
    sizes: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(
        cls,
        arrays: Mapping[str, Any],
        steps: int,
        document_lengths: Sequence[int] | np.ndarray | None,
        shifted: Mapping[str, str] | None,
    ) -> "Windows":
        """Cuts documents into windows. Arguments and errors are those of `StreamBatches`."""
        count = row_count(arrays, "arrays")
        check_integer("steps", steps)
        shifted = {} if shifted is None else dict(_check_shifted(shifted, arrays))
        for name in ("lengths", "resets", STREAMS):
            if name in (*arrays, *shifted):
                raise ValueError(
                    f"arrays: got the field {name}, expected none; batches of streams have their own"
                )
        lengths = _check_documents(document_lengths, count)
        sizes = np.maximum(lengths - bool(shifted), 0)
        if not sizes.any():
            least = "2 steps, one and the next" if shifted else "1 step"
            raise ValueError(f"arrays: got {count} steps, expected a document with at least {least}")
        # JAX would compile each slice of its arrays.
        fields = {name: np.asarray(a) if isinstance(a, jax.Array) else a for name, a in arrays.items()}
        empty = {name: np.asarray(array[:1])[:0] for name, array in fields.items()}
        starts, counts = np.cumsum(lengths) - lengths, -(-sizes // steps)
        return cls(fields, empty, shifted, steps, starts, sizes, counts)

    def batch(self, documents: np.ndarray, windows: np.ndarray, begins: np.ndarray) -> Batch:
        """The batch of one window for each row.

        Args:
            documents: integers ``[B]``, the document of each row; -1 for a row without a window.
            windows: integers ``[B]``, the index of the window in its document.
            begins: booleans ``[B]``, True where a row begins a new stream.
        """
        first = windows * self.steps
        lengths = np.where(documents < 0, 0, np.minimum(self.sizes[documents] - first, self.steps))
        starts = self.starts[documents] + first
        batch: Batch = {}
        for name, array in self.arrays.items():
            later = [field for field, source in self.shifted.items() if source == name]
            rows = [
                np.asarray(array[start : start + length + bool(later)]) if length else self.empty[name]
                for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)
            ]
            batch[name] = _pad([row[:length] for row, length in zip(rows, lengths, strict=True)], self.steps)
            if later:
                batch |= dict.fromkeys(later, _pad([row[1:] for row in rows], self.steps))
        return {**batch, "lengths": lengths.astype(np.int32), "resets": begins}


def _pad(rows: Sequence[np.ndarray], steps: int) -> np.ndarray:
    """The rows as one array ``[B, T, ...]`` with zeros after the end of each."""
    padded = np.zeros((len(rows), steps, *rows[0].shape[1:]), rows[0].dtype)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = row
    return padded


def _check_shifted(shifted: Any, arrays: Mapping[str, Any]) -> Mapping[str, str]:
    check_instance("shifted", shifted, Mapping, 'a dict such as {"labels": "inputs"}')
    for field, source in shifted.items():
        check_instance("shifted", field, str, "the name of a new field")
        check_instance("shifted", source, str, "the name of the field that it is shifted from")
        if field in arrays or source not in arrays:
            raise ValueError(
                f"shifted: got {field!r} from {source!r}, expected a new field from one of {', '.join(arrays)}"
            )
    return shifted


def _check_documents(document_lengths: Any, count: int) -> np.ndarray:
    if document_lengths is None:
        return np.array([count])
    sequence = isinstance(document_lengths, Sequence | np.ndarray) and not isinstance(document_lengths, str)
    if not sequence or getattr(document_lengths, "ndim", 1) == 0:
        raise TypeError(
            f"document_lengths: got {document_lengths!r}, expected a sequence of integers, such as (500, 400)"
        )
    lengths = np.array([check_integer("document_lengths", length, 0) for length in document_lengths], int)
    if lengths.sum() != count:
        raise ValueError(
            f"document_lengths: got lengths whose sum is {lengths.sum()}, expected {count}, the steps of the arrays"
        )
    return lengths
