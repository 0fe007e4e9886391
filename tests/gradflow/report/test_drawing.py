"""What all figures share: lines, maps and the marks of numbers that are exactly 0 or not finite."""

import numpy as np
import pytest

from dlcore.gradflow.report.drawing import (
    LOST_COLOR,
    PALETTE,
    ZERO_COLOR,
    color_map,
    draw_line,
    finish_axes,
    palette_color,
    shade_beyond_float32,
    to_array,
    to_arrays,
)
from dlcore.plots.canvas import new_figure
from tests.helpers.flows import legend


@pytest.fixture
def axes():
    return new_figure(4, 3).subplots()


def test_the_palette_begins_again_after_its_end():
    assert [palette_color(index) for index in (0, len(PALETTE))] == [PALETTE[0]] * 2


def test_a_line_has_gaps_and_crosses_for_lost_numbers(axes):
    values = np.array([0.0, -1.0, -np.inf, -np.inf, np.nan, np.inf])
    draw_line(axes, np.arange(6), values, "blue", "cell")
    draw_line(axes, np.arange(6), values, "green", "other")  # does not repeat the legend's entries
    finish_axes(axes)
    assert legend(axes) == ["cell", "exactly 0", "not finite", "other"]
    line, zero, lost = axes.lines[:3]
    np.testing.assert_array_equal(line.get_ydata(), [0, -1, np.nan, np.nan, np.nan, np.nan])
    assert zero.get_xdata().tolist() == [2, 3]
    assert lost.get_xdata().tolist() == [4, 5]
    assert (zero.get_color(), lost.get_color()) == ("blue", LOST_COLOR)


def test_a_long_line_has_no_dots(axes):
    draw_line(axes, np.arange(30), np.zeros(30), "blue", "cell")
    draw_line(axes, np.arange(29), np.zeros(29), "blue", "cell")
    assert [line.get_marker() for line in axes.lines] == ["None", "o"]


@pytest.mark.parametrize(
    ("lost", "color", "label"),
    [
        (-np.inf, ZERO_COLOR, "exactly 0"),
        (np.nan, LOST_COLOR, "not finite"),
        (np.inf, LOST_COLOR, "not finite"),
    ],
)
def test_lost_cells_of_a_map_have_their_own_color(axes, lost, color, label):
    from matplotlib.colors import to_rgba

    values = np.arange(6.0).reshape(2, 3)
    values[0, 1] = lost
    mesh = color_map(axes, np.arange(3), np.arange(2), values, where=np.arange(3) < 2)
    assert np.ma.getmaskarray(mesh.get_array()).tolist() == [[False, True, True], [False, False, True]]
    marked = axes.collections[1]
    assert np.argwhere(~np.ma.getmaskarray(marked.get_array())).tolist() == [[0, 1]]
    assert marked.cmap(0.5) == to_rgba(color)
    assert legend(axes) == [label]


def test_the_colors_of_a_map_span_sixteen_decades_at_most(axes):
    few = color_map(axes, np.arange(2), [0], np.array([[-3.0, -1.0]]))
    many = color_map(axes, np.arange(2), [0], np.array([[-100.0, 0.0]]))
    none = color_map(axes, np.arange(2), [0], np.array([[np.nan, np.nan]]))
    assert [mesh.get_clim() for mesh in (few, many, none)] == [(-3, -1), (-16, 0), (-1, 1)]


def test_cells_have_their_numbers_in_the_middle(axes):
    mesh = color_map(axes, np.array([1.0, 2.0, 4.0]), np.array([5.0]), np.zeros((1, 3)))
    corners = mesh.get_coordinates()
    assert corners[0, :, 0].tolist() == [0.5, 1.5, 3.0, 5.0]
    assert corners[:, 0, 1].tolist() == [4.5, 5.5]


@pytest.mark.parametrize(
    ("ends", "shaded"),
    [
        ((-300, 0), [(-300, -37.93)]),
        ((0, 300), [(38.53, 300)]),
        ((-30, 30), []),
        ((-50, 50), [(-50, -37.93), (38.53, 50)]),
    ],
)
def test_what_float32_cannot_hold_is_shaded(axes, ends, shaded):
    axes.set_ylim(*ends)
    shade_beyond_float32(axes)
    found = [(patch.get_y(), patch.get_y() + patch.get_height()) for patch in axes.patches]
    np.testing.assert_allclose(found, np.reshape(shaded, (-1, 2)) if shaded else [], atol=0.01)
    assert axes.get_ylim() == ends
    finish_axes(axes)
    assert (axes.get_legend() is not None) == bool(shaded)


def test_numbers_become_arrays_of_as_many_axes_as_the_layout_has():
    assert to_array("values", [1, 2]).tolist() == [1.0, 2.0]
    assert to_arrays("values", {"a": [[1], [2]]}, "[N, 1]")["a"].shape == (2, 1)
    with pytest.raises(ValueError, match=r"values: got shape \(\), expected \[N\]"):
        to_array("values", 1.0)
    with pytest.raises(TypeError, match=r"values: got 'x', expected real numbers"):
        to_array("values", "x")
