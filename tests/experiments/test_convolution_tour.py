"""The page of the tour has the lecture's numbers."""

import io
import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy import signal

from experiments import convolution_tour as tour
from tests.helpers.paths import ROOT

pytestmark = pytest.mark.slow  # compilation of every example

LINES = ("010010", "010010", "010010", "100001", "010010", "001100")
IMAGE = np.array([list(map(float, line)) for line in LINES])
VERTICAL, DIAGONAL = np.array([[-1, 1, -1]] * 3), np.array([[1, -1, -1], [-1, 1, -1], [-1, -1, 1]])


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The file of the page, in a folder that does not exist yet."""
    return tmp_path_factory.mktemp("tour") / "new" / "page.png"


@pytest.fixture(scope="module")
def results(path):
    """The results that the command prints."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(tour, "FIGURE", SimpleNamespace(value=str(path)))
        tour.main([])
    return read_results(out.getvalue(), err.getvalue(), path)


def read_results(out, err, path):
    assert err.splitlines() == [f"figure: {path}"]
    (line,) = out.splitlines()
    return json.loads(line.removeprefix("result: "))


def test_the_command_prints_nothing_but_its_results(results, tmp_path):
    path = tmp_path / "page.png"
    command = [sys.executable, "-m", "experiments.convolution_tour", f"--figure={path}"]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert read_results(finished.stdout, finished.stderr, path) == {**results, "figure": str(path)}


def test_the_page_is_drawn(results, path):
    assert results["figure"] == str(path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size > 50_000


def test_every_example_has_its_heading_on_the_page():
    figure = Figure()
    tour.draw(figure)
    texts = [text.get_text() for text in figure.axes[0].texts]
    for index, example in enumerate(tour.EXAMPLES, start=1):
        assert example.heading.startswith(f"{index}. ")
        assert {example.heading, example.caption} <= set(texts)


def test_the_worked_examples_of_convolution(results):
    assert results["convolution_1d"] == [1.5, 2.5, 3.0, 1.5, 0.5]
    assert results["convolution_2d"] == [[-13, -20, -17], [-18, -24, -18], [13, 20, 17]]


def test_the_maps_of_the_layer(results):
    by_scipy = [signal.correlate2d(IMAGE, kernel, mode="valid") for kernel in (VERTICAL, DIAGONAL)]
    np.testing.assert_array_equal(results["maps"], by_scipy)
    # By hand: a line below the middle of the filter gives 3, and a line beside it -3.
    assert results["maps"][0][0] == [3, -3, -3, 3]
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


def test_the_number_of_weights(results):
    assert results["parameters"] == [[20, 36 * 32], [640, 36 * 1024], [1792, 108 * 1024]]


@pytest.mark.parametrize("name", ["file/page.png", "page.unknown", ""])
def test_a_bad_file_is_an_error_of_one_line(tmp_path, capsys, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    monkeypatch.setattr(tour, "FIGURE", SimpleNamespace(value=name))
    monkeypatch.setattr(tour, "draw", lambda figure: {})  # the file is what matters here
    with pytest.raises(SystemExit) as stop:
        tour.main([])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --figure: ")
    assert ".png" in line
