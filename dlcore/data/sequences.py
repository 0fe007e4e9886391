"""Sequences from real sources, with their official splits, their normalization and their augmentation.

A part of a data set has the fields ``inputs`` (float32 ``[N, T, F]``, 0 after the end of each row), ``lengths`` (int32
``[N]``) and ``labels`` (int32 ``[N]``).
"""

from pathlib import Path
from typing import Any

import numpy as np

from dlcore.data.batch import Batch, Transform, check_generator, get_field
from dlcore.ops.lengths import known_lengths
from dlcore.utils.checks import check_number


def japanese_vowels() -> tuple[Batch, Batch]:
    """The Japanese vowels: which of nine men said /ae/? (Kudo, Toyama & Shimbo 1999; CC BY 4.0)

    There are 640 utterances of 7 to 29 frames. A frame is 12 LPC cepstra of 25.6 ms of speech, and the next frame
    begins 6.4 ms later. The official split has 270 utterances for training, 30 of each speaker, and 370 for testing, 24
    to 88 of each speaker, which the same men said on other occasions. Baselines on the test part: 1-NN by dynamic time
    warping 0.949, logistic regression on means and standard deviations 0.962.

    Returns:
        ``(train, test)``, two batches with ``inputs [N, 29, 12]`` as published, ``lengths [N]`` in 7..29 and
        ``labels [N]`` in 0..8. The file ``japanese_vowels.txt`` beside this module names the source of the numbers.
    """
    with np.load(Path(__file__).with_name("japanese_vowels.npz")) as file:
        return _part(file, "train"), _part(file, "test")


def _part(file: np.lib.npyio.NpzFile, name: str) -> Batch:
    """One part, padded. The file holds the frames ``[sum(lengths), F]`` of all its utterances in one array."""
    frames, lengths, labels = (file[f"{name}_{field}"] for field in ("frames", "lengths", "labels"))
    inputs = np.zeros((len(lengths), 29, frames.shape[-1]), frames.dtype)
    inputs[_valid_steps({"inputs": inputs, "lengths": lengths})] = frames
    return {"inputs": inputs, "lengths": lengths, "labels": labels}


def standardize(train: Batch, test: Batch) -> tuple[Batch, Batch]:
    """Scales both parts so that each feature of the training part has mean 0 and standard deviation 1.

    Only valid steps count. Padding becomes 0, which is the mean. A feature that is constant in the training part is
    shifted to the mean 0, but not scaled. Mean and standard deviation are computed in float64.

    Args:
        train: the training part, which determines the scale: ``inputs [N, T, F]``, and ``lengths [N]`` if there is
            padding.
        test: the test part, with the same fields.

    Returns:
        ``(train, test)``, two batches with new ``inputs``, float32 or float64 as NumPy promotes theirs with float32.

    Raises:
        TypeError: a part is not a dict of arrays.
        ValueError: the training part has no valid step, a valid step is not finite, the shapes do not match, or a part
            has no ``inputs``.

    >>> train, test = standardize({"inputs": np.array([[[1.0], [3.0]]])}, {"inputs": np.array([[[5.0]]])})
    >>> train["inputs"].ravel().tolist(), test["inputs"].ravel().tolist()
    ([-1.0, 1.0], [3.0])
    """
    frames = _valid_frames("train", train)
    if not len(frames) or frames.shape[1] != _valid_frames("test", test).shape[1]:
        raise ValueError(
            f"train: got {len(frames)} valid steps of inputs {np.shape(train['inputs'])}, expected at least one, with "
            f"as many features as those of the test part, {np.shape(test['inputs'])}"
        )
    constant = frames.min(axis=0) == frames.max(axis=0)
    mean = np.where(constant, frames[0], frames.mean(axis=0, dtype=np.float64))
    scale = np.where(constant, 1, frames.std(axis=0, dtype=np.float64))

    def scaled(part: Batch) -> Batch:
        inputs, valid = part["inputs"], _valid_steps(part)[..., None]
        result = np.where(valid, (inputs - mean) / scale, 0)
        return {**part, "inputs": result.astype(np.result_type(inputs.dtype, np.float32))}

    return scaled(train), scaled(test)


def _valid_frames(name: str, part: Batch) -> np.ndarray:
    """The valid steps of a part, ``[steps, F]``; ValueError if there are NaN or Inf among them."""
    frames = get_field(part, "inputs")[_valid_steps(part)]
    bad = len(frames) - np.isfinite(frames).all(axis=1).sum()
    if bad:
        raise ValueError(
            f"{name}: got NaN or Inf in {bad} of {len(frames)} valid steps of inputs; correct the data"
        )
    return frames


def gaussian_noise(scale: float) -> Transform:
    """Returns a transform that adds normal noise to the valid steps of a batch; padding does not change.

    Args:
        scale: the standard deviation of the noise.

    Returns:
        A transform of batches with ``inputs [B, T, F]``, and ``lengths [B]`` if there is padding.

    Raises:
        TypeError: the scale is not a number.
        ValueError: it is below 0 or not finite.

    >>> batch = {"inputs": np.ones((1, 3, 1), np.float32), "lengths": np.array([2])}
    >>> noisy = gaussian_noise(0.1)(batch, np.random.default_rng(0))["inputs"]
    >>> (noisy != 1).ravel().tolist()
    [True, True, False]
    """
    check_number("scale", scale, "[0, inf)")

    def transform(batch: Batch, generator: np.random.Generator) -> Batch:
        check_generator(generator)
        valid, inputs = _valid_steps(batch)[..., None], batch["inputs"]
        noise = scale * generator.standard_normal(inputs.shape, np.float32)
        return {**batch, "inputs": np.where(valid, inputs + noise, inputs)}

    return transform


def _valid_steps(batch: Batch) -> np.ndarray:
    """A mask ``[N, T]``: True before the end of each row, and everywhere if the batch has no lengths."""
    inputs = get_field(batch, "inputs")
    if not hasattr(inputs, "shape"):
        raise TypeError(f"inputs: got {type(inputs).__name__}, expected an array [N, T, F]")
    if len(inputs.shape) != 3:
        raise ValueError(f"inputs: got shape {inputs.shape}, expected an array [N, T, F]")
    rows, steps = inputs.shape[:2]
    lengths: Any = batch.get("lengths", np.full(rows, steps))
    return np.arange(steps) < known_lengths(lengths, inputs.shape)[:, None]
