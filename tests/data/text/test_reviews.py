"""Rated texts keep their ratings, and what is missing or damaged is named."""

import io
import tarfile

import numpy as np
import pytest

import dlcore as dl
from dlcore.data.text.reviews import ARCHIVE, MEMBER
from tests.helpers.packages import needs_package

PARTS = ("train/neg", "train/pos", "test/neg", "test/pos")


@needs_package("vaderSentiment")
def test_the_sentences_are_split_once_and_rated():
    train, test = dl.data.movie_sentences()
    assert (len(train.texts), len(test.texts)) == (8455, 2113)
    assert len({*train.texts, *test.texts}) == 10_566  # two sentences are there twice
    for part in (train, test):
        assert (part.ratings.dtype, part.labels.dtype) == (np.float32, np.int32)
        assert part.ratings.shape == part.labels.shape == (len(part.texts),)
        np.testing.assert_array_equal(part.labels, part.ratings > 0)
        assert np.abs(part.ratings).min() > 0
        assert np.abs(part.ratings).max() <= 4
    whole = dict(zip(train.texts + test.texts, [*train.ratings, *test.ratings], strict=True))
    assert whole["Effective but too tepid biopic"] == np.float32(-0.6)
    assert whole["Offers that rare combination of entertainment and education."] == np.float32(2.46666666667)
    again = dl.data.movie_sentences()
    assert again[1].texts == test.texts
    most, rest = train.tuning()
    assert len(rest.texts) == 845
    assert sorted(most.texts + rest.texts) == sorted(train.texts)
    for part in (most, rest):
        assert {whole[text] for text in part.texts} == set(part.ratings)


def write_archive(folder, content):
    path = folder / "vaderSentiment" / ARCHIVE
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo(MEMBER)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return path


def test_a_missing_or_damaged_archive_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("DLCORE_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="launch/data vaderSentiment"):
        dl.data.movie_sentences()
    path = write_archive(tmp_path, b"1\t2.0\tgood\r\n2\t-1.0\tbad\r\n")
    with pytest.raises(ValueError, match=r"got 2 lines .* expected 10605"):
        dl.data.movie_sentences()
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ValueError, match="damaged archive"):
        dl.data.movie_sentences()
    path.unlink()
    with pytest.raises(FileNotFoundError, match="is missing; launch/data vaderSentiment"):
        dl.data.movie_sentences()


@pytest.fixture(name="folder")
def imdb_folder(tmp_path):
    """A folder in IMDB's form, with two reviews in each of its parts."""
    for part in PARTS:
        place = tmp_path / "aclImdb" / part
        place.mkdir(parents=True)
        for number, rating in ((10, 1), (9, 3)):
            rating += 6 * part.endswith("pos")
            (place / f"{number}_{rating}.txt").write_text(f"{part} {number}<br /><br />é", "utf-8")
    return tmp_path / "aclImdb"


def test_imdb_is_read_in_the_order_of_the_files_numbers(folder):
    train, test = dl.data.imdb(folder)
    assert train.texts == tuple(f"train/{kind} {number}\né" for kind in ("neg", "pos") for number in (9, 10))
    assert train.ratings.tolist() == [3, 1, 9, 7]
    assert train.labels.tolist() == [0, 0, 1, 1]
    assert test.texts[0] == "test/neg 9\né"
    assert dl.data.imdb(folder.parent)[0].texts == train.texts


def test_missing_parts_of_imdb_are_named(folder):
    for path in (folder / "test" / "pos").iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"no review in test/pos; .* movie_sentences\(\)"):
        dl.data.imdb(folder)
    with pytest.raises(FileNotFoundError, match="train/neg, train/pos, test/neg, test/pos"):
        dl.data.imdb(folder / "train" / "pos")


@pytest.mark.parametrize("name", ["5.txt", "3_9.txt", "3_0.txt"])
def test_a_file_with_another_name_is_refused(folder, name):
    (folder / "train" / "neg" / name).write_text("bad")
    with pytest.raises(ValueError, match=r"got another name than ID_RATING\.txt with a rating of neg"):
        dl.data.imdb(folder)


def test_a_review_that_is_no_text_is_refused(folder):
    (folder / "train" / "neg" / "3_3.txt").write_bytes(b"\xff")
    with pytest.raises(ValueError, match="no text in UTF-8"):
        dl.data.imdb(folder)
