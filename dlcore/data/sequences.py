"""Sequences from real sources: arrays padded to one length with the lengths beside them, and their honest splits.

A part is a dict with ``inputs`` (float32 ``[N, T, F]``, 0 behind each row's end), ``lengths`` (int32 ``[N]``) and
``labels`` (int32 ``[N]``).
"""

from pathlib import Path

import numpy as np

from dlcore.data.arrays import Batch, Transform


def japanese_vowels() -> tuple[Batch, Batch]:
    """Which of nine men said /ae/?  640 utterances as 12 LPC cepstra a frame (Kudo, Toyama & Shimbo 1999; CC BY 4.0).

    The official split: 270 for training, 30 a speaker, and 370 for testing, 24 to 88 a speaker, said on other
    occasions by the same men. A frame is 25.6 ms of speech, the next one begins 6.4 ms later, and an utterance has 7 to
    29 of them. Baselines on the 370: 1-NN by dynamic time warping 0.949, logistic regression on means and
    standard deviations 0.962.

    Returns:
        ``(train, test)`` with ``inputs [N, 29, 12]`` as they were published, ``lengths`` 7..29 and ``labels`` 0..8.
        ``japanese_vowels.txt``, beside this file, says where the numbers come from.
    """
    with np.load(Path(__file__).with_name("japanese_vowels.npz")) as file:
        return _part(file, "train"), _part(file, "test")


def standardize(train: Batch, test: Batch) -> tuple[Batch, Batch]:
    """Both parts on the training part's scale: each feature with mean 0 and standard deviation 1 over its valid steps.

    Padding stays 0, which is the mean; a feature that never changes becomes 0.

    >>> train, test = standardize({"inputs": np.array([[[1.0], [3.0]]])}, {"inputs": np.array([[[5.0]]])})
    >>> train["inputs"].ravel().tolist(), test["inputs"].ravel().tolist()
    ([-1.0, 1.0], [3.0])
    """
    frames = train["inputs"][_valid_steps(train)]
    mean, deviation = frames.mean(axis=0), frames.std(axis=0)
    scale = np.where(deviation > 0, deviation, 1)

    def scaled(part: Batch) -> Batch:
        valid = _valid_steps(part)[..., None]
        return {**part, "inputs": np.where(valid, (part["inputs"] - mean) / scale, 0)}

    return scaled(train), scaled(test)


def gaussian_noise(scale: float) -> Transform:
    """A transform that adds noise of this standard deviation to a batch's valid steps; padding stays as it is.

    Raises:
        ValueError: a scale below 0.

    >>> batch = {"inputs": np.ones((1, 3, 1), np.float32), "lengths": np.array([2])}
    >>> noisy = gaussian_noise(0.1)(batch, np.random.default_rng(0))["inputs"]
    >>> (noisy != 1).ravel().tolist()
    [True, True, False]
    """
    if scale < 0:
        raise ValueError(f"scale: got {scale}, expected 0 or more, a standard deviation")

    def transform(batch: Batch, generator: np.random.Generator) -> Batch:
        inputs, valid = batch["inputs"], _valid_steps(batch)[..., None]
        noise = scale * generator.standard_normal(inputs.shape, np.float32)
        return {**batch, "inputs": np.where(valid, inputs + noise, inputs)}

    return transform


def _valid_steps(batch: Batch) -> np.ndarray:
    """The mask ``[N, T]`` of the steps before each row's end; of all steps where there are no lengths."""
    rows, steps = batch["inputs"].shape[:2]
    return np.arange(steps) < batch.get("lengths", np.full(rows, steps))[:, None]


def _part(file: np.lib.npyio.NpzFile, name: str) -> Batch:
    """One part, padded: the file has the frames ``[sum(lengths), F]`` of all utterances one after the other."""
    frames, lengths, labels = (file[f"{name}_{field}"] for field in ("frames", "lengths", "labels"))
    inputs = np.zeros((len(lengths), 29, frames.shape[-1]), frames.dtype)
    inputs[_valid_steps({"inputs": inputs, "lengths": lengths})] = frames
    return {"inputs": inputs, "lengths": lengths, "labels": labels}
