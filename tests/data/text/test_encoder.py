"""An encoder gives a model the tokens that a reader sees, cut and padded."""

import numpy as np
import pytest

import dlcore as dl
from dlcore.data.text.encoder import TextEncoder

TEXTS = ["It was fun, fun!", "no", ""]


@pytest.mark.parametrize(("unit", "split"), [("words", dl.data.words), ("characters", dl.data.characters)])
def test_rows_decode_to_the_tokens_of_their_texts(unit, split):
    encoder = TextEncoder.of(TEXTS, unit)
    batch = encoder.batch(TEXTS)
    assert batch["inputs"].dtype == batch["lengths"].dtype == np.int32
    assert batch["lengths"].tolist() == [len(split(text)) for text in TEXTS]
    assert batch["inputs"].shape[1] == max(batch["lengths"])
    for row, text in zip(batch["inputs"], TEXTS, strict=True):
        assert encoder.vocabulary.decode(row) == split(text) == encoder.tokens(text)


def test_long_texts_are_cut_and_rare_tokens_are_unknown():
    encoder = TextEncoder.of(TEXTS, longest=4, min_count=2)
    assert encoder.vocabulary.tokens[2:] == ("fun",)
    assert encoder.batch(TEXTS)["inputs"].tolist() == [[1, 1, 2, 1], [1, 0, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("unit", "plain"), [("words", "it was fun , fun !"), ("characters", "It was fun, fun!")]
)
def test_decoded_rows_are_plain_texts(unit, plain):
    encoder = TextEncoder.of(TEXTS, unit)
    assert encoder.plain(TEXTS[0]) == plain
    assert encoder.decode(encoder.batch(TEXTS)["inputs"]) == [plain, "no", ""]
    with pytest.raises(ValueError, match=r"numbers: got shape \(2,\), expected \[N, T\]"):
        encoder.decode(np.array([2, 0]))


def test_what_is_no_list_of_texts_is_refused():
    encoder = TextEncoder.of(TEXTS)
    with pytest.raises(TypeError, match="texts: got one text, 'no'"):
        encoder.batch("no")
    with pytest.raises(TypeError, match="text: got 3"):
        encoder.batch([3])
    with pytest.raises(ValueError, match="unit: got 'letters'"):
        TextEncoder.of(TEXTS, "letters")
    with pytest.raises(ValueError, match="longest: got 0"):
        TextEncoder(encoder.vocabulary, longest=0)
