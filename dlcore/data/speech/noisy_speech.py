"""Batches of noisy speech with the clean speech as their target.

The fields are ``inputs [B, N, 1]``, the noisy waveforms; ``targets [B, N, 1]``, the clean ones;
``lengths [B]``, their numbers of samples; ``snr [B]`` in dB; and ``noise [B]``, the index of the kind in `NOISES`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from dlcore.data.batch import Batch, check_generator, get_field
from dlcore.data.speech.noise import add_voices, colored_noise, mix
from dlcore.data.speech.wav import check_waveform
from dlcore.utils.checks import check_callable, check_integer, check_number
from dlcore.utils.rng import stream_generator

NOISES = ("white", "pink", "babble")
"""White and pink noise are synthetic; babble is four voices of real speech at once."""

VOICES = 4


@dataclass(frozen=True)
class NoisySpeech:
    """A task for `SyntheticBatches`: parts of real recordings in noise of random loudness.

    The kinds of noise take turns from row to row. The waveforms stand one after the other, and each row begins at a
    random place and goes on with the beginning after the end. Babble is made of the same waveforms at other random
    places.

    Attributes:
        waveforms: clean speech, each ``[N]``, for instance the values of `prompts`.
        samples: the number of samples of each row.
        snr: the lowest and the highest signal-to-noise ratio in dB, see `mix`. Each row has one in between.
        speed: the lowest and the highest speed of the clean speech. Above 1 a voice is faster and higher, as that of a
            record that is played too fast, so that a few voices train a model for many.

    Raises:
        TypeError: an argument has another type.
        ValueError: there is no waveform, it has fewer samples than a row, or a bound is not finite or above the second.
    """

    waveforms: Sequence[Any]
    samples: int
    snr: tuple[float, float] = (-5.0, 5.0)
    speed: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        check_integer("samples", self.samples)
        if len(self.recording) < self.samples:
            raise ValueError(
                f"samples: got {self.samples}, expected at most {len(self.recording)}, those of all waveforms"
            )
        _check_bounds("snr", self.snr, "(-inf, inf)")
        _check_bounds("speed", self.speed, "[0.1, 10]")

    @cached_property
    def recording(self) -> np.ndarray:
        """All waveforms one after the other."""
        return np.concatenate(_check_waveforms(self.waveforms))

    def __call__(self, generator: np.random.Generator, examples: int) -> Batch:
        """A batch of ``examples`` rows, all of the same length."""
        check_generator(generator)
        check_integer("examples", examples)
        clean = [self._draw(generator) for _ in range(examples)]
        return _batch(generator, clean, self.recording, generator.uniform(*self.snr, examples))

    def _draw(self, generator: np.random.Generator) -> np.ndarray:
        """A part of the recording at a random place and speed; its samples are interpolated linearly."""
        start, speed = generator.uniform(0, len(self.recording)), generator.uniform(*self.speed)
        places = (np.floor(start) if speed == 1 else start) + speed * np.arange(self.samples)
        whole = places.astype(np.int64)
        before, after = (self.recording.take(whole + later, mode="wrap") for later in (0, 1))
        return (before + (places - whole) * (after - before)).astype(np.float32)


def noisy_prompts(
    waveforms: Sequence[Any], snr: float | Sequence[float] = 0.0, limit: int | None = None
) -> Batch:
    """Whole recordings in noise, for an evaluation; the same at each call.

    Every second waveform, from the first on, is a row. The others are the voices of the babble, so that no row hides
    itself. The kinds of noise take turns.

    Args:
        waveforms: clean speech, each ``[N]``; at least two.
        snr: the signal-to-noise ratio in dB, see `mix`; several take turns after the kinds of noise did.
        limit: the number of rows; None: one for each second waveform.

    Returns:
        A batch whose rows are padded with 0.

    Raises:
        TypeError: an argument has another type.
        ValueError: there are fewer than two waveforms, a ratio is not finite, or the limit is below 1.

    >>> batch = noisy_prompts([np.ones(3), np.ones(9), np.ones(5), np.ones(9)], snr=0.0)
    >>> batch["inputs"].shape, batch["lengths"].tolist(), batch["noise"].tolist()
    ((2, 5, 1), [3, 5], [0, 1])
    """
    checked = _check_waveforms(waveforms)
    if len(checked) < 2:
        raise ValueError(
            f"waveforms: got {len(checked)}, expected at least two; every second one is for babble"
        )
    ratios = np.atleast_1d(np.asarray(snr))
    if ratios.dtype.kind not in "fiu" or ratios.ndim != 1 or not ratios.size or not np.isfinite(ratios).all():
        raise (TypeError if ratios.dtype.kind not in "fiu" else ValueError)(
            f"snr: got {snr!r}, expected finite numbers of dB"
        )
    clean = checked[::2][: None if limit is None else check_integer("limit", limit)]
    turns = np.arange(len(clean)) // len(NOISES) % len(ratios)
    return _batch(stream_generator(0, "noisy prompts"), clean, np.concatenate(checked[1::2]), ratios[turns])


def waveforms_of(batch: Batch, row: int, outputs: Any = None) -> dict[str, np.ndarray]:
    """The waveforms of one row without its padding, by name: ``noisy``, ``enhanced`` and ``clean``, each ``[N]``.

    Args:
        batch: as `NoisySpeech` and `noisy_prompts` return it.
        row: the index of the row.
        outputs: what a method made of the inputs, ``[B, N, 1]``; None: there is no ``enhanced``.

    Raises:
        TypeError: the batch is no dict, or the row is not an integer.
        ValueError: a field is missing, there is no such row, or the outputs have another shape than the inputs.
    """
    fields = {name: get_field(batch, name) for name in ("inputs", "targets", "lengths")}
    check_integer("row", row, 0, len(fields["lengths"]) - 1)
    if outputs is not None and np.shape(outputs) != fields["inputs"].shape:
        raise ValueError(
            f"outputs: got shape {np.shape(outputs)}, expected {fields['inputs'].shape}, as the inputs"
        )
    parts = {"noisy": fields["inputs"], "enhanced": outputs, "clean": fields["targets"]}
    length = int(fields["lengths"][row])
    return {name: np.asarray(part)[row, :length, 0] for name, part in parts.items() if part is not None}


def process_rows(method: Callable[[np.ndarray], np.ndarray], batch: Batch) -> np.ndarray:
    """What a function of one waveform makes of each row of a batch, padded as the rows are.

    Args:
        method: ``method(waveform [N]) -> waveform [N]``, for instance `spectral_subtraction`.
        batch: as in `waveforms_of`.

    Returns:
        Float32 ``[B, N, 1]``.

    Raises:
        TypeError: the method is no function, or the batch is no dict.
        ValueError: a field is missing.
    """
    check_callable("method", method, "dl.data.spectral_subtraction")
    outputs = np.zeros_like(get_field(batch, "inputs"))
    for row, length in enumerate(get_field(batch, "lengths")):
        outputs[row, :length, 0] = method(waveforms_of(batch, row)["noisy"])
    return outputs


def _check_bounds(name: str, bounds: Any, interval: str) -> None:
    if not isinstance(bounds, Sequence) or isinstance(bounds, str) or len(bounds) != 2:
        raise TypeError(f"{name}: got {bounds!r}, expected two numbers")
    low, high = (check_number(name, value, interval) for value in bounds)
    if low > high:
        raise ValueError(f"{name}: got {bounds}, expected the lower number first")


def _check_waveforms(waveforms: Any) -> list[np.ndarray]:
    if not isinstance(waveforms, Sequence) or isinstance(waveforms, str):
        raise TypeError(f"waveforms: got {type(waveforms).__name__}, expected a list of arrays [N]")
    if not waveforms:
        raise ValueError("waveforms: got none, expected at least one array [N]")
    return [check_waveform("waveforms", waveform) for waveform in waveforms]


def _batch(
    generator: np.random.Generator, clean: Sequence[np.ndarray], voices: np.ndarray, ratios: np.ndarray
) -> Batch:
    kinds = np.arange(len(clean)) % len(NOISES)
    lengths = np.array([len(waveform) for waveform in clean], np.int32)
    inputs, targets = np.zeros((2, len(clean), lengths.max(), 1), np.float32)
    for row, waveform in enumerate(clean):
        noise = _noise(generator, NOISES[kinds[row]], len(waveform), voices)
        inputs[row, : lengths[row], 0] = mix(waveform, noise, float(ratios[row]))
        targets[row, : lengths[row], 0] = waveform
    return {
        "inputs": inputs,
        "targets": targets,
        "lengths": lengths,
        "snr": ratios.astype(np.float32),
        "noise": kinds.astype(np.int32),
    }


def _noise(generator: np.random.Generator, kind: str, samples: int, voices: np.ndarray) -> np.ndarray:
    if kind == "babble":
        return add_voices(generator, voices, samples, VOICES)
    return colored_noise(generator, samples, exponent={"white": 0.0, "pink": 1.0}[kind])
