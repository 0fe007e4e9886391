"""Learning curves hold the rows of their metrics."""

import numpy as np
import pytest

from dlcore.plots.training import learning_curves


def test_learning_curves_draw_every_row_of_their_metrics(drawn):
    rows = [(step, f"train/{name}", 1.0 / step) for step in (1, 2, 3) for name in ("loss", "accuracy")]
    rows += [(3, "eval/loss", 0.5), (3, "eval/accuracy", 0.5)]
    rows += [(step, f"train/{name}", 2.0) for step in (1, 2) for name in ("gradient_norm", "other")]
    figure = drawn(learning_curves(rows, "accuracy"))
    points = {axes.get_title(): [len(line.get_xdata()) for line in axes.lines] for axes in figure.axes}
    assert points == {"loss": [3, 1], "accuracy": [3, 1], "gradient norm": [2]}
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_xydata(), [(1, 1), (2, 1 / 2), (3, 1 / 3)])


def test_every_evaluation_set_has_a_line_with_its_name_and_color(drawn):
    names = ["dev", "test", "a", "b", "c"]
    rows = [
        (step, f"eval/{name}/{metric}", 0.5) for step in (1, 2) for name in names for metric in ("loss", "f1")
    ]
    rows += [(step, f"train/{metric}", 0.5) for step in (1, 2, 3) for metric in ("loss", "f1")]
    figure = drawn(learning_curves(rows, "dev/f1", names))
    for axes in figure.axes[:2]:
        assert [line.get_label() for line in axes.lines] == ["training batches", *names]
        assert [len(line.get_xdata()) for line in axes.lines] == [3, 2, 2, 2, 2, 2]
        assert len({line.get_color() for line in axes.lines}) == 6
    assert figure.axes[1].get_title() == "f1"


def test_a_slash_in_a_metrics_name_is_no_set():
    rows = [(1, "train/top5/accuracy", 0.5), (1, "eval/top5/accuracy", 0.5)]
    axes = learning_curves(rows, "top5/accuracy").axes[1]
    assert axes.get_title() == "top5/accuracy"
    assert len(axes.lines) == 2


def test_learning_curves_of_a_run_without_metrics_are_empty():
    assert not any(axes.lines for axes in learning_curves([], "loss").axes)


def test_rows_of_texts_as_a_csv_reader_returns_them_are_refused():
    with pytest.raises(TypeError, match=r"rows: got .*, expected triples \(step, name, value\)"):
        learning_curves([("1", "train/loss", "0.5")], "loss")
