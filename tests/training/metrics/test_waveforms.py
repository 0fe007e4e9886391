"""The mean ratio of rows: rows and samples that do not count, and sums over batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.training.metrics import place_weights, si_sdr

OUTPUTS, TARGETS = np.random.default_rng(0).standard_normal((2, 4, 50)).astype(np.float32)


def ratio(output, target):
    scaled = (output @ target) / (target @ target) * target
    return 10 * np.log10((scaled @ scaled) / ((output - scaled) @ (output - scaled)))


ROWS = [ratio(*pair) for pair in zip(OUTPUTS.astype(float), TARGETS.astype(float), strict=True)]


@pytest.mark.parametrize("channel", [(), (1,)])
def test_the_value_is_the_mean_over_rows(channel):
    outputs, targets = (waves.reshape(*waves.shape, *channel) for waves in (OUTPUTS, TARGETS))
    assert float(si_sdr(outputs, targets).value()) == pytest.approx(np.mean(ROWS), abs=1e-3)


def test_sums_over_batches_are_those_of_all_rows():
    parts = [si_sdr(OUTPUTS[rows], TARGETS[rows]) for rows in (slice(3), slice(3, 4))]
    whole = jax.tree.map(jnp.add, *parts)
    np.testing.assert_allclose(whole, si_sdr(OUTPUTS, TARGETS), rtol=1e-5)


def test_masks_of_rows_and_samples():
    weights = np.array([1.0, 0.5, 0.0, 0.0], np.float32)
    found = si_sdr(OUTPUTS, TARGETS, weights)
    assert float(found.value()) == pytest.approx((ROWS[0] + 0.5 * ROWS[1]) / 1.5, abs=1e-3)
    batch = {"lengths": np.array([50, 20, 0, 1]), "mask": np.array([True, True, True, False])}
    places = place_weights(batch, TARGETS.shape)
    expected = [ROWS[0], ratio(OUTPUTS[1, :20].astype(float), TARGETS[1, :20].astype(float))]
    padded = [np.where(places, waves, np.nan) for waves in (OUTPUTS, TARGETS)]
    found = si_sdr(*padded, places)
    assert float(found.value()) == pytest.approx(np.mean(expected), abs=1e-3)
    assert float(found.weight) == 2


def test_a_silent_target_does_not_count():
    targets = TARGETS * np.array([1, 0, 1, 1], np.float32)[:, None]
    found = si_sdr(OUTPUTS, targets)
    assert float(found.weight) == 3
    assert float(found.value()) == pytest.approx(np.mean(np.delete(ROWS, 1)), abs=1e-3)


@pytest.mark.parametrize("shape", [(4,), (4, 50, 2), (4, 50, 1, 1)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"outputs: got \(.*expected the same shape \[B, N\]"):
        si_sdr(np.ones(shape), np.ones(shape))
