"""RECOLA, people who solve a task together on the phone, with ratings of arousal and valence (Ringeval et al. 2013).

The corpus needs a license and is on the user's disk. Three layouts are known:

- the corpus itself: ``RECOLA-Annotation/emotional_behaviour/arousal/P16.csv``, a column for each of six people, and
  ``RECOLA-Audio-recordings/P16.wav``;
- the challenge AVEC 2016: ``ratings_gold_standard/arousal/train_1.arff`` and ``recordings_audio/train_1.wav``;
- centered ratings: ``Ratings_affective_behaviour_CCC_centred/arousal/P16.csv`` and ``Audio_recordings_WAV/P16.wav``.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dlcore.data.speech.audio_files import read_audio
from dlcore.data.speech.contours.contour_tables import read_contours
from dlcore.data.speech.contours.gold_standard import gold_standard
from dlcore.data.speech.contours.recordings import FRAME_RATE, Recording, samples_per_frame
from dlcore.utils.files import user_path

CONTOURS = ("arousal", "valence")
SECONDS = 300
SPEAKERS = {
    "train": (15, 16, 17, 18, 21, 23, 25, 37, 39, 41, 46, 50, 51, 55, 56, 60),
    "dev": (14, 19, 24, 26, 28, 30, 34, 40, 42, 43, 44, 45, 52, 64, 65),
    "test": (13, 20, 22, 32, 38, 47, 48, 49, 53, 54, 57, 58, 59, 62, 63),
}
"""The split of the authors of the end-to-end system (Trigeorgis et al. 2016) by the numbers of the speakers."""


class Layout(NamedTuple):
    """Where the files of a layout are.

    Attributes:
        ratings: the folder of the folders ``arousal`` and ``valence``.
        audio: the folder of the recordings.
        ending: of the files with ratings.
    """

    ratings: str
    audio: str
    ending: str


LAYOUTS = (
    Layout("RECOLA-Annotation/emotional_behaviour", "RECOLA-Audio-recordings", ".csv"),
    Layout("ratings_gold_standard", "recordings_audio", ".arff"),
    Layout("Ratings_affective_behaviour_CCC_centred", "Audio_recordings_WAV", ".csv"),
)


def recola(
    folder: str | Path | None, rate: int = 16000, speakers: Mapping[str, Sequence[int]] = SPEAKERS
) -> tuple[list[Recording], list[Recording], list[Recording]]:
    """RECOLA's recordings of 5 minutes with their gold standards of arousal and valence, 7500 frames of 40 ms each.

    The rating at time t belongs to the sound from t - 0.04 s to t, as the authors of the end-to-end system have it; so
    the rating at 0 s and those after 300 s are left out. Ratings of several people become a `gold_standard`.

    Args:
        folder: the folder of one of the three layouts above; None stands for a folder that was not given.
        rate: the sampling rate in Hz to which the recordings are brought, a multiple of 25.
        speakers: the numbers of the speakers of ``train``, ``dev`` and ``test``; AVEC's files have their part in their
            names. Speakers who are not in the folder are left out, as the public corpus has 23 of 46.

    Returns:
        ``(train, dev, test)``, three lists. AVEC has no ratings of its test part, where the targets are NaN.

    Raises:
        FileNotFoundError: the folder is not given or has none of the layouts, or a file of a speaker is missing.
        ValueError: a part has no speaker, a speaker is in two parts, or a file is damaged: its times are not 0.04 s
            apart, it ends before 300 s, or a rating is missing.
        TypeError: the folder is no path, or the rate is not an integer.
        ModuleNotFoundError: soundfile is not installed.
    """
    root, layout = _find_layout(folder)
    samples_per_frame(rate)  # refuses a bad rate before a file is read
    names = _names(root, layout, speakers)
    read = lambda name: Recording(name, _waveform(root, layout, name, rate), _targets(root, layout, name))
    train, dev, test = ([read(name) for name in names[part]] for part in SPEAKERS)
    return train, dev, test


def _find_layout(folder: str | Path | None) -> tuple[Path, Layout]:
    instead = "the built-in synthetic speech and launch/data prompts need no license"
    if folder is None:
        raise FileNotFoundError(f"folder: got none, expected that of RECOLA; {instead}")
    root = user_path("folder", folder)
    for layout in LAYOUTS:
        if (root / layout.ratings).is_dir() and (root / layout.audio).is_dir():
            return root, layout
    known = "; ".join(f"{layout.ratings} and {layout.audio}" for layout in LAYOUTS)
    raise FileNotFoundError(f"folder: got {root}, expected one with {known}; {instead}")


def _names(root: Path, layout: Layout, speakers: Mapping[str, Sequence[int]]) -> dict[str, list[str]]:
    """The names of the recordings of each part."""
    there = {path.stem for path in (root / layout.audio).glob("*.wav")}
    if layout.ending == ".arff":
        names = {part: sorted(name for name in there if name.startswith(f"{part}_")) for part in SPEAKERS}
    else:
        _check_disjoint(speakers)
        names = {
            part: [f"P{number}" for number in speakers[part] if f"P{number}" in there] for part in SPEAKERS
        }
    for part, found in names.items():
        if not found:
            raise ValueError(f"folder: got no recording of the part {part} in {root / layout.audio}")
    return names


def _check_disjoint(speakers: Mapping[str, Sequence[int]]) -> None:
    seen: dict[int, str] = {}
    for part in SPEAKERS:
        for number in speakers[part]:
            if number in seen:
                raise ValueError(
                    f"speakers: got {number} in {seen[number]} and in {part}, expected each speaker in one part"
                )
            seen[number] = part


def _waveform(root: Path, layout: Layout, name: str, rate: int) -> np.ndarray:
    path = root / layout.audio / f"{name}.wav"
    waveform, expected = read_audio(path, rate), SECONDS * rate
    if len(waveform) < expected:
        raise ValueError(f"{path}: got {len(waveform) / rate:.2f} s, expected {SECONDS} s")
    return waveform[:expected]


def _targets(root: Path, layout: Layout, name: str) -> np.ndarray:
    """The gold standard of a recording, float32 ``[7500, 2]``; NaN where AVEC has none."""
    paths = [root / layout.ratings / contour / f"{name}{layout.ending}" for contour in CONTOURS]
    if layout.ending == ".arff" and name.startswith("test_") and not any(path.exists() for path in paths):
        return np.full((SECONDS * FRAME_RATE, len(CONTOURS)), np.nan, np.float32)
    contours = [gold_standard(read_contours(path, SECONDS * FRAME_RATE).values) for path in paths]
    return np.stack(contours, axis=1).astype(np.float32)
