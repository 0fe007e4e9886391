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


def test_learning_curves_of_a_run_without_metrics_are_empty():
    assert not any(axes.lines for axes in learning_curves([], "loss").axes)


def test_rows_of_texts_as_a_csv_reader_returns_them_are_refused():
    with pytest.raises(TypeError, match=r"rows: got .*, expected triples \(step, name, value\)"):
        learning_curves([("1", "train/loss", "0.5")], "loss")
