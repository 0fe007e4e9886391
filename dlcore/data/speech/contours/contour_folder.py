"""Recordings of the user's own: audio files, each with a table of contours."""

from pathlib import Path

import numpy as np

from dlcore.data.speech.audio_files import read_audio
from dlcore.data.speech.contours.contour_tables import read_contours
from dlcore.data.speech.contours.recordings import FRAME_RATE, Recording, samples_per_frame
from dlcore.utils.files import user_path

PARTS = ("train", "dev", "test")
AUDIO = (".wav", ".flac", ".ogg", ".mp3", ".aiff")


def contour_folder(
    folder: str | Path | None, rate: int = 16000
) -> tuple[tuple[str, ...], tuple[list[Recording], list[Recording], list[Recording]]]:
    """Recordings of a folder with the folders ``train``, ``dev`` and ``test``.

    Each of these has audio files (.wav, .flac, .ogg, .mp3, .aiff) and for each one a table with the same name, such as
    ``a.wav`` and ``a.csv``, see `contour_tables.read_contours`. All tables have the same contours. A recording and its
    table differ by less than a second, and the longer one is cut.

    Args:
        folder: the folder. None stands for a folder that was not given.
        rate: the sampling rate in Hz to which the recordings are brought, a multiple of 25.

    Returns:
        The names of the contours, and ``(train, dev, test)``.

    Raises:
        FileNotFoundError: the folder is not given, or one of the three folders or the table of a recording is missing.
        ValueError: a part has no recording; tables have different contours; lengths differ by a second or more; or
            as in `read_audio` and `read_contours`.
        TypeError: the folder is no path, or the rate is not an integer.
        ModuleNotFoundError: soundfile is not installed.
    """
    if folder is None:
        raise FileNotFoundError("folder: got none, expected one with the folders train, dev and test")
    root = user_path("folder", folder)
    samples_per_frame(rate)  # refuses a bad rate before a file is read
    paths = {part: _audio_files(root / part) for part in PARTS}
    names = read_contours(paths["train"][0].with_suffix(".csv")).names
    train, dev, test = ([_recording(path, rate, names) for path in paths[part]] for part in PARTS)
    return names, (train, dev, test)


def _audio_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"folder: got no {folder}, expected the folders {', '.join(PARTS)}")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in AUDIO)
    if not found:
        raise ValueError(f"folder: got no recording in {folder}, expected files {', '.join(AUDIO)}")
    for path in found:
        if not path.with_suffix(".csv").is_file():
            raise FileNotFoundError(f"folder: got {path} without {path.stem}.csv, expected its contours")
    return found


def _recording(path: Path, rate: int, names: tuple[str, ...]) -> Recording:
    table, waveform = read_contours(path.with_suffix(".csv")), read_audio(path, rate)
    if table.names != names:
        raise ValueError(
            f"{path.with_suffix('.csv')}: got the contours {', '.join(table.names)}, expected {', '.join(names)}"
        )
    samples, frames = samples_per_frame(rate), len(table.values)
    if abs(len(waveform) / samples - frames) >= FRAME_RATE:
        raise ValueError(
            f"{path}: got {len(waveform) / rate:.2f} s of sound and {frames / FRAME_RATE:.2f} s of contours, expected "
            "the same"
        )
    frames = min(frames, len(waveform) // samples)
    targets = table.values[:frames].astype(np.float32)
    return Recording(path.stem, waveform[: frames * samples], targets)
