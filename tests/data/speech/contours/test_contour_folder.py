"""A folder of audio files and tables becomes recordings; what does not belong together is named."""

import numpy as np
import pytest
import soundfile

import dlcore as dl
from dlcore.data.speech.contours.contour_folder import PARTS, contour_folder

RATE = 1000


@pytest.fixture(name="folder")
def tree(tmp_path):
    for part in PARTS:
        (tmp_path / part).mkdir()
        for name, ending, frames in (("a", "wav", 50), ("b", "flac", 60)):
            soundfile.write(tmp_path / part / f"{name}.{ending}", np.full(frames * 40 + 7, 0.5), RATE)
            write_table(tmp_path / part / f"{name}.csv", frames)
    return tmp_path


def write_table(path, frames, names=("joy", "calm")):
    times = np.arange(1, frames + 1) / 25
    rows = zip(times, times, -times, strict=True)
    path.write_text("\n".join([f"time, {', '.join(names)}", *(", ".join(map(str, row)) for row in rows)]))


def test_each_part_has_its_recordings(folder):
    names, parts = contour_folder(folder, RATE)
    assert names == ("joy", "calm")
    for recordings in parts:
        assert [(one.name, one.waveform.shape, one.targets.shape) for one in recordings] == [
            ("a", (2000,), (50, 2)),
            ("b", (2400,), (60, 2)),
        ]
        assert recordings[0].targets[4].tolist() == pytest.approx([0.2, -0.2])
    assert dl.data.contour_sequences(parts[0], 25)["inputs"].shape == (5, 1000, 1)


def test_faults_are_named(folder):
    write_table(folder / "dev" / "b.csv", 60, names=("joy", "anger"))
    with pytest.raises(ValueError, match=r"b\.csv: got the contours joy, anger, expected joy, calm"):
        contour_folder(folder, RATE)
    write_table(folder / "dev" / "b.csv", 20)
    with pytest.raises(ValueError, match=r"b\.flac: got 2\.41 s of sound and 0\.80 s of contours"):
        contour_folder(folder, RATE)
    (folder / "dev" / "b.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"b\.flac without b\.csv"):
        contour_folder(folder, RATE)
    for path in (folder / "dev").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"got no recording in .*dev"):
        contour_folder(folder, RATE)
    with pytest.raises(
        FileNotFoundError, match=r"got no .*nothing/train, expected the folders train, dev, test"
    ):
        contour_folder(folder / "nothing", RATE)
    with pytest.raises(FileNotFoundError, match="folder: got none"):
        contour_folder(None, RATE)
