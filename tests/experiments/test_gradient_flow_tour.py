"""The tour's page shows the lecture's numbers."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.helpers.paths import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def figure(tmp_path_factory):
    return tmp_path_factory.mktemp("tour") / "new" / "page.png"


@pytest.fixture(scope="module")
def results(figure):
    """The results that the command prints."""
    command = [sys.executable, "-m", "experiments.gradient_flow_tour", f"--figure={figure}"]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=True)
    beside = figure.with_name("page_cliff.png")
    assert finished.stderr.splitlines() == [f"figure: {figure}", f"figure: {beside}"]
    assert beside.read_bytes().startswith(b"\x89PNG")
    return json.loads(finished.stdout.splitlines()[-1].removeprefix("result: "))


def test_the_page_is_drawn(results, figure):
    assert results["figure"] == str(figure)
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert figure.stat().st_size > 50_000


def test_the_toy_example(results):
    """y_1000 = w^999, from Python's floats and from their logarithm."""
    for w, (output, log10) in results["toy"].items():
        np.testing.assert_allclose(output, float(w) ** 999, rtol=1e-3)
        np.testing.assert_allclose(log10, 999 * np.log10(float(w)), atol=3e-4)
    assert round(results["toy"]["1.01"][0], -2) == 20800
    assert (results["toy"]["0.01"][0], round(results["toy"]["0.01"][1], 3)) == (0, -1998)


def test_the_shares_of_all_steps_are_the_gradient(results):
    assert results["sum_error"] < 1e-5 * results["gradient"]
    first, middle, last = results["shares"]
    assert first < 1e-5 * middle < 1e-8 * last
    assert results["terms"][1] < results["terms"][0] - 4


def test_products_stay_below_their_bound(results):
    for scale, (exponent, bound) in results["products"].items():
        np.testing.assert_allclose(bound, np.log(float(scale)), atol=1e-5)  # the kernel is orthogonal
        assert exponent < bound
    exponents = [exponent for exponent, _ in results["products"].values()]
    assert exponents == sorted(exponents)


def test_clipping_saves_the_toy_example(results):
    y = 1.01**999
    np.testing.assert_allclose(results["first_gradient"], (y - 1) * 999 * y / 1.01, rtol=1e-3)
    np.testing.assert_allclose(results["thrown"], 1.01 - 1e-7 * results["first_gradient"], rtol=1e-3)
    assert abs(results["clipped"] - 1) < 1e-4


def test_clipping_saves_the_descent_over_the_cliff(results):
    without = results["descents"]["without clipping"]
    np.testing.assert_allclose(without, 0.09, atol=1e-3)  # (1 - 0.7)^2, where the loss is flat
    assert results["descents"]["clipped to 1"] < 0.01


def test_residuals_and_open_gates_keep_the_gradient(results):
    exponents = results["identity"]
    assert exponents["h + f(x)"] == 0
    assert exponents["RNN, tanh"] < -0.2 < -0.01 < exponents["identity-RNN"]
    lstm = [results["lstm"][name] for name in ("RNN", *(f"LSTM, forget bias {bias}" for bias in range(4)))]
    assert lstm == sorted(lstm)
    assert results["lstm"]["RNN"] < results["gru"]["GRU"] < results["gru"]["GRU, z bias 2"]
    assert results["gru"]["LSTM"] == results["lstm"]["LSTM, forget bias 1"]


def test_a_gru_has_three_quarters_of_an_lstms_parameters(results):
    counts = {name: cost["parameters"] for name, cost in results["cost"].items()}
    gate = 64 * 128 + 128 * 128 + 128
    assert counts == {"rnn": gate, "gru": 3 * gate, "lstm": 4 * gate}
