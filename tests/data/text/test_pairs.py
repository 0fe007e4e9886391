"""Pairs of texts are complete and clean, and no part of a split knows a source of another."""

import gzip
import itertools
import random
import unicodedata

import pytest

import dlcore as dl
from dlcore.data.text.message_catalogs import read_po
from tests.helpers.packages import needs_package

PO = 'msgid "{}"\nmsgstr "{}"\n'


def bag(text):
    return sorted(word for word in dl.data.words(text) if word[0].isalnum())


def joined(parts):
    return [pair for part in parts for pair in part]


def make_packages(folder, monkeypatch, messages):
    """Stand-ins of the packages: a catalog of Django with these messages, and none of pycountry."""
    monkeypatch.setenv("DLCORE_DATA", str(folder))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    catalog = folder / "django/django/conf/locale/de/LC_MESSAGES/django.po"
    catalog.parent.mkdir(parents=True)
    catalog.write_text("\n".join(PO.format(*pair) for pair in messages), "utf-8")
    (folder / "pycountry").mkdir()
    return catalog


def test_texts_are_normalized_and_sources_stand_once(tmp_path, monkeypatch):
    messages = [("a\\n  b", "u\u0308"), ("a b", "later"), ("same", "same"), ("blank", " ")]
    catalog = make_packages(tmp_path, monkeypatch, messages)
    assert len(read_po(catalog)) == 4
    assert joined(dl.data.package_pairs()) == [("a b", "\u00fc")]
    assert sorted(joined(dl.data.package_pairs(copies=True))) == [("a b", "\u00fc"), ("same", "same")]
    with pytest.raises(
        ValueError, match="language: got 'xx', expected a language of Django or pycountry: de"
    ):
        dl.data.package_pairs("xx")


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("DLCORE_DATA", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="django: the files of this package are neither"):
        dl.data.package_pairs()


@needs_package("django", "pycountry")
def test_german_pairs_are_real_and_split_by_their_words():
    parts = dl.data.package_pairs()
    everything = joined(parts)
    assert 4000 < len(everything) < 6000
    assert {("Romania", "Rumänien"), ("South Slavic languages", "Südslawische Sprachen")} <= set(everything)
    assert len({source for source, _ in everything}) == len(everything)
    for source, target in everything:
        assert source != target
        assert all(
            text and text == unicodedata.normalize("NFC", " ".join(text.split())) for text in (source, target)
        )
    for one, other in itertools.combinations(parts, 2):
        assert not {tuple(bag(source)) for source, _ in one} & {tuple(bag(source)) for source, _ in other}
    assert all(0.08 < len(part) / len(everything) < 0.12 for part in parts[1:])


def test_the_split_does_not_depend_on_order_or_additions():
    pairs = [(f"Name {n}", str(n)) for n in range(300)]
    mixed = random.Random(0).sample(pairs, 100) + [(f"{n}, name", str(n)) for n in range(300)]
    for part, other in zip(dl.data.split_pairs(pairs), dl.data.split_pairs(mixed), strict=True):
        assert sorted(set(part) & set(mixed)) == sorted(set(other) & set(pairs))
        assert {int(target) for _, target in other} == {int(target) for _, target in part}


def test_shares_are_as_asked():
    pairs = [(str(n), "") for n in range(4000)]
    train, dev, test = dl.data.split_pairs(pairs, dev=0.05, test=0.25)
    assert sorted(train + dev + test) == sorted(pairs)
    assert len(dev) == pytest.approx(200, abs=50)
    assert len(test) == pytest.approx(1000, abs=100)
    assert dl.data.split_pairs(pairs, dev=0, test=0) == (pairs, [], [])
    assert len(set(map(len, dl.data.split_pairs([("!?", "a"), ("…", "b")] * 2)))) > 1


@pytest.mark.parametrize(
    ("pairs", "options", "error"),
    [
        ("text", {}, TypeError),
        ([("a",)], {}, TypeError),
        ([("a", 3)], {}, TypeError),
        ([], {"dev": -0.1}, ValueError),
        ([], {"dev": 0.5, "test": 0.5}, ValueError),
    ],
)
def test_bad_pairs_and_shares_are_refused(pairs, options, error):
    with pytest.raises(error, match=r"^(pairs|dev): got "):
        dl.data.split_pairs(pairs, **options)


def write_pair(folder, stem, source, target, end=""):
    writer = gzip.open if end else open
    for language, text in (("en", source), ("de", target)):
        with writer(folder / f"{stem}.{language}{end}", "wt", encoding="utf-8", newline="") as file:
            file.write(text)


@pytest.mark.parametrize("end", ["", ".gz"])
def test_lines_of_two_files_are_pairs(tmp_path, end):
    write_pair(
        tmp_path, "a", "\ufeffone  two\r\n\r\nsix\u2028seven\x0b\r\n", "eins zwei\nleer\nsechs sieben", end
    )
    pairs = dl.data.text_pairs(tmp_path / f"a.en{end}", tmp_path / f"a.de{end}")
    assert pairs == [("one two", "eins zwei"), ("six seven", "sechs sieben")]


def test_files_that_are_no_pair_are_refused(tmp_path):
    write_pair(tmp_path, "a", "one\ntwo\n", "eins\n")
    with pytest.raises(ValueError, match=r"target_file: got .*a\.de with 1 lines, expected 2"):
        dl.data.text_pairs(tmp_path / "a.en", tmp_path / "a.de")
    with pytest.raises(FileNotFoundError, match=r"target_file: got .*missing.*package_pairs needs no files"):
        dl.data.text_pairs(tmp_path / "a.en", tmp_path / "missing")
    (tmp_path / "a.de").write_bytes(b"\xff\n\n")
    with pytest.raises(ValueError, match=r"target_file: got .*a\.de, expected text in UTF-8"):
        dl.data.text_pairs(tmp_path / "a.en", tmp_path / "a.de")
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"one\ntwo")[:-9])
    with pytest.raises(ValueError, match=r"source_file: got .*a\.gz, expected text in UTF-8"):
        dl.data.text_pairs(tmp_path / "a.gz", tmp_path / "a.en")


def test_multi30k_has_its_official_parts(tmp_path):
    for stem, count, end in (("train", 3, ".gz"), ("val", 2, ""), ("test_2016_flickr", 1, ".gz")):
        write_pair(tmp_path, stem, f"{stem}\n" * count, "x\n" * count, end)
    parts = dl.data.multi30k(tmp_path)
    assert parts == ([("train", "x")] * 3, [("val", "x")] * 2, [("test_2016_flickr", "x")])
    assert dl.data.multi30k(tmp_path, "de", "en").test == [("x", "test_2016_flickr")]


def test_missing_files_of_multi30k_are_named(tmp_path):
    write_pair(tmp_path, "train", "a\n", "b\n")
    with pytest.raises(
        FileNotFoundError, match=r"has neither val\.en nor val\.en\.gz; expected Multi30k's .*package_pairs"
    ):
        dl.data.multi30k(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"is not a folder"):
        dl.data.multi30k(tmp_path / "missing")
