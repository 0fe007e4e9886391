"""Empty figures have the size that was asked for, and figures are saved by name."""

import struct

import pytest

from dlcore.plots.canvas import label_log_axis, new_figure, save_figures


def test_a_new_figure_has_its_size():
    assert new_figure(3, 2).get_size_inches().tolist() == [3, 2]


def test_a_figure_without_a_size_is_refused_by_name():
    with pytest.raises(ValueError, match=r"width: got 0.0, expected a number in \(0, inf\)"):
        new_figure(0, 2)
    with pytest.raises(TypeError, match="height: got None"):
        new_figure(3, None)


def test_figures_are_saved_by_name(tmp_path):
    figures = {"one": new_figure(1, 1), "two": new_figure(2, 1)}
    paths = list(save_figures(tmp_path / "new" / "figures", figures))
    assert paths == [tmp_path / "new" / "figures" / f"{name}.png" for name in figures]
    sizes = [struct.unpack(">2I", path.read_bytes()[16:24]) for path in paths]  # of the PNG header
    assert sizes == [(120, 120), (240, 120)]


@pytest.mark.parametrize(
    "ends",
    [
        (0.5, 0.52),
        (1.01, 1.99),
        (2.1, 2.9),
        (1.6, 3.3),
        (4, 9.9),
        (0.011, 0.9),
        (3, 200),
        (30, 4000),
        (1e-5, 1e3),
    ],
)
def test_a_log_axis_has_at_least_two_labels(ends):
    axes = new_figure(4, 3).subplots()
    axes.plot([0, 1], ends)
    axes.set_yscale("log")
    label_log_axis(axes.yaxis)
    axes.figure.draw_without_rendering()
    low, high = axes.get_ylim()
    labels = [label.get_text() for label in axes.get_yticklabels() if low <= label.get_position()[1] <= high]
    assert len(labels) >= 2
    assert len(set(labels)) == len(labels)
