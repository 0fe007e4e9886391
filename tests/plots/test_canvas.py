"""Empty figures have the size that was asked for, and figures are saved by name."""

import struct

from dlcore.plots.canvas import new_figure, save_figures


def test_a_new_figure_has_its_size():
    assert new_figure(3, 2).get_size_inches().tolist() == [3, 2]


def test_figures_are_saved_by_name(tmp_path):
    figures = {"one": new_figure(1, 1), "two": new_figure(2, 1)}
    paths = list(save_figures(tmp_path / "new" / "figures", figures))
    assert paths == [tmp_path / "new" / "figures" / f"{name}.png" for name in figures]
    sizes = [struct.unpack(">2I", path.read_bytes()[16:24]) for path in paths]  # of the PNG header
    assert sizes == [(120, 120), (240, 120)]
