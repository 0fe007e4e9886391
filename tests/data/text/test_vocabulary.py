"""A vocabulary numbers tokens, survives a file, and refuses what it cannot hold."""

import numpy as np
import pytest

import dlcore as dl
from dlcore.data.text.vocabulary import SPECIAL, UNKNOWN

SENTENCES = [["b", "a", "b"], ["c", "b"], []]


def test_tokens_are_numbered_by_their_count_and_then_by_their_text():
    assert dl.data.Vocabulary.of(SENTENCES).tokens == (*SPECIAL, "b", "a", "c")
    assert dl.data.Vocabulary.of(SENTENCES, size=4).tokens == (*SPECIAL, "b", "a")
    assert dl.data.Vocabulary.of(SENTENCES, min_count=2).tokens == (*SPECIAL, "b")
    assert dl.data.Vocabulary.of([]).tokens == SPECIAL


def test_text_that_looks_like_a_special_token_does_not_end_a_sequence():
    vocabulary = dl.data.Vocabulary.of([["<unknown>", "a"]])
    assert vocabulary.tokens == (*SPECIAL, "a")
    assert vocabulary.encode(["<unknown>", "a"]).tolist() == [UNKNOWN, 2]


def test_decoding_undoes_encoding():
    vocabulary = dl.data.Vocabulary.of(SENTENCES)
    for sentence in SENTENCES:
        numbers = vocabulary.encode(sentence)
        assert numbers.dtype == np.int32
        assert vocabulary.decode(numbers) == sentence
    assert vocabulary.encode(["z"]).tolist() == [UNKNOWN]
    assert vocabulary.decode([2, dl.data.END, 3]) == ["b"]


def test_a_file_keeps_every_token(tmp_path):
    vocabulary = dl.data.Vocabulary.of([["ä", "\n", '"', "\u2028", "☃"]])
    (tmp_path / "vocabulary.json").write_text(vocabulary.to_json(), "utf-8")
    assert dl.data.Vocabulary.read(tmp_path / "vocabulary.json") == vocabulary


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"tokens": [1, 2]}', '{"tokens": ["a", "b"]}'])
def test_a_damaged_file_is_named(tmp_path, text):
    (tmp_path / "vocabulary.json").write_text(text)
    with pytest.raises(ValueError, match=r"vocabulary\.json: got a file that holds no vocabulary"):
        dl.data.Vocabulary.read(tmp_path / "vocabulary.json")


def test_bad_tokens_are_refused():
    with pytest.raises(ValueError, match=r"got \('a', 'b'\) first"):
        dl.data.Vocabulary(("a", "b"))
    with pytest.raises(ValueError, match="got 'a' twice"):
        dl.data.Vocabulary((*SPECIAL, "a", "a"))
    with pytest.raises(TypeError, match="sequences: got 3"):
        dl.data.Vocabulary.of([[3]])
    with pytest.raises(ValueError, match="numbers: got 9, expected 0 to 2"):
        dl.data.Vocabulary((*SPECIAL, "a")).decode([9])
