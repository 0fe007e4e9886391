"""Clips of moving handwritten digits: the digits are real, their motion and the damage of the film are synthetic.

Clips can be made without end by `SyntheticBatches`, and a finite test set by `held_out`. Digits of the training part
of a set belong into training clips, those of its test part into test clips.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dlcore.data.batch import Batch, Transform, check_generator, get_field, row_count
from dlcore.utils.checks import check_bool, check_callable, check_integer, check_number

MOTIONS = ("still", "left", "right", "up", "down")
"""The names of the motions in the order of their numbers."""

SHIFTS = np.array([(0, 0), (0, -1), (0, 1), (-1, 0), (1, 0)])
"""The change of (row, column) of each motion, in units of the speed."""


def moving_digits(
    generator: np.random.Generator,
    examples: int,
    digits: Mapping[str, np.ndarray],
    *,
    canvas: int = 16,
    shortest: int = 8,
    longest: int = 12,
    speed: int = 2,
    turn: float = 0.3,
    hidden: float = 0.6,
    noise: float = 0.1,
    transform: Transform | None = None,
    frame_labels: bool = False,
) -> Batch:
    """Clips in which a digit moves over a black canvas, on a film that is damaged anew in every frame.

    A clip shows one digit, which begins at a random place and stands still in the first frame. In the second frame it
    draws a motion. In every later frame it keeps its motion, or it draws a new one: always if it would leave the
    canvas, and else with the probability ``turn``. A new motion is one of those that stay on the canvas, all equally
    likely. Then normal noise is added to the frame, and each of its pixels is black with the probability ``hidden``. So
    one frame shows few pixels of a digit, and only several frames show what it is and where it moves.

    Args:
        generator: the source of all random numbers.
        examples: number of clips.
        digits: ``inputs [N, h, w, C]`` and ``labels [N]``, such as a part of `uci_digits`; each clip draws one.
        canvas: height and width of a frame in pixels, at least that of a digit.
        shortest: smallest number of frames of a clip.
        longest: T, the largest number of frames. All numbers between are equally likely.
        speed: number of pixels that a moving digit moves in a frame.
        turn: the probability that a digit draws a new motion although it could keep its own.
        hidden: the probability that a pixel is black in a frame.
        noise: standard deviation of the noise, where digits have values of 0 to 1.
        transform: changes the digit of each clip, for instance `random_affine`; it gets ``inputs`` and ``labels`` of
            the drawn digits.
        frame_labels: True for a label for every frame, the motion that brought the digit there, as a number in
            `MOTIONS`; otherwise the label of a clip is that of its digit.

    Returns:
        A batch: ``inputs`` float32 ``[examples, T, canvas, canvas, C]``, 0 after the end of a clip; ``lengths`` int32
        ``[examples]``; and ``labels`` int32, ``[examples]`` or with ``frame_labels`` ``[examples, T]``.

    Raises:
        TypeError: an argument has another type.
        ValueError: a number is out of its bounds, or the digits have no such fields or are larger than the canvas.

    >>> digits = {"inputs": np.ones((3, 2, 2, 1)), "labels": np.array([7, 7, 7])}
    >>> clips = moving_digits(np.random.default_rng(0), 4, digits, canvas=5, hidden=0.0, noise=0.0)
    >>> clips["inputs"].shape, clips["labels"].tolist(), clips["inputs"][0, 0].sum().item()
    ((4, 12, 5, 5, 1), [7, 7, 7, 7], 4.0)
    """
    check_generator(generator)
    check_integer("examples", examples)
    images, labels = check_digits(digits)
    check_integer("canvas", canvas, max(images.shape[1:3]))
    check_integer("longest", longest, check_integer("shortest", shortest))
    check_integer("speed", speed)
    for name, share in (("turn", turn), ("hidden", hidden)):
        check_number(name, share, "[0, 1]")
    check_number("noise", noise, "[0, inf)")
    check_bool("frame_labels", frame_labels)
    images, labels = draw_digits(generator, (examples,), images, labels, transform)
    lengths = generator.integers(shortest, longest + 1, examples, np.int32)
    room = canvas - np.array(images.shape[1:3])
    corners, motions = _walk(generator, examples, longest, room, speed, turn)
    frames = paste(images[:, None], corners, (canvas, canvas))
    frames += np.float32(noise) * generator.standard_normal(frames.shape, np.float32)
    valid = np.arange(longest) < lengths[:, None]
    kept = valid[..., None, None, None] & (generator.random(frames.shape, np.float32) >= hidden)
    shown = np.where(valid, motions, 0).astype(np.int32) if frame_labels else labels.astype(np.int32)
    return {"inputs": np.where(kept, frames, np.float32(0)), "lengths": lengths, "labels": shown}


def _walk(
    generator: np.random.Generator, clips: int, steps: int, room: np.ndarray, speed: int, turn: float
) -> tuple[np.ndarray, np.ndarray]:
    """The upper left corners ``[clips, steps, 2]`` of the digits, from (0, 0) to ``room``, and their motions."""
    corner, motion = generator.integers(0, room + 1, (clips, 2)), np.zeros(clips, np.int64)
    corners, motions = [corner], [motion]
    for step in range(1, steps):
        places = corner[:, None] + speed * SHIFTS
        inside = ((places >= 0) & (places <= room)).all(axis=-1)
        drawn = np.where(inside, generator.random(inside.shape), -1).argmax(axis=1)
        turns = (generator.random(clips) < turn) | (step == 1) | ~inside[np.arange(clips), motion]
        motion = np.where(turns, drawn, motion)
        corner = corner + speed * SHIFTS[motion]
        corners.append(corner)
        motions.append(motion)
    return np.stack(corners, axis=1), np.stack(motions, axis=1)


def paste(images: np.ndarray, corners: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Black canvases with one image on each.

    Args:
        images: ``[..., h, w, C]``, whose first dimensions are broadcast to those of the corners.
        corners: integers ``[..., 2]``, the row and the column of each image's upper left pixel.
        size: height and width of a canvas.

    Returns:
        A float32 array ``[..., *size, C]``.
    """
    height, width, channels = images.shape[-3:]
    shape = corners.shape[:-1]
    canvases = np.zeros((*shape, *size, channels), np.float32)
    rows = corners[..., 0, None, None] + np.arange(height)[:, None]
    columns = corners[..., 1, None, None] + np.arange(width)
    places = [np.asarray(index)[..., None, None] for index in np.indices(shape)]
    canvases[(*places, rows, columns)] = images
    return canvases


def draw_digits(
    generator: np.random.Generator,
    shape: tuple[int, ...],
    images: np.ndarray,
    labels: np.ndarray,
    transform: Transform | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Digits drawn with replacement, ``[*shape, h, w, C]``, and their labels ``[*shape]``.

    Args:
        generator: the source of all random numbers.
        shape: how many.
        images: the digits to draw from, ``[N, h, w, C]``.
        labels: their labels ``[N]``.
        transform: changes the drawn digits; None leaves them as they are.

    Raises:
        TypeError: the transform is not a function.
        ValueError: it returns images of another shape.
    """
    chosen = generator.integers(0, len(images), shape)
    if transform is None:
        return images[chosen], labels[chosen]
    check_callable("transform", transform, "dl.data.random_affine()")
    drawn = {"inputs": images[chosen.ravel()], "labels": labels[chosen.ravel()]}
    changed = transform(drawn, generator)
    got, expected = changed["inputs"].shape, drawn["inputs"].shape
    if got != expected:
        raise ValueError(f"transform: got a function that returns inputs of shape {got}, expected {expected}")
    return changed["inputs"].reshape(*shape, *images.shape[1:]), changed["labels"].reshape(shape)


def check_digits(digits: Any) -> tuple[np.ndarray, np.ndarray]:
    """The images ``[N, h, w, C]`` and the labels ``[N]`` of a set of digits, 0 to 9.

    Raises:
        TypeError: the set is no dict of arrays.
        ValueError: a field is missing, or has another shape or other labels.
    """
    row_count(digits, "digits")
    images, labels = (np.asarray(get_field(digits, name)) for name in ("inputs", "labels"))
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"digits: got inputs of shape {images.shape}, expected [N, h, w, C]")
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() > 9:
        raise ValueError(
            f"digits: got labels {labels.dtype} of shape {labels.shape}, expected integers [N] from 0 to 9"
        )
    return images, labels
