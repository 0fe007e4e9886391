"""Texts become tokens, and sequences of any lengths one array."""

import numpy as np
import pytest

import dlcore as dl


def test_words_are_those_that_a_reader_sees():
    assert dl.data.words("") == []
    assert dl.data.words("Größe: 3,5 — don't!") == ["größe", ":", "3", ",", "5", "—", "don't", "!"]


def test_characters_join_to_the_text():
    text = "Zwölf\n☃ "
    assert "".join(dl.data.characters(text)) == text


@pytest.mark.parametrize("end", [False, True])
def test_padding_keeps_every_row(end):
    rows = [np.array([], np.int32), np.array([4]), np.array([2, 3, 2])]
    padded, lengths = dl.data.pad_sequences(rows, end=end)
    assert padded.shape == (3, 3 + end)
    assert (padded.dtype, lengths.dtype) == (np.int32, np.int32)
    assert lengths.tolist() == [0 + end, 1 + end, 3 + end]
    for row, target in zip(rows, padded, strict=True):
        assert target.tolist() == [*row, *[dl.data.END] * (3 + end - len(row))]


def test_empty_sequences_have_one_padded_step():
    padded, lengths = dl.data.pad_sequences([[], []])
    assert padded.tolist() == [[0], [0]]
    assert lengths.tolist() == [0, 0]


def test_bad_sequences_are_refused():
    with pytest.raises(ValueError, match="sequences: got none"):
        dl.data.pad_sequences([])
    with pytest.raises(TypeError, match="sequences: got float64"):
        dl.data.pad_sequences([[0.5]])


def test_dropped_tokens_are_unknown_and_padding_stays():
    batch = {"inputs": np.full((50, 40), 7, np.int32), "labels": np.arange(50)}
    batch["inputs"][:, 30:] = dl.data.END
    changed = dl.data.token_dropout(0.25)(batch, np.random.default_rng(0))
    assert changed["inputs"].dtype == np.int32
    assert set(changed["inputs"][:, :30].ravel().tolist()) == {1, 7}
    assert (changed["inputs"][:, :30] == 1).mean() == pytest.approx(0.25, abs=0.05)
    assert not changed["inputs"][:, 30:].any()
    assert changed["labels"] is batch["labels"]
    np.testing.assert_array_equal(
        dl.data.token_dropout(0)(batch, np.random.default_rng(0))["inputs"], batch["inputs"]
    )
