"""The concordance correlation coefficient equals NumPy's moments in float64, of all recordings as one and of each."""

import jax
import numpy as np
import pytest

from dlcore.training.metrics import CCC, RecordingCCC

of = jax.jit(CCC.of, static_argnames=("count", "center"))


def numpy_ccc(outputs, targets):
    outputs, targets = np.float64(outputs), np.float64(targets)
    (var_y, cov), (_, var_t) = np.cov(outputs, targets, ddof=0)
    return 2 * cov / (var_y + var_t + (outputs.mean() - targets.mean()) ** 2)


@pytest.fixture
def contours():
    """Rows of 3 recordings, two outputs, and how many steps of each row count; NaN after them."""
    generator = np.random.default_rng(0)
    targets = generator.normal(size=(8, 50, 2)).cumsum(axis=1).astype(np.float32)
    outputs = (0.7 * targets + generator.normal(size=targets.shape) + 0.5).astype(np.float32)
    lengths = np.array([50, 50, 17, 50, 1, 50, 50, 30], np.int32)
    valid = np.arange(50) < lengths[:, None]
    targets[~valid] = outputs[~valid] = np.nan
    return {
        "outputs": outputs,
        "targets": targets,
        "valid": valid,
        "lengths": lengths,
        "recordings": np.array([0, 0, 0, 1, 1, 2, 2, 2]),
    }


def sums_of(contours, rows=slice(None)):
    parts = (contours[name][rows] for name in ("outputs", "targets", "valid"))
    return of(*parts, recordings=contours["recordings"][rows], count=3)


def test_both_conventions_equal_numpys(contours):
    outputs, targets, valid = (contours[name] for name in ("outputs", "targets", "valid"))
    of_each = [valid & (contours["recordings"] == recording)[:, None] for recording in range(3)]
    as_one = [numpy_ccc(outputs[valid][:, k], targets[valid][:, k]) for k in range(2)]
    apart = [numpy_ccc(outputs[own][:, k], targets[own][:, k]) for own in of_each for k in range(2)]
    sums = sums_of(contours)
    assert sums.value() == pytest.approx(np.mean(as_one), abs=1e-5)
    assert RecordingCCC(*sums).value() == pytest.approx(np.mean(apart), abs=1e-5)


def test_any_order_and_cut_of_the_batches_gives_the_same_sums(contours):
    whole = sums_of(contours)
    for cut in ([[0, 1, 2, 3, 4, 5, 6, 7]], [[7, 3], [0, 5, 1], [2, 6, 4]], [[row] for row in range(8)]):
        parts = [jax.tree.map(np.float64, sums_of(contours, rows)) for rows in cut]
        added = jax.tree.map(lambda *leaves: sum(leaves), *parts)
        for leaf, expected in zip(added, whole, strict=True):
            np.testing.assert_allclose(leaf, expected, rtol=1e-6)
        assert added.value() == pytest.approx(whole.value(), abs=1e-6)


def test_a_contour_agrees_with_itself_and_a_constant_with_none():
    contour = np.random.default_rng(0).normal(size=(2, 40, 1)).astype(np.float32)
    assert of(contour, contour).value() == pytest.approx(1, abs=1e-6)
    assert of(contour + 1000, contour + 1000, center=1000).value() == pytest.approx(1, abs=1e-6)
    assert of(np.full_like(contour, 0.3), contour).value() == 0
    assert of(contour, contour, np.zeros(2, bool)).value() == 0
    assert RecordingCCC(*of(contour, contour, np.zeros(2, bool))).value() == 0


def test_who_knows_the_means_alone_is_told_apart():
    generator = np.random.default_rng(0)
    levels = generator.normal(size=(9, 1, 1))
    targets = levels + 0.6 * generator.normal(size=(9, 200, 1))
    means = np.broadcast_to(targets.mean(axis=1, keepdims=True), targets.shape)
    sums = of(means, targets, recordings=np.arange(9), count=9)
    assert sums.value() > 0.6
    assert abs(RecordingCCC(*sums).value()) < 0.02


@pytest.mark.parametrize(
    ("change", "error", "named"),
    [
        ({"outputs": np.ones((2, 3))}, ValueError, r"outputs: got \(2, 3\) for targets of shape \(2, 3, 1\)"),
        ({"recordings": np.ones(2)}, TypeError, r"recordings: got float(32|64), expected integers \[B\]"),
        ({"recordings": np.zeros(3, int)}, ValueError, r"recordings: got shape \(3,\) for 2 rows"),
        ({"count": 0}, ValueError, "count: got 0"),
        ({"center": "mean"}, TypeError, "center: got 'mean'"),
    ],
)
def test_bad_arguments_are_named(change, error, named):
    with pytest.raises(error, match=named):
        CCC.of(**{"outputs": np.ones((2, 3, 1)), "targets": np.ones((2, 3, 1)), **change})


def test_a_recording_that_is_not_there_makes_the_sums_nan():
    ones = np.ones((2, 3, 1))
    assert np.isnan(of(ones, ones, recordings=np.array([0, 2]), count=2).value())
