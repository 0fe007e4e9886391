"""A vocabulary: which integer stands for which word, character or phoneme."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np

from dlcore.utils.checks import check_instance, check_integer, shown
from dlcore.utils.files import to_json, user_path

END, UNKNOWN = 0, 1
SPECIAL = ("<end>", "<unknown>")


@dataclass(frozen=True)
class Vocabulary:
    """Tokens and their numbers: token i has the number i.

    Number 0 is `END`, which begins, ends and pads the sequences of a decoder. Number 1 stands for tokens that are not
    in the vocabulary.

    Attributes:
        tokens: all tokens; the first two are ``<end>`` and ``<unknown>``.

    Raises:
        TypeError: the tokens are not texts.
        ValueError: the first two are others, or a token is there twice.

    >>> vocabulary = Vocabulary.of([["so", "so", "good"]])
    >>> vocabulary.encode(["good", "so", "bad"]).tolist(), vocabulary.decode([3, 2, 0, 2])
    ([3, 2, 1], ['good', 'so'])
    """

    tokens: tuple[str, ...]

    def __post_init__(self) -> None:
        check_instance("tokens", self.tokens, (tuple, list), "a tuple of texts")
        for token in self.tokens:
            check_instance("tokens", token, str, "texts")
        object.__setattr__(self, "tokens", tuple(self.tokens))
        if self.tokens[:2] != SPECIAL:
            raise ValueError(
                f"tokens: got {self.tokens[:2]} first, expected {SPECIAL}; Vocabulary.of adds them"
            )
        if len(self._numbers) != len(self.tokens):
            twice = next(token for token, count in Counter(self.tokens).items() if count > 1)
            raise ValueError(f"tokens: got {twice!r} twice, expected each token once")

    @classmethod
    def of(cls, sequences: Iterable[Iterable[str]], *, size: int | None = None, min_count: int = 1) -> Self:
        """The vocabulary of some sequences, the most frequent token first and equal ones in the order of their text.

        Args:
            sequences: the tokens of each sequence, for instance of the training part.
            size: the largest number of tokens, the two special ones included; None: no limit.
            min_count: a rarer token is left out.

        Raises:
            TypeError: a token is no text, or a number is no integer.
            ValueError: a number is too small.
        """
        if size is not None:
            check_integer("size", size, len(SPECIAL))
        check_integer("min_count", min_count)
        check_instance("sequences", sequences, Iterable, "sequences of texts")
        counts: Counter[str] = Counter()
        for sequence in sequences:
            check_instance("sequences", sequence, Iterable, "sequences of texts")
            counts.update(sequence)
        for token in counts:
            check_instance("sequences", token, str, "texts in each sequence")
        known = sorted(
            (token for token, count in counts.items() if count >= min_count and token not in SPECIAL)
        )
        known.sort(key=lambda token: -counts[token])
        return cls((*SPECIAL, *known)[:size])

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self.tokens)}

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, tokens: Iterable[str]) -> np.ndarray:
        """The numbers of the tokens, int32 ``[n]``; `UNKNOWN` for a token that is not in the vocabulary.

        Raises:
            TypeError: the tokens are not texts.
        """
        check_instance("tokens", tokens, Iterable, "texts")
        tokens = list(tokens)
        for token in set(tokens):
            check_instance("tokens", token, str, "texts")
        return np.array([self._numbers.get(token, UNKNOWN) for token in tokens], np.int32)

    def decode(self, numbers: Sequence[int] | np.ndarray) -> list[str]:
        """The tokens of the numbers up to the first `END`, which is left out.

        Raises:
            TypeError: the numbers are not integers.
            ValueError: a number is outside of the vocabulary.
        """
        numbers = np.asarray(numbers)
        if numbers.ndim != 1 or (numbers.size and not np.issubdtype(numbers.dtype, np.integer)):
            raise TypeError(f"numbers: got {shown(numbers)}, expected integers [n]")
        tokens = []
        for number in numbers.tolist():
            if not 0 <= number < len(self.tokens):
                raise ValueError(f"numbers: got {number}, expected 0 to {len(self.tokens) - 1}")
            if number == END:
                break
            tokens.append(self.tokens[number])
        return tokens

    def to_json(self) -> str:
        """The text of a file that `read` reads."""
        return to_json({"tokens": self.tokens}, indent=0) + "\n"

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The vocabulary in a file, such as the one that a run saved.

        Raises:
            FileNotFoundError: there is no such file.
            TypeError: the path is no path.
            ValueError: the file holds no vocabulary.
        """
        path = user_path("path", path)
        try:
            return cls(tuple(json.loads(path.read_text("utf-8"))["tokens"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}: got a file that holds no vocabulary ({error}); fetch it anew"
            ) from error
