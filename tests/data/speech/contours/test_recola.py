"""RECOLA's three layouts are read from generated trees, aligned as its authors did; faults are named."""

import numpy as np
import pytest
from scipy.io import wavfile

from dlcore.data.speech.contours.gold_standard import gold_standard
from dlcore.data.speech.contours.recola import CONTOURS, SPEAKERS, recola

RATE, TIMES = 100, np.arange(7503) * 0.04
CHOSEN = {"train": (15, 16), "dev": (14,), "test": (13, 20)}


def sound(path, rate=RATE, seconds=300):
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = np.arange(seconds * rate) * 25 // rate  # a sample has the number of its frame
    wavfile.write(path, rate, frames.astype(np.int16))


def ratings(contour, speaker, raters):
    """The ratings of each rater at each time: rater r is at r / 10 plus what the time gives."""
    moves = np.sin(TIMES * (speaker % 7 + 1) / 5 + len(contour))
    return moves[:, None] + np.arange(raters) / 10


def write_table(path, names, columns, end="\n", delimiter=";"):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [delimiter.join(names), *(delimiter.join(f"{x:.6f}" for x in row) for row in columns)]
    path.write_bytes("".join(line + end for line in lines).encode())


@pytest.fixture(params=["corpus", "avec", "centered"])
def tree(request, tmp_path):
    """A folder of RECOLA in one of the three layouts, with the numbers of people."""
    for part, speakers in CHOSEN.items():
        for place, speaker in enumerate(speakers, 1):
            if request.param == "avec":
                sound(tmp_path / "recordings_audio" / f"{part}_{place}.wav")
            else:
                folder = {"corpus": "RECOLA-Audio-recordings", "centered": "Audio_recordings_WAV"}
                sound(tmp_path / folder[request.param] / f"P{speaker}.wav")
            for contour in CONTOURS:
                write_ratings(tmp_path, request.param, part, place, speaker, contour)
    return tmp_path, {"corpus": 6, "avec": 1, "centered": 6}[request.param]


def write_ratings(root, layout, part, place, speaker, contour):
    if layout == "corpus":
        path = root / "RECOLA-Annotation" / "emotional_behaviour" / contour / f"P{speaker}.csv"
        names = ["time", "FM1 ", "FM2 ", "FM3 ", "FF1 ", "FF2 ", "FF3"]
        write_table(path, names, np.c_[TIMES, ratings(contour, speaker, 6)])
    elif layout == "centered":
        path = root / "Ratings_affective_behaviour_CCC_centred" / contour / f"P{speaker}.csv"
        names = ["time", *(f"R{number}" for number in range(6))]
        write_table(path, names, np.c_[TIMES, ratings(contour, speaker, 6)], delimiter=",")
    elif part != "test":
        path = root / "ratings_gold_standard" / contour / f"{part}_{place}.arff"
        path.parent.mkdir(parents=True, exist_ok=True)
        head = ["@relation gold", "", "@attribute Instance_name string", "@attribute frameTime numeric"]
        head += ["@attribute GoldStandard numeric", "", "@data"]
        values = ratings(contour, speaker, 1)[:7501, 0]
        rows = [f"'{part}_{place}',{t:.2f},{v:.6f}" for t, v in zip(TIMES, values, strict=False)]
        path.write_bytes("\r\n".join(head + rows + [""]).encode())
        (path.parent / f"{part}_all.arff").write_text("@data\n")


def test_each_layout_has_its_parts_aligned(tree):
    folder, raters = tree
    parts = recola(folder, RATE)
    for part, speakers, recordings in zip(CHOSEN, CHOSEN.values(), parts, strict=True):
        assert len(recordings) == len(speakers)
        for speaker, recording in zip(speakers, recordings, strict=True):
            assert recording.targets.shape == (7500, 2)
            assert recording.waveform.shape == (7500 * 4,)
            heard = np.round(recording.waveform.reshape(7500, 4) * 2**15)
            assert (heard == np.arange(7500)[:, None]).all()
            if raters == 1 and part == "test":
                assert np.isnan(recording.targets).all()
                continue
            for contour, found in zip(CONTOURS, recording.targets.T, strict=True):
                expected = gold_standard(ratings(contour, speaker, raters)[1:7501])
                np.testing.assert_allclose(found, expected, atol=2e-6)


def test_the_split_of_the_authors_is_disjoint():
    assert {part: len(speakers) for part, speakers in SPEAKERS.items()} == {
        "train": 16,
        "dev": 15,
        "test": 15,
    }
    assert len({number for speakers in SPEAKERS.values() for number in speakers}) == 46


@pytest.mark.parametrize("tree", ["corpus"], indirect=True)
class TestFaults:
    """Each fault is one error that names the file and what is wrong."""

    def path(self, tree):
        return tree[0] / "RECOLA-Annotation" / "emotional_behaviour" / "valence" / "P16.csv"

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            (
                "\n0.080000;",
                "\n0.095000;",
                r"got the time 0\.095 s in place of 0\.08 s, expected a line each 0\.04",
            ),
            ("\n0.080000;", "\n0.080000;1.5;", "got '0.080000;1.5;.*expected the 7 columns time, FM1"),
            ("time;", "when;", "got the columns when, FM1, .*expected time among them"),
        ],
    )
    def test_a_damaged_table(self, tree, old, new, message):
        path = self.path(tree)
        path.write_text(path.read_text().replace(old, new, 1))
        with pytest.raises(ValueError, match=rf"P16\.csv: {message}"):
            recola(tree[0], RATE)

    def test_a_rating_that_is_not_known(self, tree):
        path = self.path(tree)
        lines = path.read_text().split("\n")
        for missing in ("nan", ""):
            cells = lines[100].split(";")
            path.write_text(
                "\n".join([*lines[:100], ";".join([*cells[:3], missing, *cells[4:]]), *lines[101:]])
            )
            with pytest.raises(ValueError, match=rf"P16\.csv: got '{missing}', expected a number"):
                recola(tree[0], RATE)

    def test_a_table_that_ends_early(self, tree):
        path = self.path(tree)
        path.write_text("\n".join(path.read_text().split("\n")[:7000]))
        with pytest.raises(ValueError, match=r"P16\.csv: got 6998 lines after 0 s, expected 7500"):
            recola(tree[0], RATE)

    def test_a_recording_that_ends_early(self, tree):
        sound(tree[0] / "RECOLA-Audio-recordings" / "P14.wav", seconds=200)
        with pytest.raises(ValueError, match=r"P14\.wav: got 200\.00 s, expected 300 s"):
            recola(tree[0], RATE)

    def test_a_missing_table(self, tree):
        self.path(tree).unlink()
        with pytest.raises(FileNotFoundError, match=r"P16\.csv"):
            recola(tree[0], RATE)

    def test_speakers_in_two_parts_or_in_none(self, tree):
        with pytest.raises(ValueError, match="speakers: got 14 in train and in dev"):
            recola(tree[0], RATE, {**SPEAKERS, "train": (14, 15)})
        with pytest.raises(ValueError, match="folder: got no recording of the part dev"):
            recola(tree[0], RATE, {**SPEAKERS, "dev": (99,)})

    def test_another_rate_is_resampled(self, tree):
        sound(tree[0] / "RECOLA-Audio-recordings" / "P15.wav", rate=200)
        assert recola(tree[0], RATE)[0][0].waveform.shape == (30000,)


@pytest.mark.parametrize(
    ("folder", "named"), [(None, "got none"), ("nothing", "expected one with RECOLA-Ann")]
)
def test_a_missing_folder_is_named_with_what_serves_instead(tmp_path, folder, named):
    with pytest.raises(FileNotFoundError, match=f"folder: .*{named}.*synthetic speech"):
        recola(folder and tmp_path / folder)
