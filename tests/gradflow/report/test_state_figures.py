"""Figures of spectra and gates show what they are given."""

from typing import Any, NamedTuple

import numpy as np

from dlcore.gradflow.report import state_figures


def labels(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_exponents_stand_in_their_order(drawn):
    axes = drawn(state_figures.plot_spectra({"gru": [-1.0, 0.5, -np.inf, -0.25]})).axes[0]
    spectrum, lost, zero = axes.lines
    np.testing.assert_allclose(spectrum.get_xdata(), [0.125, 0.375, 0.625, 0.875])
    np.testing.assert_array_equal(spectrum.get_ydata(), [0.5, -0.25, -1.0, np.nan])
    assert lost.get_xdata().tolist() == [0.875]
    assert zero.get_ydata() == [0, 0]
    assert labels(axes) == ["gru: largest +0.5", "-inf: a derivative of exactly 0"]


class Gate(NamedTuple):
    mean: Any
    open: Any
    closed: Any
    mean_log: Any


def gate(values):
    """Of one row, that ends before the last step."""
    values = np.array([values, values, np.full(len(values), np.nan)])
    with np.errstate(divide="ignore"):
        return Gate(
            values,
            np.where(values > 0.95, 1, values * 0),
            np.where(values < 0.05, 1, values * 0),
            np.log(values),
        )


def test_gates_are_sorted_by_their_own_half_life(drawn):
    figure = drawn(
        state_figures.plot_gates(
            {"forget": gate([0.5, 0.99, 0]), "input": gate([0.5, 0.01, 1])}, "forget", 57.0
        )
    )
    first, second, saturation, half_lives = figure.axes[:4]
    np.testing.assert_array_equal(first.images[0].get_array()[:, :2], [[0.99, 0.99], [0.5, 0.5], [0, 0]])
    np.testing.assert_array_equal(second.images[0].get_array()[:, 0], [0.01, 0.5, 1])
    np.testing.assert_allclose(
        [bar.get_height() for bar in saturation.patches], [1 / 3, 1 / 3, -1 / 3, -1 / 3]
    )
    points, true = half_lives.lines
    np.testing.assert_allclose(points.get_xdata(), [np.log(2) / -np.log(0.99), 1])
    assert true.get_xdata() == [57.0, 57.0]
    assert "of the gradient: 57" in labels(half_lives)


def test_a_gradient_that_does_not_decay_is_said(drawn):
    figure = drawn(state_figures.plot_gates({"update": gate([1.0, 1.0])}, "update", np.inf))
    assert "the gradient does not decay" in labels(figure.axes[2])
