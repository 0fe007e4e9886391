"""Texts as batches of numbers: words or characters, their vocabulary, and padding in one object."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from dlcore.data.batch import Batch
from dlcore.data.text.tokens import characters, pad_sequences, words
from dlcore.data.text.vocabulary import Vocabulary
from dlcore.utils.checks import check_choice, check_instance, check_integer

Unit = Literal["words", "characters"]
UNITS: dict[str, Callable[[str], list[str]]] = {"words": words, "characters": characters}
_SPACES = {"words": " ", "characters": ""}


@dataclass(frozen=True)
class TextEncoder:
    """Turns texts into batches for a model that reads words or characters.

    Attributes:
        vocabulary: the numbers of the words or characters.
        unit: ``"words"`` or ``"characters"``, what a token is.
        longest: the largest number of tokens of a text, whose rest is cut off; None: no limit.

    Raises:
        TypeError: an argument has another type.
        ValueError: the unit is unknown, or ``longest`` is below 1.

    >>> encoder = TextEncoder.of(["so good", "so bad"], longest=3)
    >>> batch = encoder.batch(["bad", "so so good, so bad"])
    >>> batch["inputs"].tolist(), batch["lengths"].tolist(), encoder.vocabulary.tokens[2:]
    ([[3, 0, 0], [2, 2, 4]], [1, 3], ('so', 'bad', 'good'))
    """

    vocabulary: Vocabulary
    unit: Unit = "words"
    longest: int | None = None

    def __post_init__(self) -> None:
        check_instance("vocabulary", self.vocabulary, Vocabulary, "a Vocabulary")
        check_choice("unit", self.unit, tuple(UNITS))
        if self.longest is not None:
            check_integer("longest", self.longest)

    @classmethod
    def of(
        cls, texts: Iterable[str], unit: Unit = "words", *, longest: int | None = None, min_count: int = 1
    ) -> Self:
        """The encoder with the vocabulary of some texts, for instance of the training part.

        Args:
            texts: the texts; tokens after ``longest`` also enter the vocabulary.
            unit: as above.
            longest: as above.
            min_count: a word or character that is rarer is unknown.

        Raises:
            TypeError, ValueError: as above; or the texts are no texts, or ``min_count`` is below 1.
        """
        check_choice("unit", unit, tuple(UNITS))
        return cls(Vocabulary.of(map(UNITS[unit], _texts(texts)), min_count=min_count), unit, longest)

    def tokens(self, text: str) -> list[str]:
        """The words or characters of a text, at most ``longest``.

        Raises:
            TypeError: the text is none.
        """
        return UNITS[self.unit](text)[: self.longest]

    def batch(self, texts: Sequence[str]) -> Batch:
        """A batch with ``inputs``, int32 ``[N, T]``, and ``lengths``, int32 ``[N]``.

        Raises:
            TypeError: the texts are no texts.
            ValueError: there is none.
        """
        rows: list[np.ndarray] = [self.vocabulary.encode(self.tokens(text)) for text in _texts(texts)]
        inputs, lengths = pad_sequences(rows)
        return {"inputs": inputs, "lengths": lengths}

    def plain(self, text: str) -> str:
        """The tokens of a text, at most ``longest``, joined: words with single spaces, characters without.

        Raises:
            TypeError: the text is none.
        """
        return _SPACES[self.unit].join(self.tokens(text))

    def decode(self, numbers: np.ndarray) -> list[str]:
        """The texts of rows of numbers ``[N, T]``, each up to its first `END`.

        Raises:
            TypeError: the numbers are not integers.
            ValueError: a number is outside of the vocabulary, or the rank is not 2.
        """
        rows = np.asarray(numbers)
        if rows.ndim != 2:
            raise ValueError(f"numbers: got shape {rows.shape}, expected [N, T]")
        return [_SPACES[self.unit].join(self.vocabulary.decode(row)) for row in rows]


def _texts(texts: Iterable[str]) -> Iterable[str]:
    if isinstance(texts, str):
        raise TypeError(f"texts: got one text, {texts[:20]!r}, expected a list of texts")
    check_instance("texts", texts, Iterable, "a list of texts")
    return texts
