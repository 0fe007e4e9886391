"""Steps that are chosen on dev recover what was done to a contour, and never make dev worse."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from dlcore.data.speech.contours.postprocessing import (
    Postprocessing,
    apply,
    choose_postprocessing,
    concatenated_ccc,
    median_filter,
    move,
)


def contours(seed=0, recordings=3, frames=1500, smooth=20):
    noise = np.random.default_rng(seed).standard_normal((recordings, frames))
    smoothed = gaussian_filter1d(noise, smooth, axis=1, mode="nearest")
    return list(0.3 * smoothed / smoothed.std() + 0.1)


@pytest.mark.parametrize("frames", [40, -40])
def test_an_injected_delay_is_recovered(frames):
    gold = contours()
    steps = choose_postprocessing([move(contour, -frames) for contour in gold], gold)
    assert steps.shift * 25 == pytest.approx(frames)


def test_bias_and_scale_are_recovered():
    gold = contours()
    predicted = [0.4 * contour - 0.5 for contour in gold]
    steps = choose_postprocessing(predicted, gold)
    assert steps.scale == pytest.approx(1 / 0.4, rel=0.05)
    bias = steps.mean - steps.scale * steps.center
    assert bias == pytest.approx(0.5 / 0.4, rel=0.05)
    assert concatenated_ccc(apply(steps, predicted), gold) == pytest.approx(1, abs=1e-3)


def test_all_at_once():
    gold = contours()
    noise = np.random.default_rng(1)
    predicted = [
        0.3 * move(contour, -40) + 0.2 + 0.2 * noise.standard_normal(len(contour)) for contour in gold
    ]
    steps = choose_postprocessing(predicted, gold)
    assert steps.median > 0
    assert abs(steps.shift - 1.6) < 0.041
    assert concatenated_ccc(apply(steps, predicted), gold) > 0.9


def test_scaling_keeps_the_mean():
    predicted = contours(smooth=2)
    scaled = Postprocessing(center=0.1, mean=0.1, scale=3.0)(predicted[0])
    assert scaled.std() == pytest.approx(3 * predicted[0].std())
    assert scaled.mean() == pytest.approx(0.1 + 3 * (predicted[0].mean() - 0.1))


@pytest.mark.parametrize("seed", range(4))
def test_dev_is_never_lower_and_unknown_gold_changes_nothing(seed):
    gold, predicted = contours(seed), contours(seed + 100, smooth=3)
    chosen = choose_postprocessing(predicted, gold)
    assert concatenated_ccc(apply(chosen, predicted), gold) >= concatenated_ccc(predicted, gold)
    unknown = np.full(300, np.nan)
    assert choose_postprocessing([*predicted, np.ones(300)], [*gold, unknown]) == chosen


def test_a_perfect_prediction_stays():
    gold = contours()
    assert choose_postprocessing(gold, gold) == Postprocessing()


def test_the_median_leaves_steps_and_removes_spikes():
    contour = np.r_[np.zeros(50), np.ones(50)]
    assert median_filter(contour, 0.4).tolist() == contour.tolist()
    contour[20] = 9
    assert median_filter(contour, 0.4)[20] == 0
    assert median_filter(contour, 0).tolist() == contour.tolist()


@pytest.mark.parametrize(
    ("predicted", "gold", "error", "named"),
    [
        (None, [np.ones(3)], TypeError, "predicted: got None"),
        ([np.ones(3)], [np.ones(4)], ValueError, r"predicted: got shapes \[\(3,\)\] for gold of \[\(4,\)\]"),
        ([np.ones(3)], [np.full(3, np.nan)], ValueError, "gold: got no number that is known"),
    ],
)
def test_bad_arguments_are_named(predicted, gold, error, named):
    with pytest.raises(error, match=named):
        choose_postprocessing(predicted, gold)
