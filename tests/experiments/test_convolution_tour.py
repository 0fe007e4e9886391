"""The tour's page has the lecture's numbers."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import signal

from experiments import convolution_tour as tour
from tests.helpers.paths import ROOT

LINES = ("010010", "010010", "010010", "100001", "010010", "001100")
IMAGE = np.array([list(map(float, line)) for line in LINES])
VERTICAL, DIAGONAL = np.array([[-1, 1, -1]] * 3), np.array([[1, -1, -1], [-1, 1, -1], [-1, -1, 1]])


@pytest.fixture(scope="module")
def figure(tmp_path_factory):
    return tmp_path_factory.mktemp("tour") / "new" / "page.png"


@pytest.fixture(scope="module")
def results(figure):
    """What the command prints."""
    command = [sys.executable, "-m", "experiments.convolution_tour", f"--figure={figure}"]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert finished.stderr.splitlines() == [f"figure: {figure}"]
    return json.loads(finished.stdout.splitlines()[-1].removeprefix("result: "))


def test_the_page_is_drawn(results, figure):
    assert results["figure"] == str(figure)
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert figure.stat().st_size > 50_000


def test_the_worked_examples_of_convolution(results):
    assert results["convolution_1d"] == [1.5, 2.5, 3.0, 1.5, 0.5]
    assert results["convolution_2d"] == [[-13, -20, -17], [-18, -24, -18], [13, 20, 17]]


def test_the_maps_of_the_layer(results):
    by_scipy = [signal.correlate2d(IMAGE, kernel, mode="valid") for kernel in (VERTICAL, DIAGONAL)]
    np.testing.assert_array_equal(results["maps"], by_scipy)
    assert results["maps"][0][0] == [
        3,
        -3,
        -3,
        3,
    ]  # by hand: a line below the middle gives 3, one beside it -3
    np.testing.assert_array_equal(results["stride_3"], by_scipy[0][::3, ::3])
    np.testing.assert_array_equal(results["padding_1"], signal.correlate2d(IMAGE, VERTICAL, mode="same"))
    assert np.shape(results["padding_1"]) == (6, 6)
    assert results["pooled"] == [[[3, 3], [1, 1]], [[0, 1], [3, 0]]]


def test_the_backward_passes(results):
    """By hand, with X = [[1, 2, 0], [0, 1, 3], [2, 1, 1]], F = [[1, -1], [2, 3]], dL/dO = [[1, 0], [-1, 2]]."""
    assert results["output"] == [[2, 13], [6, 3]]
    assert results["to_x"] == results["convolved"] == [[1, -1, 0], [1, 6, -2], [-2, 1, 6]]
    assert results["to_f"] == results["correlated"] == [[3, 7], [0, 2]]
    assert results["pool_gradient"] == [[0, 0, 0, 0], [0, 1, 0, -2], [3, 0, 0, 0], [0, 0, 0, 4]]


def test_the_weights_of_a_layer_and_of_a_fully_connected_one(results):
    assert results["parameters"] == [[20, 36 * 32], [640, 36 * 1024], [1792, 108 * 1024]]


@pytest.mark.parametrize("name", ["file/page.png", "page.unknown", ""])
def test_a_bad_figure_is_one_line(tmp_path, capsys, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    monkeypatch.setattr(tour, "FIGURE", SimpleNamespace(value=name))
    with pytest.raises(SystemExit) as stop:
        tour.main([])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --figure: ")
    assert ".png" in line
