"""Reads the translated messages of a program from gettext's two kinds of files, as pairs of texts.

A ``.po`` file is text, and a ``.mo`` file is its compiled form (GNU gettext manual, "The Format of PO Files" and "The
Format of GNU MO Files"). Nothing is compiled or run: the formula of the plural forms is not used.
"""

import re
import struct
from collections.abc import Sequence
from pathlib import Path

from dlcore.utils.files import read_text

Pair = tuple[str, str]
"""A text and its translation."""

_LINE = re.compile(
    r'(?P<keyword>msgctxt|msgid_plural|msgid|msgstr(?:\[\d+\])?|)\s*"(?P<text>(?:[^"\\]|\\.)*)"'
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)")
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_BYTE_ORDERS = {b"\xde\x12\x04\x95": "<", b"\x95\x04\x12\xde": ">"}  # of the magic number 0x950412de


def read_po(path: Path) -> list[Pair]:
    """The messages of a ``.po`` file and their translations, in the order of the file.

    Fuzzy and obsolete entries, messages without a translation and the header are left out. The singular goes with the
    first form of a translation. The plural goes with the last one, and is left out if there are more than two forms.

    Args:
        path: the file, in UTF-8.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no ``.po`` file in UTF-8.
    """
    lines = read_text(path).split("\n")
    entries: list[dict[str, str]] = [{}]
    keyword = ""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        begun, text = _parse(f"{path}, line {number}", line.strip(), bool(keyword))
        keyword = begun or keyword
        if begun in ("comment", "fuzzy", "msgctxt", "msgid") and _forms(entries[-1]):
            entries.append({})
        entries[-1][keyword] = entries[-1].get(keyword, "") + text
    translated = [entry for entry in entries if "fuzzy" not in entry and entry.get("msgid")]
    pairs = [_pairs(entry["msgid"], entry.get("msgid_plural"), _forms(entry)) for entry in translated]
    return [pair for group in pairs for pair in group]


def _parse(place: str, line: str, continues: bool) -> Pair:
    """The keyword with which a line begins, empty if it continues the text before it, and the line's text."""
    if line.startswith("#"):
        return ("fuzzy" if re.match(r"#,.*\bfuzzy\b", line) else "comment"), ""
    found = _LINE.fullmatch(line)
    if not found or not (found["keyword"] or continues):
        raise ValueError(f'{place}: got {line!r}, expected a comment, msgid "..." or msgstr "..."')
    return found["keyword"], _ESCAPE.sub(_unescape, found["text"])


def _unescape(found: re.Match[str]) -> str:
    r"""The character that an escape of C stands for, such as ``\n``, ``\"``, ``\x41`` or ``\101``."""
    code = found[1]
    if code[0] in "01234567":
        return chr(int(code, 8))
    return chr(int(code[1:], 16)) if len(code) > 1 else _ESCAPED.get(code, code)


def _forms(entry: dict[str, str]) -> list[str]:
    return [text for keyword, text in entry.items() if keyword.startswith("msgstr")]


def _pairs(singular: str, plural: str | None, forms: Sequence[str]) -> list[Pair]:
    """The pairs of one message that are translated."""
    pairs = [(singular, forms[0] if forms else "")]
    if plural is not None and len(forms) in (1, 2):
        pairs.append((plural, forms[-1]))
    return [pair for pair in pairs if all(pair)]


def read_mo(path: Path) -> list[Pair]:
    """The messages of a ``.mo`` file and their translations, by the rules of `read_po`.

    Args:
        path: the file, in UTF-8 and either byte order.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or no ``.mo`` file in UTF-8.
    """
    content = path.read_bytes()
    order = _BYTE_ORDERS.get(content[:4])
    if order is None:
        raise ValueError(
            f"{path}: got a file that begins with {content[:4]!r}, expected a .mo file of gettext"
        )
    try:
        count, sources, targets = struct.unpack_from(f"{order}3I", content, 8)
        texts = zip(
            _table(content, order, sources, count), _table(content, order, targets, count), strict=True
        )
        pairs = []
        for source, target in texts:
            singular, *plural = source.split("\4")[-1].split("\0")  # a context stands before \4
            pairs += _pairs(singular, plural[0] if plural else None, target.split("\0"))
    except (struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: got a damaged .mo file ({error}); fetch it anew") from error
    return pairs


def _table(content: bytes, order: str, start: int, count: int) -> list[str]:
    """The texts of one table, which has the length and the place of each."""
    numbers = struct.unpack_from(f"{order}{2 * count}I", content, start)
    places = list(zip(numbers[::2], numbers[1::2], strict=True))
    if any(place + length > len(content) for length, place in places):
        raise struct.error("a text lies after the end of the file")
    return [content[place : place + length].decode("utf-8") for length, place in places]
