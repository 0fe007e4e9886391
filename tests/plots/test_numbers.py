"""Grids of numbers have their numbers, marks and labels at their places."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from dlcore.plots.numbers import number_grid, number_row


def texts(axes):
    """All texts by their places (x, y)."""
    return {text.get_position(): text.get_text() for text in axes.texts}


def test_a_number_grid_has_its_numbers_in_its_cells(drawn):
    figure = Figure()
    axes = figure.subplots()
    number_grid(
        axes, [[1, -2.5], [np.nan, 0]], "a title", at=(3, 1), row_labels=["a", "b"], column_labels=[0, 1]
    )
    drawn(figure)
    assert texts(axes) == {
        (3, 0.8): "a title",
        (3.5, 1.5): "1",
        (4.5, 1.5): "\N{MINUS SIGN}2.5",
        (4.5, 2.5): "0",
        (2.8, 1.5): "a",
        (2.8, 2.5): "b",
        (3.5, 3.2): "0",
        (4.5, 3.2): "1",
    }
    assert not axes.lines
    bottom, top = axes.get_ylim()
    assert bottom > top  # y points down


def test_number_grids_share_their_axes(drawn):
    figure = Figure()
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, 20), ylim=(10, 0))
    number_grid(axes, [1, 2, 3], at=(1, 1), marked=[True, False, True])
    number_grid(axes, np.full((2, 2), np.nan), at=(6, 1))
    drawn(figure)
    assert axes.get_xlim() == (0, 20)
    assert axes.get_ylim() == (10, 0)
    assert [min(line.get_xdata()) for line in axes.lines] == [1, 3]
    assert [mesh.get_array().shape for mesh in axes.collections] == [(1, 3), (2, 2)]


@pytest.mark.parametrize(
    ("values", "options", "named"),
    [
        (np.zeros((2, 2, 2)), {}, r"values: got shape \(2, 2, 2\)"),
        ([], {}, r"values: got shape \(0,\)"),
        ([1, 2], {"marked": [True, False, True]}, r"marked: got shape \(3,\)"),
        ([1, 2], {"row_labels": ["a", "b"]}, "row_labels: got 2 labels, expected 1 or none"),
        ([1, 2], {"column_labels": ["a"]}, "column_labels: got 1 labels, expected 2 or none"),
    ],
)
def test_a_number_grid_refuses_what_does_not_fit(values, options, named):
    with pytest.raises(ValueError, match=named):
        number_grid(Figure().subplots(), values, **options)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"marked": "text"}, r"marked: got 'text', expected real numbers"),
        ({"row_labels": "ab"}, r"row_labels: got 'ab', expected a list of names"),
        ({"at": 3}, r"at: got 3, expected a pair of numbers \(x, y\)"),
        ({"at": (0, "b")}, r"at\[1\]: got 'b', expected a number"),
        ({"fontsize": "large"}, "fontsize: got 'large', expected a number"),
    ],
)
def test_a_number_grid_refuses_what_is_no_number_and_labels_that_are_one_text(options, named):
    with pytest.raises(TypeError, match=named):
        number_grid(Figure().subplots(), [[1, 2], [3, 4]], **options)


def test_a_row_draws_nothing_if_one_grid_is_refused():
    axes = Figure().subplots()
    with pytest.raises(ValueError, match=r"grids\['b'\]: got shape \(1, 1, 1\)"):
        number_row(axes, 0, 0, {"a": [1], "b": [[[1]]]})
    assert not axes.texts


def test_a_row_of_grids_leaves_room_for_numbers_and_titles():
    axes = Figure().subplots()
    grids = {"a": [7, 7, 7], "a title of twenty ch": [8], "c": [[9], [9]], 4: 5}
    number_row(axes, 2, 1, grids, row_labels=["row"])
    places = {text: place for place, text in texts(axes).items()}
    assert places["a"] == (2, 0.8)
    assert places["a title of twenty ch"] == (6, 0.8)  # three cells and a gap later
    assert places["c"] == (11, 0.8)  # 20 letters are as wide as 4 cells
    assert places["4"] == (13, 0.8)  # a title that is a number, above a single number
    assert [text.get_text() for text in axes.texts].count("row") == 1  # options are for the first grid
