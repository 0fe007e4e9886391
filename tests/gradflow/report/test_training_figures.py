"""Figures of gradients in training show which steps were clipped, which were lost, and what was learned by lag."""

import numpy as np
import pytest

from dlcore.gradflow.report.drawing import LOST_COLOR
from dlcore.gradflow.report.training_figures import plot_cliff, plot_clipping, plot_lags_in_training
from tests.helpers.flows import legend


def by_label(axes):
    return {line.get_label(): line for line in axes.lines}


def test_clipped_and_lost_steps_are_marked(drawn):
    before = np.array([0.5, 4.0, np.nan, 2.0, np.inf, 0.0, 1.0])
    after = np.where(before > 1, 1.0, before)
    axes = drawn(plot_clipping(np.arange(1, 8), before, after, 1.0)).axes[0]
    found = by_label(axes)
    computed = [0.5, 4.0, np.nan, 2.0, np.nan, np.nan, 1.0]
    np.testing.assert_array_equal(found["as computed"].get_ydata(), computed)
    assert found["above the threshold: 2 of 7 steps"].get_xdata().tolist() == [2, 4]
    assert found["not finite: 2, first in step 3"].get_xdata().tolist() == [3, 5]
    assert found["not finite: 2, first in step 3"].get_color() == LOST_COLOR
    assert found["exactly 0: 1"].get_xdata().tolist() == [6]
    assert found["threshold 1: a larger norm is scaled down to it"].get_ydata() == [1, 1]
    assert axes.get_yscale() == "log"


@pytest.mark.parametrize(
    ("norm", "label"), [(np.nan, "not finite: 5"), (np.inf, "not finite: 5"), (0.0, "exactly 0: 5")]
)
def test_norms_that_are_all_lost_are_drawn(drawn, norm, label):
    norms = np.full(5, norm)
    axes = drawn(plot_clipping(np.arange(5), norms, norms, 1.0)).axes[0]
    assert any(text.startswith(label) for text in by_label(axes))


def test_lags_in_training_are_lines_in_a_panel_for_each_recurrence(drawn):
    """Values are minus lag times step; another metric is skipped."""
    rows = [
        (step, f"flow/{name}/log10_lag_{lag}", -lag * step)
        for step in (4, 8, 9)
        for name in ("encoder/cell", "decoder/cell")
        for lag in (10, 0, 2)
    ]
    figure = drawn(plot_lags_in_training([*rows, (4, "train/loss", 1.0)]))
    assert [axes.get_title() for axes in figure.axes] == ["encoder/cell", "decoder/cell"]
    for axes in figure.axes:
        assert legend(axes) == ["lag 0", "lag 2", "lag 10"]
        np.testing.assert_array_equal(axes.lines[2].get_xydata(), [[4, -40], [8, -80], [9, -90]])
        assert axes.get_xlabel() == "training step"


def test_a_path_that_leaves_the_cliff_ends_with_a_cross(drawn):
    x, y = np.linspace(-1, 1, 5), np.linspace(0, 1, 4)
    losses = np.add.outer(10**x, y)
    paths = {"clipped": [[-1, 0], [0, 0.5]], "unclipped": [[-1, 0], [0.5, 0.5], [1e9, -1e9]]}
    figure = drawn(plot_cliff(x, y, losses, np.log(losses), paths))
    for axes in figure.axes[:2]:
        found = by_label(axes)
        np.testing.assert_array_equal(found["clipped"].get_xydata(), paths["clipped"])
        assert "unclipped (leaves)" in found
        (cross,) = (line for line in axes.lines if line.get_marker() == "x")
        assert cross.get_xydata().tolist() == [[0.5, 0.5]]
        assert axes.get_xlim() == (-1, 1)
        np.testing.assert_allclose(axes.collections[0].get_array(), np.log10(losses).T)


def test_a_surface_without_finite_numbers_is_drawn(drawn):
    lost = np.full((5, 4), np.nan)
    figure = drawn(plot_cliff(np.arange(5), np.arange(4), lost, lost, {"clipped": [[1, 1]]}))
    assert "not finite" in legend(figure.axes[0])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: plot_clipping(None, [1.0], [1.0], 1.0),
            TypeError,
            "steps: got None, expected real numbers",
        ),
        (lambda: plot_clipping([1], [1.0, 2.0], [1.0], 1.0), ValueError, "before: got 2 norms for 1 steps"),
        (lambda: plot_clipping([1], [1.0], [1.0], "1"), TypeError, "threshold: got '1'"),
        (lambda: plot_lags_in_training(None), TypeError, "rows: got None, expected triples"),
        (lambda: plot_lags_in_training([(1, 2, 3)]), TypeError, "rows: got .* expected triples"),
        (lambda: plot_cliff([1.0], [1.0], [1.0], [[1.0]], {}), ValueError, r"loss: got shape \(1,\)"),
        (
            lambda: plot_cliff([1.0], [1.0], [[1.0, 2.0]], [[1.0]], {}),
            ValueError,
            r"loss: got shape \(1, 2\)",
        ),
        (
            lambda: plot_cliff([1.0], [1.0], [[1.0]], [[1.0]], {"a": [[1.0]]}),
            ValueError,
            r"paths\['a'\]: got",
        ),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
