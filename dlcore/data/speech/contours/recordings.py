"""Recordings with contours, numbers for each frame, and the batches of sequences that are cut from them.

The fields of a batch are ``inputs [B, N, 1]``, waveforms; ``targets [B, T, K]``, contours, N / T samples for each
frame; ``mask [B, T]``, False where a recording has ended or a number is unknown; ``lengths [B]``, the numbers of valid
samples; and ``recordings [B]``, the index of the recording that each row is a part of.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from dlcore.data.batch import Batch, check_generator
from dlcore.data.speech.wav import check_waveform
from dlcore.utils.checks import check_instance, check_integer

FRAME_RATE = 25
"""Frames in a second, the rate at which people rated RECOLA."""


def samples_per_frame(rate: int, minimum: int = FRAME_RATE) -> int:
    """The number of samples of a frame at a sampling rate in Hz.

    Raises:
        TypeError: the rate is not an integer.
        ValueError: it is below the minimum, or no multiple of 25.
    """
    if check_integer("rate", rate, minimum) % FRAME_RATE:
        raise ValueError(f"rate: got {rate}, expected a multiple of {FRAME_RATE}")
    return rate // FRAME_RATE


class Recording(NamedTuple):
    """A waveform and its contours.

    Attributes:
        name: the name of the recording.
        waveform: float32 ``[T M]``, M samples for each frame.
        targets: float32 ``[T, K]``, K contours; NaN where they are not known.
    """

    name: str
    waveform: np.ndarray
    targets: np.ndarray


@dataclass(frozen=True)
class ContourWindows:
    """A task for `SyntheticBatches`: sequences of some frames from random places of recordings.

    A recording is drawn by its number of places, so that every place has the same chance. A recording that is shorter
    than a sequence is padded.

    Attributes:
        recordings: see `Recording`; all have as many samples a frame and as many contours.
        frames: T, the number of frames of a sequence.

    Raises:
        TypeError: the recordings are no list of `Recording`, or the frames are not an integer.
        ValueError: there is no recording; a waveform is not a multiple of its frames; recordings differ in the samples
            of a frame or the number of contours; or there is less than 1 frame.
    """

    recordings: Sequence[Recording]
    frames: int

    def __post_init__(self) -> None:
        check_recordings(self.recordings)
        check_integer("frames", self.frames)

    def __call__(self, generator: np.random.Generator, examples: int) -> Batch:
        """A batch of ``examples`` sequences."""
        check_generator(generator)
        check_integer("examples", examples)
        places = np.array([max(len(part.targets) - self.frames, 0) + 1 for part in self.recordings])
        chosen = generator.choice(len(places), examples, p=places / places.sum())
        starts = generator.integers(places[chosen])
        return cut(self.recordings, chosen, starts, self.frames)


def contour_sequences(recordings: Sequence[Recording], frames: int) -> Batch:
    """All sequences of recordings, one after the other, for an evaluation; the last one of each is padded.

    Args:
        recordings: as in `ContourWindows`.
        frames: as in `ContourWindows`.

    Raises:
        TypeError, ValueError: as in `ContourWindows`.

    >>> batch = contour_sequences([Recording("a", np.ones(10, np.float32), np.ones((5, 1), np.float32))], frames=3)
    >>> batch["inputs"].shape, batch["lengths"].tolist(), batch["mask"].tolist()
    ((2, 6, 1), [6, 4], [[True, True, True], [True, True, False]])
    """
    check_recordings(recordings)
    check_integer("frames", frames)
    starts = [np.arange(0, len(recording.targets), frames) for recording in recordings]
    chosen = np.repeat(np.arange(len(recordings)), [len(own) for own in starts])
    return cut(recordings, chosen, np.concatenate(starts), frames)


def cut(recordings: Sequence[Recording], chosen: np.ndarray, starts: np.ndarray, frames: int) -> Batch:
    """The batch of some sequences.

    Args:
        recordings: as in `ContourWindows`.
        chosen: integers ``[B]``, the recording of each row.
        starts: integers ``[B]``, the first frame of each row.
        frames: T.
    """
    samples, contours = shape_of(recordings[0])
    inputs = np.zeros((len(chosen), frames * samples, 1), np.float32)
    targets = np.full((len(chosen), frames, contours), np.nan, np.float32)
    lengths = np.zeros(len(chosen), np.int32)
    for row, (index, start) in enumerate(zip(chosen.tolist(), starts.tolist(), strict=True)):
        _, waveform, contour = recordings[index]
        part = contour[start : start + frames]
        lengths[row] = len(part) * samples
        targets[row, : len(part)] = part
        inputs[row, : lengths[row], 0] = waveform[start * samples :][: lengths[row]]
    known = np.isfinite(targets)
    return {
        "inputs": inputs,
        "targets": np.where(known, targets, 0),
        "mask": np.asarray(known.all(axis=-1)),
        "lengths": lengths,
        "recordings": chosen.astype(np.int32),
    }


def shape_of(recording: Recording) -> tuple[int, int]:
    """The number of samples of a frame, and the number of contours."""
    frames, contours = recording.targets.shape
    return len(recording.waveform) // frames, contours


def check_recordings(recordings: Any) -> None:
    """Raises the errors of `ContourWindows` for its recordings."""
    check_instance("recordings", recordings, Sequence, "a list of dl.data.Recording")
    if not recordings:
        raise ValueError("recordings: got none, expected at least one")
    for recording in recordings:
        check_instance("recordings", recording, Recording, "a list of dl.data.Recording")
        _check_recording(recording)
    shapes = {recording.name: shape_of(recording) for recording in recordings}
    first = shapes[recordings[0].name]
    for name, shape in shapes.items():
        if shape != first:
            raise ValueError(
                f"recordings: got {name} with {shape[0]} samples a frame and {shape[1]} contours, expected {first[0]} "
                f"and {first[1]}, as {recordings[0].name} has"
            )


def _check_recording(recording: Recording) -> None:
    name = f"recordings[{recording.name!r}]"
    waveform = check_waveform(name, recording.waveform)
    targets = np.asarray(recording.targets)
    if targets.ndim != 2 or targets.dtype.kind != "f" or not targets.size:
        raise ValueError(
            f"{name}: got targets of {targets.dtype} and shape {targets.shape}, expected floats [T, K], none empty"
        )
    if len(waveform) % len(targets):
        raise ValueError(
            f"{name}: got {len(waveform)} samples for {len(targets)} frames, expected a multiple of the frames"
        )
