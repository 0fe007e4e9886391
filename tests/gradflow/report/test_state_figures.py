"""Figures of spectra and gates show the numbers that they are given."""

import numpy as np
import pytest

from dlcore.gradflow.measures.gates import Gate
from dlcore.gradflow.report.state_figures import plot_gates, plot_spectra
from tests.helpers.flows import legend


def test_exponents_are_in_order(drawn):
    axes = drawn(plot_spectra({"gru": [-1.0, 0.5, -np.inf, -0.25]})).axes[0]
    spectrum, lost, zero = axes.lines
    np.testing.assert_allclose(spectrum.get_xdata(), [0.125, 0.375, 0.625, 0.875])
    np.testing.assert_array_equal(spectrum.get_ydata(), [0.5, -0.25, -1.0, np.nan])
    assert lost.get_xdata().tolist() == [0.875]
    assert zero.get_ydata() == [0, 0]
    assert legend(axes) == ["gru: largest +0.5", "-inf: a direction that is lost"]


def test_rounding_errors_do_not_fill_the_axis():
    axes = plot_spectra({"identity": [5e-8, 1e-8, -3e-9]}).axes[0]
    assert axes.get_ylim() == (-0.01, 0.01)


def test_a_part_of_the_spectrum_has_its_place_in_the_whole():
    axes = plot_spectra({"gru": [0.5, -0.25]}, sizes={"gru": 4}).axes[0]
    np.testing.assert_allclose(axes.lines[0].get_xdata(), [0.125, 0.375])


def gate(values):
    """A gate of a single row, which ends before the last step."""
    values = np.array([values, values, np.full(len(values), np.nan)])
    with np.errstate(divide="ignore"):
        return Gate(
            mean=values,
            open=np.where(values > 0.95, 1, values * 0),
            closed=np.where(values < 0.05, 1, values * 0),
            mean_log=np.log(values),
        )


def test_units_are_sorted_by_the_half_life_of_their_gate(drawn):
    gates = {"forget": gate([0.5, 0.99, 0]), "input": gate([0.5, 0.01, 1])}
    figure = drawn(plot_gates(gates, "forget", 57.0))
    first, second, saturation, half_lives = figure.axes[:4]
    np.testing.assert_array_equal(first.images[0].get_array()[:, :2], [[0.99, 0.99], [0.5, 0.5], [0, 0]])
    np.testing.assert_array_equal(second.images[0].get_array()[:, 0], [0.01, 0.5, 1])
    heights = [bar.get_height() for bar in saturation.patches]
    np.testing.assert_allclose(heights, [1 / 3, 1 / 3, -1 / 3, -1 / 3])
    points, true = half_lives.lines
    np.testing.assert_allclose(points.get_xdata(), [np.log(2) / -np.log(0.99), 1])
    assert true.get_xdata() == [57.0, 57.0]
    assert legend(half_lives) == ["by each forget gate alone", "of the gradient: 57"]


@pytest.mark.parametrize(
    ("half_life", "label"),
    [(np.inf, "the gradient does not decay"), (np.nan, "half-life of the gradient not known")],
)
def test_a_half_life_that_is_not_a_number_is_in_the_legend(half_life, label):
    figure = plot_gates({"update": gate([1.0, 1.0])}, "update", half_life)
    assert label in legend(figure.axes[2])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: plot_spectra(None), TypeError, "exponents: got None, expected a dict of arrays"),
        (lambda: plot_spectra({"a": [1.0]}, [4]), TypeError, "sizes: got"),
        (
            lambda: plot_gates({"forget": gate([0.5])}, "update", 1.0),
            ValueError,
            "keeping: got 'update', expected \"f",
        ),
        (lambda: plot_gates({"forget": [0.5]}, "forget", 1.0), TypeError, r"statistics\['forget'\]: got"),
        (lambda: plot_gates({"forget": gate([0.5])}, "forget", None), TypeError, "half_life: got None"),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_the_range_of_several_rows_is_a_band(drawn):
    axes = drawn(plot_spectra({"gru": [0.5, -np.inf]}, ranges={"gru": [[0.1, -np.inf], [0.9, -2.0]]})).axes[0]
    (band,) = axes.collections
    np.testing.assert_allclose(band.get_paths()[0].get_extents().intervaly, [0.1, 0.9])
    with pytest.raises(ValueError, match=r"ranges.*got shape"):
        plot_spectra({"gru": [0.5]}, ranges={"gru": [[0.1, 1.0], [0.9, 2.0]]})
