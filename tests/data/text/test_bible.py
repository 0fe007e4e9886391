"""Verses are read from SWORD's files, paired by their number and split by their chapter."""

import struct
import zlib

import pytest

import dlcore as dl
from dlcore.data.text import bible
from tests.helpers.packages import needs_package

BOOK = '<div osisID="Gen" sID="gen2" type="book"/><title level="1" type="main">Genesis</title>'
CHAPTER = '<chapter n="{0}" osisID="Gen.{0}" sID="Gen.{0}"/>'
ENGLISH = [
    "",
    BOOK,
    CHAPTER.format(1),
    'In <w lemma="a&amp;b">the</w>  beginning &amp; <note>Heb. x</note> end\\+nd*',
    "only here",
    CHAPTER.format(2),
    '<title type="psalm">A Psalm.</title> \\nd LORD',
]
SPANISH = ["", BOOK, CHAPTER.format(1), "EN el principio", "", CHAPTER.format(2), "Salmo. JEHOVÁ"]


def write_work(folder, testament, entries):
    """One block for each two entries."""
    folder.mkdir(parents=True, exist_ok=True)
    blocks, places = [b""], []
    for number, entry in enumerate(entries):
        if number % 2 == 0 and number:
            blocks.append(b"")
        text = entry.encode()
        places.append(struct.pack("<2IH", len(blocks) - 1, len(blocks[-1]), len(text)))
        blocks[-1] += text
    packed = [zlib.compress(block) for block in blocks]
    starts = [sum(map(len, packed[:number])) for number in range(len(packed))]
    sizes = zip(starts, packed, blocks, strict=True)
    index = b"".join(struct.pack("<3I", start, len(small), len(block)) for start, small, block in sizes)
    for end, content in (("bzz", b"".join(packed)), ("bzs", index), ("bzv", b"".join(places))):
        (folder / f"{testament}.{end}").write_bytes(content)


@pytest.fixture(name="works")
def small_works(tmp_path, monkeypatch):
    folder = tmp_path / "sword/modules/texts/ztext"
    for name, entries in (("engKJV2006eb", ENGLISH), ("spaRV1909eb", SPANISH)):
        write_work(folder / name, "ot", entries)
        write_work(folder / name, "nt", entries[:2])
    monkeypatch.setattr(bible, "INSTALLED", tmp_path / "sword")
    return folder


def test_entries_are_read_from_their_blocks(works):
    assert bible.read_ztext(works / "engKJV2006eb", "ot") == ENGLISH


def test_verses_of_both_works_are_pairs_without_markup(works):
    assert sorted(pair for part in dl.data.bible_verses() for pair in part) == [
        ("A Psalm. LORD", "Salmo. JEHOVÁ"),
        ("In the beginning & end", "EN el principio"),
    ]


def test_a_damaged_work_is_named(works):
    folder = works / "spaRV1909eb"
    for end in ("bzz", "bzs", "bzv"):
        path = folder / f"ot.{end}"
        content = path.read_bytes()
        path.write_bytes(content[:-3])
        with pytest.raises(ValueError, match=r"ot\.bzz: got a damaged work of SWORD"):
            dl.data.bible_verses()
        path.write_bytes(content)
    write_work(folder, "ot", SPANISH[:-1])
    with pytest.raises(ValueError, match="got 6 entries in ot, expected 7"):
        dl.data.bible_verses()


def test_a_missing_work_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(bible, "INSTALLED", tmp_path)
    monkeypatch.setenv("DLCORE_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="launch/data sword-text-kjv"):
        dl.data.bible_verses()


@pytest.mark.slow
@needs_package("sword-text-kjv", "sword-text-sparv")
def test_the_whole_bible_has_its_verses():
    parts = dl.data.bible_verses()
    assert sum(map(len, parts)) == 31084
    assert all(0.08 < len(part) / 31084 < 0.12 for part in parts[1:])
    known = dict(pair for part in parts for pair in part)
    assert known["Jesus wept."] == "Y lloró Jesús."
    assert (
        known["In the beginning God created the heaven and the earth."]
        == "EN el principio crió Dios los cielos y la tierra."
    )
    assert not [text for pair in known.items() for text in pair if set("<>\\*") & set(text)]
