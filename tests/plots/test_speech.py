"""Spectrograms show the tones of a waveform; gains have one line for each method."""

import numpy as np
import pytest

from dlcore.plots import gain_by_snr, spectrograms


def tone(hertz, samples=4000):
    return np.sin(2 * np.pi * hertz * np.arange(samples) / 8000)


def test_the_loudest_row_is_that_of_the_tone():
    figure = spectrograms({"low": tone(500), "high": tone(3000)}, 8000, "two tones")
    for axes, (name, hertz) in zip(figure.axes, (("low", 500), ("high", 3000)), strict=False):
        (mesh,) = axes.collections
        decibels = mesh.get_array()
        frequency = np.linspace(0, 4, len(decibels))[decibels.mean(axis=1).argmax()]
        assert axes.get_title() == name
        assert frequency == pytest.approx(hertz / 1000, abs=0.05)
        assert decibels.max() == 0
    assert figure._suptitle.get_text() == "two tones"


def test_short_and_silent_waveforms_are_drawn():
    assert len(spectrograms({"short": [0.5, -0.5], "silent": np.zeros(300)}, 8000).axes) == 3


def test_gains_are_lines():
    figure = gain_by_snr([-5, 0], {"model": [8.0, 6.0], "other": [1.0, 2.0]})
    model, other, zero = figure.axes[0].lines
    assert (model.get_label(), list(model.get_ydata())) == ("model", [8, 6])
    assert (other.get_label(), list(other.get_xdata())) == ("other", [-5, 0])
    assert set(zero.get_ydata()) == {0}


@pytest.mark.parametrize("gains", [{}, {"model": [1.0]}])
def test_another_number_of_gains_is_refused(gains):
    with pytest.raises(ValueError, match=r"gains: got .* values, expected at least one method with 2"):
        gain_by_snr([0, 5], gains)


def test_no_waveform_is_refused():
    with pytest.raises(ValueError, match="waveforms: got none"):
        spectrograms({}, 8000)
