"""Figures of gradient flow show the numbers that they are given, and apart from them what is no number."""

import numpy as np
import pytest

from dlcore.gradflow.report.time_figures import plot_decay, plot_double_sum, plot_signal

LN10 = np.log(10)
LOST = {"zero": -np.inf, "nan": np.nan, "inf": np.inf}


def lines(axes):
    """The lines of an axes by the beginning of their label, up to the colon."""
    return {line.get_label().split(":")[0]: line for line in axes.lines}


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_a_decay_has_its_rate_and_its_half_life(drawn):
    halving, level = -np.log(2) / 4 * np.arange(21), np.zeros(31)
    axes = drawn(plot_decay({"tanh": halving, "irnn": level})).axes[0]
    np.testing.assert_allclose(lines(axes)["tanh"].get_ydata(), halving / LN10)
    np.testing.assert_array_equal(lines(axes)["irnn"].get_xdata(), np.arange(31))
    assert legend(axes) == ["tanh: -0.173 nats a step, half-life 4", "irnn: +0 nats a step, no decay"]
    (tick,) = (line for line in axes.lines if line.get_marker() == "v")
    np.testing.assert_allclose(tick.get_xydata(), [[4, -np.log10(2)]], atol=1e-6)


@pytest.mark.parametrize(
    ("last", "edges"), [(-300, [(-300, -37.9)]), (300, [(38.5, 300)]), (-30, []), (30, [])]
)
def test_what_float32_does_not_hold_is_shaded(drawn, last, edges):
    axes = drawn(plot_decay({"cell": np.linspace(0, last * LN10, 50)})).axes[0]
    shaded = [(patch.get_y(), patch.get_y() + patch.get_height()) for patch in axes.patches]
    assert len(shaded) == len(edges)
    for found, expected in zip(shaded, edges, strict=True):
        np.testing.assert_allclose(found, expected, atol=0.06 * abs(last))  # the margin


def test_lost_numbers_are_marked_apart(drawn):
    curve = np.array([0.0, -1.0, -np.inf, -np.inf, np.nan, np.inf])
    axes = drawn(plot_decay({"cell": curve})).axes[0]
    assert np.isnan(lines(axes)["cell"].get_ydata()).tolist() == [False, False, True, True, True, True]
    assert lines(axes)["exactly 0"].get_xdata().tolist() == [2, 3]
    assert lines(axes)["not finite"].get_xdata().tolist() == [4, 5]
    assert lines(axes)["not finite"].get_color() == LOST != lines(axes)["exactly 0"].get_color()


@pytest.mark.parametrize("lost", LOST.values(), ids=LOST)
def test_nothing_but_lost_numbers_is_drawn_too(drawn, lost):
    curve, square = np.full(6, lost), np.full((6, 6), lost)
    label = "exactly 0" if lost == -np.inf else "not finite"
    assert label in legend(drawn(plot_decay({"cell": curve})).axes[0])
    assert label in legend(drawn(plot_signal({0: curve})).axes[0])
    assert label in legend(drawn(plot_signal(dict.fromkeys(range(20), curve))).axes[0])
    triangle, marginal = drawn(plot_double_sum(square, curve, 6)).axes[:2]
    assert label in legend(triangle)
    assert label in legend(marginal)


def test_no_curve_and_a_curve_of_one_number_are_drawn(drawn):
    drawn(plot_decay({}))
    assert legend(drawn(plot_decay({"cell": [0.0]})).axes[0]) == ["cell: no rate"]


def test_the_triangle_shows_the_terms_where_they_are(drawn):
    """G[t, k] = 2^(k - t) / k for k <= t, by row t and column k, step 0 left out."""
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
    assert "90 % within lag 3" in legend(marginal)


def test_few_signals_are_lines_and_many_a_map(drawn):
    signals = {step: np.linspace(-step, 0, 11) for step in range(0, 100, 10)}
    few = drawn(plot_signal(dict(list(signals.items())[:3]))).axes[0]
    assert list(lines(few)) == ["training step 0", "training step 10", "training step 20"]
    np.testing.assert_allclose(lines(few)["training step 20"].get_ydata(), signals[20] / LN10)
    many = drawn(plot_signal(signals)).axes[0]
    np.testing.assert_allclose(
        many.collections[0].get_array(), np.stack(list(signals.values())) / LN10, atol=1e-12
    )
    assert [label.get_text() for label in many.get_yticklabels()] == [str(step) for step in signals]


def test_colors_span_sixteen_decades_at_most(drawn):
    signals = {step: np.linspace(-100 * LN10, 0, 11) for step in range(10)}
    assert drawn(plot_signal(signals)).axes[0].collections[0].get_clim() == (-16, 0)
