"""Figures of sweeps show every configuration where it belongs."""

import numpy as np
import pytest

from dlcore.gradflow.report import sweep_figures
from dlcore.gradflow.report.drawing import LOST, ZERO
from dlcore.gradflow.report.sweep_figures import Grid

LN10 = np.log(10)


def grid(lost=None):
    scales, lags = np.array([0.5, 1.0, 2.0]), np.array([10, 20, 30, 40])
    log_gains = np.outer(np.log(scales), lags)
    if lost is not None:
        log_gains[0, 1] = lost
    return Grid(scales, lags, log_gains, np.log(scales / 1.5)[:, None])


def test_colors_are_centered_at_no_change(drawn):
    figure = drawn(
        sweep_figures.plot_gain_map({"tanh": grid(), "gru": grid()._replace(log_gains=np.ones((3, 4)))})
    )
    first, second = figure.axes[:2]
    limit = 40 * np.log10(2)
    for axes in (first, second):
        np.testing.assert_allclose(axes.collections[0].get_clim(), (-limit, limit))
    np.testing.assert_allclose(first.collections[0].get_array(), grid().log_gains / LN10)
    assert [first.get_title(), second.get_title()] == ["tanh", "gru"]


def test_the_dashed_line_is_where_the_exponent_is_0(drawn):
    axes = drawn(sweep_figures.plot_gain_map({"tanh": grid()})).axes[0]
    (dashed,) = (line for line in axes.lines if line.get_linestyle() == "--")
    low, high = np.log(1 / 1.5), np.log(2 / 1.5)
    np.testing.assert_allclose(dashed.get_ydata(), 1 + low / (low - high))


@pytest.mark.parametrize(("lost", "color"), [(-np.inf, ZERO), (np.nan, LOST), (np.inf, LOST)])
def test_lost_cells_have_colors_of_their_own(drawn, lost, color):
    from matplotlib.colors import to_rgba

    axes = drawn(sweep_figures.plot_gain_map({"tanh": grid(lost)})).axes[0]
    assert np.ma.getmaskarray(axes.collections[0].get_array())[0, 1]
    marked = axes.collections[1]
    assert np.argwhere(~np.ma.getmaskarray(marked.get_array())).tolist() == [[0, 1]]
    assert marked.cmap(0.5) == to_rgba(color)


def test_many_panels_one_scale_and_nothing_are_drawn(drawn):
    one = Grid([1.0], [1, 2], [[-np.inf, -np.inf]], [[np.nan]])
    assert len(drawn(sweep_figures.plot_gain_map({str(n): one for n in range(5)})).axes) == 8 + 1
    drawn(sweep_figures.plot_gain_map({}))


def test_exponents_stand_over_their_scales_the_largest_with_the_name(drawn):
    spectrum = np.array([[-1.0, -2.0], [0.5, -0.5], [1.0, -np.inf]])
    axes = drawn(
        sweep_figures.plot_exponents({"tanh": grid()._replace(exponents=spectrum), "gru": grid()})
    ).axes[0]
    lines = {line.get_label(): line.get_xydata() for line in axes.lines}
    np.testing.assert_allclose(lines["tanh"], [[0.5, -1], [1, 0.5], [2, 1]])
    np.testing.assert_allclose(lines["gru"][:, 1], np.log(np.array([0.5, 1, 2]) / 1.5))
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [-2, -0.5, np.nan])


def test_success_stands_over_the_reach(drawn):
    measured = {"tanh": ([0.02, np.nan], [0.1, 0.2]), "lstm": ([2.0, np.inf], [0.9, 1.0])}
    axes = drawn(sweep_figures.plot_success(measured, chance=0.1)).axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["tanh, 1 not known"].get_xydata().tolist() == [[0.02, 0.1]]
    assert lines["lstm, 1 without decay at the right"].get_xydata().tolist() == [[2.0, 0.9]]
    (edge,) = (line for line in axes.lines if line.get_marker() == ">" and len(line.get_xdata()))
    assert edge.get_ydata().tolist() == [1.0]
    assert lines["chance: 0.1"].get_ydata() == [0.1, 0.1]
