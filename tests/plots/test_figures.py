"""Figures say what they are given; how they look is for people to see."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from dlcore.plots.classification import confusion_matrix, worst_mistakes
from dlcore.plots.images import feature_maps, filters
from dlcore.plots.numbers import number_grid
from dlcore.plots.training import learning_curves


def test_learning_curves_draw_every_row_of_their_metrics(drawn):
    rows = [(step, f"train/{name}", 1.0 / step) for step in (1, 2, 3) for name in ("loss", "accuracy")]
    rows += [(3, "eval/loss", 0.5), (3, "eval/accuracy", 0.5)]
    rows += [(step, f"train/{name}", 2.0) for step in (1, 2) for name in ("gradient_norm", "other")]
    figure = drawn(learning_curves(rows, "accuracy"))
    points = {axes.get_title(): [len(line.get_xdata()) for line in axes.lines] for axes in figure.axes}
    assert points == {"loss": [3, 1], "accuracy": [3, 1], "gradient norm": [2]}


def test_the_confusion_matrix_counts_true_by_said(drawn):
    figure = drawn(confusion_matrix(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2]), list("abc")))
    axes = figure.axes[0]
    seen = {
        (int(text.get_position()[1]), int(text.get_position()[0])): text.get_text() for text in axes.texts
    }
    assert seen == {(0, 0): "1", (0, 1): "1", (1, 1): "1", (2, 2): "1"}
    assert axes.get_title() == "3 of 4 right (75.00%)"


@pytest.mark.parametrize(("depth", "count"), [(1, 3), (3, 8), (2, 20)])
def test_each_filter_has_its_panel(drawn, depth, count):
    figure = drawn(filters(np.random.default_rng(0).normal(size=(3, 3, depth, count))))
    assert sum(bool(axes.images) for axes in figure.axes) == count


def test_feature_maps_show_the_image_and_each_block(drawn):
    maps = {"block_0": np.ones((4, 4, 5)), "block_1": np.zeros((2, 2, 7))}
    figure = drawn(feature_maps(np.ones((8, 8, 1)), maps))
    assert [axes.get_title() for axes in figure.axes] == [
        "input, 8 x 8",
        "block_0: 5 maps of 4 x 4",
        "block_1: 7 maps of 2 x 2",
    ]


@pytest.mark.parametrize("wrong", [0, 1, 9])
def test_the_worst_mistakes_come_first(drawn, wrong):
    labels = np.zeros(10, int)
    truth = np.where(np.arange(10) < wrong, np.arange(10) / 20, 0.9)
    probabilities = np.stack([truth, 1 - truth], axis=-1)
    figure = drawn(worst_mistakes(np.ones((10, 4, 4, 1)), labels, probabilities, list("ab"), count=6))
    titles = [axes.get_title().splitlines()[0] for axes in figure.axes if axes.images]
    assert titles == [f"true a: {number / 20:.1%}" for number in range(min(wrong, 6))]
    assert f"of {wrong} mistakes among 10 images" in figure.get_suptitle()


def texts(axes):
    """What stands where, by (x, y)."""
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
    assert bottom > top  # y goes down


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
        ([1, 2], {"row_labels": ["a", "b"]}, "row_labels: got 2, expected 1"),
        ([1, 2], {"column_labels": ["a"]}, "column_labels: got 1, expected 2"),
    ],
)
def test_a_number_grid_refuses_what_does_not_fit(values, options, named):
    with pytest.raises(ValueError, match=named):
        number_grid(Figure().subplots(), values, **options)
