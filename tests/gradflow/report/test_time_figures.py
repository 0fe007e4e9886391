"""Figures of gradient flow over time show the numbers that they are given."""

import numpy as np
import pytest

from dlcore.gradflow.report.drawing import ZERO_COLOR
from dlcore.gradflow.report.time_figures import plot_decay, plot_double_sum, plot_signal
from tests.helpers.flows import legend

LN10 = np.log(10)
LOST = {"zero": -np.inf, "nan": np.nan, "inf": np.inf}


def lines(axes):
    """The lines of an axes by their label up to the colon."""
    return {line.get_label().split(":")[0]: line for line in axes.lines}


def test_a_decay_has_its_rate_and_its_gain_half_life():
    halving, level = -np.log(2) / 4 * np.arange(21), np.zeros(31)
    axes = plot_decay({"tanh": halving, "irnn": level}).axes[0]
    np.testing.assert_allclose(lines(axes)["tanh"].get_ydata(), halving / LN10)
    np.testing.assert_array_equal(lines(axes)["irnn"].get_xdata(), np.arange(31))
    assert legend(axes) == [
        "tanh: -0.173 nats a step, gain half-life 4, halved at lag 4",
        "irnn: +0 nats a step, no decay",
    ]
    (triangle,) = (line for line in axes.lines if line.get_marker() == "v")
    np.testing.assert_allclose(triangle.get_xydata(), [[4, -np.log10(2)]], atol=1e-6)


def test_a_rate_that_was_fitted_otherwise_is_drawn_through_the_curves_middle():
    """Rows of different lengths: the curve jumps up where the shorter ones end, and falls all the same."""
    lags = np.arange(41)
    curve = np.where(lags <= 20, -0.5 * lags, -0.1 * lags)
    axes = plot_decay({"tanh": curve}, rates={"tanh": -0.1}).axes[0]
    assert legend(axes) == ["tanh: -0.1 nats a step, gain half-life 6.93, halved at lag 2"]
    dashed = axes.lines[1].get_ydata() * LN10
    np.testing.assert_allclose(np.diff(dashed), -0.1)
    assert dashed.mean() == pytest.approx(curve.mean())


def test_a_half_life_beyond_the_last_lag_says_so():
    axes = plot_decay({"identity": -1.67e-5 * np.arange(401)}).axes[0]
    assert legend(axes) == ["identity: -1.67e-05 nats a step, gain half-life 4.15e+04 (beyond the last lag)"]


def test_a_long_label_has_two_lines():
    (label,) = legend(
        plot_decay({"encoder/IdentityRNNCell_0, 16 rows, 1 at lag 400": -1e-5 * np.arange(401)}).axes[0]
    )
    assert label.startswith("encoder/IdentityRNNCell_0, 16 rows, 1 at lag 400:\n-1e-05 nats a step")


def test_without_a_fit_there_are_no_rates():
    axes = plot_decay({"tanh": -np.arange(9.0)}, "by lag", "log10 of the norm", fit=False).axes[0]
    assert legend(axes) == ["tanh"]
    assert len(axes.lines) == 1
    assert (axes.get_title(), axes.get_ylabel()) == ("by lag", "log10 of the norm")


def test_what_float32_cannot_hold_is_shaded():
    axes = plot_decay({"cell": np.linspace(0, -300 * LN10, 50)}).axes[0]
    assert len(axes.patches) == 1
    assert "beyond float32" in legend(axes)


@pytest.mark.parametrize("lost", LOST.values(), ids=LOST)
def test_figures_of_lost_numbers_alone_are_drawn(drawn, lost):
    curve, square = np.full(6, lost), np.full((6, 6), lost)
    label = "exactly 0" if lost == -np.inf else "not finite"
    assert label in legend(plot_decay({"cell": curve}).axes[0])
    assert label in legend(plot_signal({0: curve}).axes[0])
    assert label in legend(plot_signal(dict.fromkeys(range(20), curve)).axes[0])
    triangle, marginal = drawn(plot_double_sum(square, curve, 6)).axes[:2]
    assert label in legend(triangle)
    assert label in legend(marginal)


def test_no_curve_and_a_curve_of_one_number_are_drawn(drawn):
    drawn(plot_decay({}))
    assert legend(plot_decay({"cell": [0.0]}).axes[0]) == ["cell: no rate"]


def test_the_triangle_shows_each_term_at_its_place(drawn):
    """G[t, k] = 2^(k - t) / k for k <= t, by row t and column k; step 0 is left out."""
    t, k = np.meshgrid(np.arange(7.0), np.arange(7.0), indexing="ij")
    with np.errstate(divide="ignore"):
        terms = np.where((k <= t) & (k > 0), (k - t) * np.log(2) - np.log(k), -np.inf)
    terms[5, 2] = -np.inf
    by_lag = -np.log(2) * np.arange(6)
    triangle, marginal = drawn(plot_double_sum(terms, by_lag, 3)).axes[:2]
    shown, zeros = (mesh.get_array() for mesh in triangle.collections)
    np.testing.assert_allclose(shown[3, 1], (-2 * np.log(2) - np.log(2)) / LN10)  # t = 4, k = 2
    assert np.ma.count(shown) == 6 * 7 / 2 - 1
    assert np.argwhere(~np.ma.getmaskarray(zeros)).tolist() == [[4, 1]]
    np.testing.assert_allclose(marginal.lines[0].get_ydata(), by_lag / LN10)
    assert marginal.lines[1].get_xdata()[0] == 3
    assert "90 % of the norms' sum at lag 3" in legend(marginal)


def test_few_signals_are_lines_and_many_are_a_map(drawn):
    signals = {step: np.linspace(-step, 0, 11) for step in range(0, 130, 10)}
    few = plot_signal(dict(list(signals.items())[:3])).axes[0]
    assert list(lines(few)) == ["training step 0", "training step 10", "training step 20"]
    np.testing.assert_allclose(lines(few)["training step 20"].get_ydata(), signals[20] / LN10)
    many = drawn(plot_signal(signals)).axes[0]
    expected = np.stack(list(signals.values())) / LN10
    np.testing.assert_allclose(many.collections[0].get_array(), expected, atol=1e-12)
    assert [label.get_text() for label in many.get_yticklabels()] == [str(step) for step in range(0, 130, 20)]


def test_signals_can_have_names_alone():
    assert list(lines(plot_signal({"encoder": np.zeros(3)}, "").axes[0])) == ["encoder"]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: plot_decay([0.0]), TypeError, "curves: got .* expected a dict of arrays"),
        (lambda: plot_decay({"a": "x"}), TypeError, r"curves\['a'\]: got 'x', expected real numbers"),
        (lambda: plot_decay({"a": np.zeros((2, 2))}), ValueError, r"curves\['a'\]: got shape \(2, 2\)"),
        (lambda: plot_decay({}, fit="no"), TypeError, "fit: got 'no', expected True or False"),
        (lambda: plot_double_sum(None, [0.0]), TypeError, "log_gradients: got None, expected real numbers"),
        (
            lambda: plot_double_sum(np.zeros((1, 1)), [0.0]),
            ValueError,
            r"log_gradients: got shape \(1, 1\), .* T of at",
        ),
        (lambda: plot_double_sum(np.zeros((2, 3)), [0.0]), ValueError, r"log_gradients: got shape \(2, 3\)"),
        (lambda: plot_double_sum(np.zeros((2, 2)), [0.0], "3"), TypeError, "covering_lag: got '3'"),
        (lambda: plot_signal(None), TypeError, "log_signals: got None, expected a dict of arrays"),
        (
            lambda: plot_signal({step: np.zeros(step) for step in range(1, 10)}),
            ValueError,
            "log_signals: got lengths .*, expected one length for more than 8",
        ),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_lags_that_few_rows_have_are_gray_and_a_panel_counts_the_rows():
    curve, rows = -0.1 * np.arange(9), np.array([8, 8, 8, 6, 6, 4, 4, 2, 2])
    axes, panel = plot_decay({"tanh": curve, "gru": curve / 2}, rows={"tanh": rows, "gru": rows}).axes
    colored, gray = (line.get_xdata().tolist() for line in (axes.lines[0], axes.lines[1]))
    assert (colored, gray) == ([0, 1, 2, 3, 4], [4, 5, 6, 7, 8])
    assert axes.lines[1].get_color() == ZERO_COLOR
    assert legend(axes)[1:2] == ["gray: fewer than 5 rows"]
    assert len(legend(axes)) == 3
    np.testing.assert_array_equal(panel.lines[0].get_ydata(), rows)
    assert [text.get_text() for text in panel.texts] == ["8", "6", "4", "2"]
    assert len(plot_decay({"tanh": curve}, rows={"tanh": np.full(9, 8)}).axes) == 1
    with pytest.raises(ValueError, match=r"rows.*got 3 numbers for 9 lags"):
        plot_decay({"tanh": curve}, rows={"tanh": [1, 1, 1]})
