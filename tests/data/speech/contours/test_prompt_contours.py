"""The contours of prompts are smooth, late and standardized by the training part."""

import numpy as np
import pytest

from dlcore.data.speech.contours import prompt_contours as module
from dlcore.data.speech.contours.recordings import Recording
from tests.helpers.packages import needs_package


def test_gaps_lie_on_the_line_between_their_neighbors():
    contour = np.array([np.nan, 2.0, np.nan, np.nan, 5.0, np.nan])
    assert module.fill_gaps(contour).tolist() == pytest.approx([2, 2, 3, 4, 5, 5])
    assert np.isnan(module.fill_gaps(np.full(3, np.nan))).all()


def test_a_contour_is_the_mean_of_a_second_and_comes_later():
    step = np.repeat([[0.0], [1.0]], 50, axis=0)
    smoothed = module.smooth(step, 1.0)
    assert smoothed[[37, 38, 50, 62, 63], 0].tolist() == pytest.approx([0, 1 / 25, 13 / 25, 1, 1])
    late = module.delay(smoothed, 0.4)
    assert np.isnan(late[:10]).all()
    np.testing.assert_allclose(late[10:], smoothed[:-10])


def test_only_the_training_part_is_measured():
    part = lambda values: [Recording("a", np.zeros(4, np.float32), np.array(values)[:, None])]
    train, dev = module.standardize_contours([part([1.0, 3.0, np.nan]), part([5.0, 1.0])])
    assert train[0].targets[:2, 0].tolist() == [-1, 1]
    assert dev[0].targets[:, 0].tolist() == [3, -1]


@pytest.mark.slow
@needs_package("asterisk-core-sounds-it-wav")
def test_recordings_of_real_speech():
    pytest.importorskip("librosa")
    recordings = module.prompt_contours("it", seconds=10.0, limit=20)
    for recording in recordings:
        assert recording.waveform.shape == (80_000,)
        assert recording.targets.shape == (250, 2)
        assert np.isfinite(recording.targets[10:]).all()
        loudness, semitones = recording.targets[10:].T
        assert ((loudness > -60) & (loudness < -5)).all()
        assert ((semitones > 12) & (semitones < 50)).all()
    with pytest.raises(ValueError, match=r"seconds: got 100000\.0, expected at most"):
        module.prompt_contours("it", seconds=1e5, limit=20)
