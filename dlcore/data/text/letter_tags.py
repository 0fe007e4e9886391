"""Letters with the phones that they stand for, as batches for a model that tags them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np

from dlcore.data.batch import Batch
from dlcore.data.text.alignment import Alignment, learn_alignment
from dlcore.data.text.pronunciations import Pronunciation, pronunciation_vocabularies
from dlcore.data.text.tokens import pad_sequences
from dlcore.data.text.vocabulary import END, Vocabulary
from dlcore.ops.lengths import compact_steps, valid_steps

UNALIGNED = -1
"""The label of the letters of a word that has no alignment, and of padding."""
ALIGNED_WORDS = 20_000


@dataclass(frozen=True)
class LetterTags:
    """What the letters of words stand for, as labels of a model that reads letter by letter.

    Attributes:
        letters: the vocabulary of the letters.
        phones: the vocabulary of the phones.
        alignment: aligns letters and phones. A label is an index of its chunks.

    >>> known = {"tax": "T AE K S", "cat": "K AE T", "tact": "T AE K T"}
    >>> words = [Pronunciation(word, (tuple(phones.split()),)) for word, phones in known.items()]
    >>> tags = LetterTags.learn(words)
    >>> [tags.names[label] for label in tags.batch(words)["labels"][0, :3]]
    ['T', 'AE', 'K+S']
    """

    letters: Vocabulary
    phones: Vocabulary
    alignment: Alignment

    @classmethod
    def learn(cls, words: Sequence[Pronunciation]) -> Self:
        """Vocabularies of all words, and the alignment that the first 20,000 have with their first pronunciations.

        Args:
            words: the training words.

        Raises:
            TypeError: an element is no `Pronunciation`.
            ValueError: there is no word.
        """
        pairs = [(word.word, word.phones[0]) for word in words[:ALIGNED_WORDS]]
        return cls(*pronunciation_vocabularies(words), learn_alignment(pairs))

    @property
    def names(self) -> list[str]:
        """What a label is called in a text: its phones, or ``-`` if there is none."""
        return ["+".join(chunk) or "-" for chunk in self.alignment.chunks]

    def batch(self, words: Sequence[Pronunciation]) -> Batch:
        """Examples, one for each of N words, with the labels of its first pronunciation.

        Returns:
            A dict of int32 arrays: ``inputs [N, T]``, letters; their number ``lengths [N]``; ``labels [N, T]``, which
            are `UNALIGNED` in padding and in words without an alignment.
        """
        inputs, lengths = pad_sequences([self.letters.encode(word.word) for word in words])
        labels = np.full_like(inputs, UNALIGNED)
        aligned = self.alignment.align([(word.word, word.phones[0]) for word in words])
        for row, found in zip(labels, aligned, strict=True):
            if found is not None:
                row[: len(found)] = found
        return {"inputs": inputs, "lengths": lengths, "labels": labels}

    def spoken(self, labels: jax.Array, lengths: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The phones of labeled letters, one after the other.

        Args:
            labels: integers ``[B, T]``. `UNALIGNED` has no phone.
            lengths: integers ``[B]``, the number of letters of each word.

        Returns:
            The pair of the phones ``[B, 2T]``, which are `END` after the end, and their number ``[B]``.
        """
        chunks, _ = pad_sequences([self.phones.encode(chunk) for chunk in self.alignment.chunks])
        found = jnp.asarray(chunks)[labels]
        letters = valid_steps(lengths, labels.shape[1]) & (labels != UNALIGNED)
        valid = (found != END) & letters[..., None]
        rows = len(labels)
        return compact_steps(found.reshape(rows, -1), valid.reshape(rows, -1))


class ContextLookup:
    """The baseline without a network: the most frequent label of a letter between the letters around it.

    It looks for the letter with ``width`` letters on both sides among the training words, then with one fewer, and so
    on.

    >>> lookup = ContextLookup(["cat", "city"], [[3, 1, 4], [5, 2, 4, 2]], width=1)
    >>> lookup.predict("cit")
    [5, 2, 4]
    """

    def __init__(self, words: Sequence[str], labels: Sequence[Sequence[int]] | np.ndarray, width: int = 4):
        """Counts the labels of training words; letters without an alignment and padding do not count."""
        self.width = width
        counts: list[dict[str, Counter[int]]] = [{} for _ in range(width + 1)]
        for word, row in zip(words, labels, strict=True):
            for place, label in enumerate(row[: len(word)]):
                if label == UNALIGNED:
                    continue
                for around, context in enumerate(self._contexts(word, place)):
                    counts[around].setdefault(context, Counter())[int(label)] += 1
        self.tables = [
            {context: found.most_common(1)[0][0] for context, found in table.items()} for table in counts
        ]

    def predict(self, word: str) -> list[int]:
        """The label of each letter of a word; 0 for a letter that no training word has."""
        return [self._label(word, place) for place in range(len(word))]

    def _label(self, word: str, place: int) -> int:
        contexts = self._contexts(word, place)
        known = (self.tables[around].get(contexts[around]) for around in reversed(range(self.width + 1)))
        return next((label for label in known if label is not None), 0)

    def _contexts(self, word: str, place: int) -> list[str]:
        """The letter with 0, 1, ... letters on both sides; blanks stand for letters beyond the ends."""
        padded, middle = f"{' ' * self.width}{word}{' ' * self.width}", place + self.width
        return [padded[middle - around : middle + around + 1] for around in range(self.width + 1)]
