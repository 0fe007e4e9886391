"""The verses of two translations of the Bible, read from the files of the SWORD project.

A work in the format zText has three files for each testament. ``bzz`` holds blocks of text that zlib compressed.
``bzs`` has the place and the size of each block, and ``bzv`` the block, the place in it and the size of each entry.
An entry is a verse, or the introduction of a book or chapter. Two works with the same versification have the same
entries.
"""

import html
import re
import struct
import zlib
from pathlib import Path

from dlcore.data.packages import package_folder
from dlcore.data.text.message_catalogs import Pair
from dlcore.data.text.pairs import PairSplit, split_by

INSTALLED = Path("/usr/share/sword")  # where Debian's packages put their files
_CHAPTER = re.compile(r'<chapter\b[^>]*\bosisID="([^"]+)"[^>]*\bsID=')
_LEFT_OUT = re.compile(r'<note\b.*?</note>|<title\b[^>]*\btype="main".*?</title>', re.DOTALL)
_MARKUP = re.compile(
    r"<[^>]*>|\\\+?nd\*? ?"
)  # tags, and what a converter left of the older markup "\nd ... \nd*"


def bible_verses() -> PairSplit:
    """The King James Version and the Reina-Valera of 1909: English and Spanish verses of the Bible, 31,084 pairs.

    They come from Debian's packages sword-text-kjv and sword-text-sparv. Both works are in the public domain; in the
    United Kingdom printing the first one needs a permission. Verses are paired by their number. A few are shifted
    where the works number them differently, as in Job 38 to 41. Notes and titles of books are left out; titles of
    psalms stay.

    Returns:
        The parts, split by chapter: all verses of a chapter are in one part, about a tenth of the chapters in dev and
        in test each.

    Raises:
        FileNotFoundError: a package is neither installed nor fetched.
        ValueError: a file is damaged.
    """
    chapters, pairs = [], []
    folders = _work("sword-text-kjv", "engKJV2006eb"), _work("sword-text-sparv", "spaRV1909eb")
    for testament in ("ot", "nt"):
        english, spanish = (read_ztext(folder, testament) for folder in folders)
        if len(english) != len(spanish):
            raise ValueError(
                f"{folders[1]}: got {len(spanish)} entries in {testament}, expected {len(english)}, as in {folders[0]}"
            )
        found = _verses(english, spanish)
        chapters += [chapter for chapter, _ in found]
        pairs += [pair for _, pair in found]
    return split_by(chapters, pairs, dev=0.1, test=0.1)


def _work(package: str, name: str) -> Path:
    """The folder of a work, where Debian's package is installed or fetched."""
    place = Path("modules/texts/ztext") / name
    installed = INSTALLED / place
    return installed if installed.is_dir() else package_folder(package) / "usr/share/sword" / place


def read_ztext(folder: Path, testament: str) -> list[str]:
    """The entries of a testament with their markup, empty ones included.

    Args:
        folder: the folder of a work in the format zText.
        testament: ``"ot"`` or ``"nt"``, with which the names of its files begin.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged.
    """
    blocks_file, entries_file, texts_file = (folder / f"{testament}.{end}" for end in ("bzs", "bzv", "bzz"))
    compressed = texts_file.read_bytes()
    try:
        places = struct.iter_unpack("<3I", blocks_file.read_bytes())
        blocks = [zlib.decompress(compressed[place : place + size]) for place, size, _ in places]
        entries = list(struct.iter_unpack("<2IH", entries_file.read_bytes()))
        if any(place + size > len(blocks[block]) for block, place, size in entries):
            raise IndexError("an entry lies after the end of its block")
        return [blocks[block][place : place + size].decode("utf-8") for block, place, size in entries]
    except (struct.error, zlib.error, IndexError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{texts_file}: got a damaged work of SWORD ({error}); fetch the package anew"
        ) from error


def _verses(english: list[str], spanish: list[str]) -> list[tuple[str, Pair]]:
    """The chapter and the texts of each verse that both works have."""
    found, chapter = [], ""
    for entries in zip(english, spanish, strict=True):
        begun = _CHAPTER.search(entries[0])
        chapter = begun[1] if begun else chapter
        source, target = (plain_text(entry) for entry in entries)
        if source and target:
            found.append((chapter, (source, target)))
    return found


def plain_text(entry: str) -> str:
    """The text of an entry without its markup.

    >>> plain_text('<w lemma="strong:H0430">God</w> saw<note>Heb. <hi>looked</hi></note> the  light. ')
    'God saw the light.'
    """
    return " ".join(html.unescape(_MARKUP.sub("", _LEFT_OUT.sub("", entry))).split())
