"""Letters with the phones that they stand for, as batches for a model that tags them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

from dlcore.data.batch import Batch
from dlcore.data.text.alignment import Alignment
from dlcore.data.text.pronunciations import Pronunciation
from dlcore.data.text.tokens import pad_sequences
from dlcore.data.text.vocabulary import END, Vocabulary
from dlcore.ops.lengths import compact_steps, valid_steps

UNALIGNED = -1
"""The label of the letters of a word that has no alignment, and of padding."""


def letter_tags(words: Sequence[Pronunciation], letters: Vocabulary, alignment: Alignment) -> Batch:
    """Examples for a model that tags letters, one for each word, by its first pronunciation.

    Args:
        words: N words.
        letters: the vocabulary of the letters.
        alignment: aligns letters and phones.

    Returns:
        A dict of int32 arrays: ``inputs [N, T]``, letters; their number ``lengths [N]``; ``labels [N, T]``, indices of
        the alignment's chunks, and `UNALIGNED`.
    """
    inputs, lengths = pad_sequences([letters.encode(word.word) for word in words])
    labels = np.full_like(inputs, UNALIGNED)
    tags = alignment.align([(word.word, word.phones[0]) for word in words])
    for row, found in zip(labels, tags, strict=True):
        if found is not None:
            row[: len(found)] = found
    return {"inputs": inputs, "lengths": lengths, "labels": labels}


def phones_of_chunks(alignment: Alignment, phones: Vocabulary) -> np.ndarray:
    """The numbers of the phones of each chunk, int32 ``[chunks, 2]``, filled with `END`."""
    return np.pad(pad_sequences([phones.encode(chunk) for chunk in alignment.chunks])[0], ((0, 0), (0, 1)))[
        :, :2
    ]


def spoken(tags: jax.Array, lengths: jax.Array, chunks: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The phones of tagged letters, one after the other.

    Args:
        tags: integers ``[B, T]``.
        lengths: integers ``[B]``, the number of letters of each word.
        chunks: what `phones_of_chunks` returns.

    Returns:
        The pair of the phones ``[B, 2T]``, which are `END` after the end, and their number ``[B]``.

    >>> spoken(jnp.array([[1, 0, 2, 1]]), jnp.array([3]), jnp.array([[0, 0], [5, 0], [6, 7]]))[0].tolist()
    [[5, 6, 7, 0, 0, 0, 0, 0]]
    """
    found = jnp.asarray(chunks)[tags]
    valid = (found != END) & valid_steps(lengths, tags.shape[1])[..., None]
    rows = len(tags)
    return compact_steps(found.reshape(rows, -1), valid.reshape(rows, -1))


@dataclass
class ContextLookup:
    """The baseline without a network: the most frequent tag of a letter between the letters around it.

    It looks for the letter with ``width`` letters on both sides among the training words, then with one fewer, and so
    on.

    Attributes:
        width: the largest number of letters on each side.

    >>> lookup = ContextLookup(1)
    >>> lookup.fit(["cat", "city"], [[3, 1, 4], [5, 2, 4, 2]])
    >>> lookup.predict("cit")
    [5, 2, 4]
    """

    width: int
    tables: list[dict[str, int]] = field(default_factory=list, repr=False)

    def fit(self, words: Sequence[str], tags: Sequence[Sequence[int]]) -> None:
        """Counts the tags of words."""
        counts: list[dict[str, Counter[int]]] = [{} for _ in range(self.width + 1)]
        for word, row in zip(words, tags, strict=True):
            for place, tag in enumerate(row):
                for width, context in enumerate(self._contexts(word, place)):
                    counts[width].setdefault(context, Counter())[int(tag)] += 1
        self.tables = [
            {context: found.most_common(1)[0][0] for context, found in table.items()} for table in counts
        ]

    def predict(self, word: str) -> list[int]:
        """The tag of each letter of a word; 0 for a letter that no training word has."""
        return [self._tag(word, place) for place in range(len(word))]

    def _tag(self, word: str, place: int) -> int:
        contexts = list(self._contexts(word, place))
        known = (self.tables[width].get(contexts[width]) for width in reversed(range(self.width + 1)))
        return next((tag for tag in known if tag is not None), 0)

    def _contexts(self, word: str, place: int) -> list[str]:
        """The letter with 0, 1, ... letters on both sides; blanks stand for letters beyond the ends."""
        padded, middle = f"{' ' * self.width}{word}{' ' * self.width}", place + self.width
        return [padded[middle - width : middle + width + 1] for width in range(self.width + 1)]
