"""Pairs of texts as the arrays of an encoder and a decoder, and the settings that choose the pairs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dlcore.config.settings import Settings, setting
from dlcore.data.batch import Batch
from dlcore.data.text.bible import bible_verses
from dlcore.data.text.encoder import UNITS, TextEncoder, Unit
from dlcore.data.text.message_catalogs import Pair
from dlcore.data.text.pairs import (
    PairSplit,
    check_pairs,
    multi30k,
    package_pairs,
    split_pairs,
    text_pairs,
)
from dlcore.data.text.tokens import pad_sequences
from dlcore.data.text.vocabulary import END
from dlcore.utils.checks import check_instance


def pair_arrays(pairs: Sequence[Pair], encoder: TextEncoder) -> Batch:
    """Pairs of texts as numbers, padded to one length T, so that a batch of similar lengths can cut both texts.

    Args:
        pairs: N pairs ``(source, target)``.
        encoder: the tokens of both languages.

    Returns:
        A dict of int32 arrays: ``inputs [N, T]`` and ``lengths [N]`` of the sources; ``labels [N, T]`` and
        ``label_lengths [N]`` of the targets, in which `END` follows each target and counts.

    Raises:
        TypeError: the pairs are not pairs of texts, or the encoder is none.
        ValueError: there are no pairs.

    >>> pairs = [("a cat", "eine Katze"), ("cats", "Katzen")]
    >>> encoder = TextEncoder.of([text for pair in pairs for text in pair], "characters")
    >>> batch = pair_arrays(pairs, encoder)
    >>> batch["inputs"].shape, batch["lengths"].tolist(), batch["label_lengths"].tolist()
    ((2, 11), [5, 4], [11, 7])
    >>> encoder.decode(batch["labels"])
    ['eine Katze', 'Katzen']
    """
    check_pairs(pairs)
    check_instance("encoder", encoder, TextEncoder, "a dl.data.TextEncoder")
    sources, targets = (
        [encoder.vocabulary.encode(encoder.tokens(pair[side])) for pair in pairs] for side in (0, 1)
    )
    ended = [np.append(target, END).astype(np.int32) for target in targets]
    tokens, lengths = pad_sequences([*sources, *ended])
    count = len(pairs)
    return {
        "inputs": tokens[:count],
        "lengths": lengths[:count],
        "labels": tokens[count:],
        "label_lengths": lengths[count:],
    }


PATHS = {"multi30k": ("folder",), "files": ("source_file", "target_file")}
"""The settings with paths that a source of pairs reads."""


@dataclass
class PairConfig(Settings):
    """Which pairs of texts an experiment reads, and whether a token is a word or a character.

    ``PairConfig().read()`` gives the encoder of the training part and the parts of the pairs.
    """

    name: Literal["packages", "bible", "multi30k", "files"] = setting(
        "packages",
        "Source of the pairs: names and messages of packages, verses of the Bible, Multi30k, or two text files.",
    )
    language: str = setting("de", "Language to translate to, of packages and multi30k.")
    folder: str | None = setting(None, "Folder of Multi30k.")
    source_file: str | None = setting(None, "For files: a text file with one sentence a line.")
    target_file: str | None = setting(None, "For files: a text file with the translation of each line.")
    unit: Unit = setting("characters", "What is read and written one by one.")
    longest: int = setting(40, "Pairs with a text of more words or characters are left out.", minimum=1)

    def read(self) -> tuple[TextEncoder, PairSplit]:
        """The encoder of the training part, and the parts without pairs that are too long.

        A word or character that the training part has only once is unknown.

        Raises:
            FileNotFoundError, TypeError: as in `package_pairs`, `bible_verses`, `multi30k` and `text_pairs`.
            ValueError: as there; or a path is missing, or a part has no pair that is short enough.
        """
        everything = self._read()
        tokens = UNITS[self.unit]
        short = [
            [pair for pair in part if max(len(tokens(text)) for text in pair) <= self.longest]
            for part in everything
        ]
        if not all(short):
            raise ValueError(
                f"longest: got {self.longest}, which leaves {', '.join(str(len(part)) for part in short)} pairs in "
                "train, dev and test, expected at least one in each; allow longer texts"
            )
        parts = PairSplit(*short)
        texts = [text for pair in parts.train for text in pair]
        return TextEncoder.of(texts, self.unit, min_count=2), parts

    def _read(self) -> PairSplit:
        for name in ("folder", "source_file", "target_file"):
            if getattr(self, name) is not None and name not in PATHS.get(self.name, ()):
                raise ValueError(
                    f"{name}: got {getattr(self, name)!r} for the pairs {self.name!r}, which read no such"
                )
        if self.name == "packages":
            return package_pairs(self.language)
        if self.name == "bible":
            return bible_verses()
        if self.name == "multi30k":
            return multi30k(self._path("folder"), target=self.language)
        return split_pairs(text_pairs(self._path("source_file"), self._path("target_file")))

    def _path(self, name: str) -> str:
        path: str | None = getattr(self, name)
        if path is None:
            raise ValueError(
                f"{name}: got none for the pairs {self.name!r}, expected a path; packages need none"
            )
        return path
