"""Figures of sweeps show every configuration at its place."""

import numpy as np
import pytest

from dlcore.gradflow.report.sweep_figures import Grid, plot_exponents, plot_gain_map, plot_success

LN10 = np.log(10)


def grid():
    scales, lags = np.array([0.5, 1.0, 2.0]), np.array([10, 20, 30, 40])
    return Grid(scales, lags, np.outer(np.log(scales), lags), np.log(scales / 1.5)[:, None])


def test_the_colors_are_centered_at_no_change(drawn):
    figure = drawn(plot_gain_map({"tanh": grid(), "gru": grid()._replace(log_gains=np.ones((3, 4)))}))
    first, second = figure.axes[:2]
    limit = 40 * np.log10(2)
    for axes in (first, second):
        np.testing.assert_allclose(axes.collections[0].get_clim(), (-limit, limit))
    np.testing.assert_allclose(first.collections[0].get_array(), grid().log_gains / LN10)
    assert [first.get_title(), second.get_title()] == ["tanh", "gru"]


def test_the_dashed_line_is_where_the_exponent_is_0():
    axes = plot_gain_map({"tanh": grid()}).axes[0]
    (dashed,) = (line for line in axes.lines if line.get_linestyle() == "--")
    low, high = np.log(1 / 1.5), np.log(2 / 1.5)
    np.testing.assert_allclose(dashed.get_ydata(), 1 + low / (low - high))


def test_lost_cells_are_marked():
    gains = grid().log_gains.copy()
    gains[0, 1] = -np.inf
    axes = plot_gain_map({"tanh": grid()._replace(log_gains=gains)}).axes[0]
    assert np.ma.getmaskarray(axes.collections[0].get_array())[0, 1]
    assert np.argwhere(~np.ma.getmaskarray(axes.collections[1].get_array())).tolist() == [[0, 1]]


def test_many_panels_one_scale_and_nothing_are_drawn(drawn):
    one = Grid([1.0], [1, 2], [[-np.inf, -np.inf]], [[np.nan]])
    assert len(drawn(plot_gain_map({str(index): one for index in range(5)})).axes) == 8 + 1
    drawn(plot_gain_map({}))


def test_exponents_are_drawn_by_scale_and_the_largest_has_the_name(drawn):
    spectrum = np.array([[-1.0, -2.0], [0.5, -0.5], [1.0, -np.inf]])
    axes = drawn(plot_exponents({"tanh": grid()._replace(exponents=spectrum), "gru": grid()})).axes[0]
    lines = {line.get_label(): line.get_xydata() for line in axes.lines}
    np.testing.assert_allclose(lines["tanh"], [[0.5, -1], [1, 0.5], [2, 1]])
    np.testing.assert_allclose(lines["gru"][:, 1], np.log(np.array([0.5, 1, 2]) / 1.5))
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [-2, -0.5, np.nan])


def test_success_is_drawn_against_the_reach(drawn):
    measured = {"tanh": ([0.02, np.nan], [0.1, 0.2]), "lstm": ([2.0, np.inf], [0.9, 1.0])}
    axes = drawn(plot_success(measured, chance=0.1, reach="gain half-life")).axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["tanh, 1 not known"].get_xydata().tolist() == [[0.02, 0.1]]
    assert lines["lstm, 1 without decay at the right"].get_xydata().tolist() == [[2.0, 0.9]]
    (edge,) = (line for line in axes.lines if line.get_marker() == ">" and len(line.get_xdata()))
    assert edge.get_ydata().tolist() == [1.0]
    assert lines["chance: 0.1"].get_ydata() == [0.1, 0.1]
    assert axes.get_xlabel() == "gain half-life at initialization / T"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: plot_gain_map(None), TypeError, "grids: got None, expected a dict of Grid"),
        (lambda: plot_gain_map({"a": 1}), TypeError, r"grids\['a'\]: got 1, expected a Grid"),
        (lambda: plot_exponents({"a": grid()._replace(scales=["x"])}), TypeError, "scales: got"),
        (
            lambda: plot_exponents({"a": grid()._replace(lags=[1])}),
            ValueError,
            r"grids\['a'\]: got 3 scales, 1 lags",
        ),
        (lambda: plot_success([1]), TypeError, "measured: got .*, expected a dict of pairs"),
        (lambda: plot_success({"a": ([1.0], [1.0, 2.0])}), TypeError, r"measured\['a'\]: got"),
        (lambda: plot_success({}, chance="low"), TypeError, "chance: got 'low'"),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
