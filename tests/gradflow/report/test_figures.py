"""The figures of a report are named after their cells and say how sure they are."""

import numpy as np

from dlcore.gradflow.report.figures import READING_ORDER, pictures
from tests.helpers.flows import flow, legend

NO_CLIPPING = np.zeros((0, 3))


def drawn(flows, clipping=NO_CLIPPING, clip_norm=None):
    return {picture.name: picture for picture in pictures(flows, clipping, clip_norm)}


def test_figures_are_named_after_their_cell():
    names = ("encoder/cell", "stack/upper/0", "model.py:7 (scan)", "a b", "a/b")
    found = drawn({"initial": [flow(name=name, log_triangle=np.zeros((3, 3))) for name in names]})
    assert [name for name in found if name.startswith("double_sum_")] == [
        f"double_sum_{cell}"
        for cell in ("encoder_cell", "stack_upper_0", "model.py_7_scan", "a_b_3", "a_b_4")
    ]
    picture = found["double_sum_encoder_cell"]
    assert picture.caption.startswith("encoder/cell. Double sum.")
    assert picture.figure.get_suptitle() == "encoder/cell, initial"


def test_a_reversed_cell_is_marked():
    found = drawn({"initial": [flow(), flow(name="back", reverse=True, log_triangle=np.zeros((3, 3)))]})
    assert found["double_sum_back"].figure.get_suptitle() == "back (reads each row from its end), initial"
    for name in ("decay", "by_lag", "signal", "lyapunov_exponents"):
        assert any(text.startswith("back (reversed)") for text in legend(found[name].figure.axes[0]))
    assert found["signal"].figure.axes[0].get_xlabel() == READING_ORDER


def test_the_signal_of_each_state_is_drawn_only_if_there_are_several():
    assert "signal_in_training_encoder_cell" not in drawn({"initial": [flow()]})
    found = drawn({"initial": [flow()], "step 20": [flow()]})
    figure = found["signal_in_training_encoder_cell"].figure
    assert legend(figure.axes[0]) == ["initial", "step 20"]
    assert figure.get_suptitle() == "encoder/cell, all states"
    assert found["signal"].figure.axes[0].get_title().endswith(", step 20")


def test_clipping_is_drawn_where_it_is_on():
    rows = np.array([[10, 0.5, 0.4], [20, 0.3, 0.3]])
    assert "clipping" not in drawn({"initial": [flow()]}, rows)
    texts = legend(drawn({"initial": [flow()]}, rows, 0.4)["clipping"].figure.axes[0])
    assert "threshold 0.4: a larger norm is scaled down to it" in texts
    assert "above the threshold: 1 of 2 means between log rows" in texts
