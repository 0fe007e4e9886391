"""Images of several handwritten digits with the words that say them: real digits in a synthetic arrangement."""

from collections.abc import Mapping

import numpy as np

from dlcore.data.batch import Batch, Transform, check_generator
from dlcore.data.text.vocabulary import END, SPECIAL, Vocabulary
from dlcore.data.vision.moving_digits import check_digits, draw_digits, paste
from dlcore.utils.checks import check_integer

DIGIT_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def caption_vocabulary() -> Vocabulary:
    """The vocabulary of the captions of `digit_captions`: the ten words for digits after the two special tokens.

    >>> caption_vocabulary().decode([5, 9, 3, 0])
    ['three', 'seven', 'one']
    """
    return Vocabulary((*SPECIAL, *DIGIT_WORDS))


def digit_captions(
    generator: np.random.Generator,
    examples: int,
    digits: Mapping[str, np.ndarray],
    *,
    lines: int = 2,
    columns: int = 3,
    most: int = 4,
    jitter: int = 4,
    transform: Transform | None = None,
) -> Batch:
    """Images of 1 to ``most`` digits, and their words in reading order: line by line, from left to right.

    An image is a black canvas of ``lines * columns`` cells. Each digit has a cell of its own, which is drawn at random,
    and a random place in it, so that digits stand neither in one row nor at the same distances.

    Args:
        generator: the source of all random numbers.
        examples: number of images.
        digits: ``inputs [N, h, w, C]`` and ``labels [N]``, such as a part of `uci_digits`. Those of the training part
            of a set belong into training images, those of its test part into test images.
        lines: number of lines of cells.
        columns: number of cells in a line.
        most: the largest number of digits, at most the number of cells; all numbers are equally likely.
        jitter: number of pixels by which a cell is higher and wider than a digit.
        transform: changes the drawn digits, for instance `random_affine`.

    Returns:
        A batch: ``inputs`` float32 ``[examples, lines * (h + jitter), columns * (w + jitter), C]``; ``labels`` int32
        ``[examples, most + 1]``, the words as numbers in `caption_vocabulary` with END after the last one;
        ``label_lengths`` int32 ``[examples]``, the number of words and the END.

    Raises:
        TypeError: an argument has another type.
        ValueError: a number is out of its bounds, or the digits have no such fields.

    >>> digits = {"inputs": np.ones((2, 8, 8, 1)), "labels": np.array([7, 7])}
    >>> batch = digit_captions(np.random.default_rng(1), 2, digits)
    >>> batch["inputs"].shape, [caption_vocabulary().decode(row) for row in batch["labels"]]
    ((2, 24, 36, 1), [['seven', 'seven'], ['seven', 'seven', 'seven']])
    """
    check_generator(generator)
    check_integer("examples", examples)
    images, labels = check_digits(digits)
    cells = check_integer("lines", lines) * check_integer("columns", columns)
    check_integer("most", most, 1, cells)
    check_integer("jitter", jitter, 0)
    count = generator.integers(1, most + 1, examples)
    shown = np.arange(most) < count[:, None]
    images, labels = draw_digits(generator, (examples, most), images, labels, transform)
    order = generator.random((examples, cells)).argsort(axis=1)[:, :most]
    cell = np.sort(np.where(shown, order, cells), axis=1) % cells  # of those that are shown, in reading order
    size = np.array(images.shape[-3:-1]) + jitter
    corners = np.stack(np.divmod(cell, columns), axis=-1) * size
    corners += generator.integers(0, jitter + 1, corners.shape)
    pasted = paste(images * shown[..., None, None, None], corners, (lines * size[0], columns * size[1]))
    words = np.where(shown, labels + len(SPECIAL), END)
    return {
        "inputs": pasted.sum(axis=1),  # each digit has its cell, so that none lies over another
        "labels": np.pad(words, ((0, 0), (0, 1)), constant_values=END).astype(np.int32),
        "label_lengths": (count + 1).astype(np.int32),
    }
