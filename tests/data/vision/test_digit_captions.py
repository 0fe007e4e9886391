"""Captions say the digits of an image in reading order, and every image holds whole digits in cells of their own."""

import numpy as np
import pytest

from dlcore.data.vision.digit_captions import DIGIT_WORDS, caption_vocabulary, digit_captions

DIGITS = {"inputs": np.arange(1, 11)[:, None, None, None] * np.ones((1, 2, 3, 1)), "labels": np.arange(10)}
"""The digit d is a block of 2 x 3 pixels of the value d + 1."""


def generator():
    return np.random.default_rng(0)


def read_cells(image, lines, columns):
    """The digits of an image, cell by cell in reading order."""
    height, width = image.shape[0] // lines, image.shape[1] // columns
    for line in range(lines):
        for column in range(columns):
            cell = image[line * height : (line + 1) * height, column * width : (column + 1) * width]
            if cell.any():
                values = cell[cell != 0]
                assert values.size == 6  # one whole digit
                assert len(set(values.tolist())) == 1
                yield int(values[0]) - 1


def test_captions_are_the_digits_in_reading_order():
    batch = digit_captions(generator(), 300, DIGITS)
    assert batch["inputs"].shape == (300, 12, 21, 1)
    assert {name: array.dtype for name, array in batch.items()} == {
        "inputs": np.float32,
        "labels": np.int32,
        "label_lengths": np.int32,
    }
    vocabulary = caption_vocabulary()
    for image, labels, length in zip(*batch.values(), strict=True):
        words = [DIGIT_WORDS[digit] for digit in read_cells(image[..., 0], 2, 3)]
        assert vocabulary.decode(labels) == words
        assert length == len(words) + 1
        assert (labels[len(words) :] == 0).all()
    counts = np.bincount(batch["label_lengths"] - 1, minlength=5)[1:] / 300
    np.testing.assert_allclose(counts, 0.25, atol=0.08)


def test_a_single_line_without_jitter_is_full():
    batch = digit_captions(generator(), 50, DIGITS, lines=1, columns=2, most=2, jitter=0)
    full = batch["label_lengths"] == 3
    assert 0 < full.sum() < 50
    assert (batch["inputs"][full] != 0).all()


def test_more_digits_than_cells_are_refused():
    with pytest.raises(ValueError, match=r"most: got 7, expected .*6"):
        digit_captions(generator(), 2, DIGITS, most=7)


def test_a_transform_changes_the_drawn_digits_alone():
    batch = digit_captions(
        generator(), 20, DIGITS, transform=lambda batch, _: {**batch, "inputs": 2 * batch["inputs"]}
    )
    plain = digit_captions(generator(), 20, DIGITS)
    np.testing.assert_array_equal(batch["inputs"], 2 * plain["inputs"])
    np.testing.assert_array_equal(batch["labels"], plain["labels"])
