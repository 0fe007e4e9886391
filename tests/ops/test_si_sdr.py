"""The scale-invariant ratio, against NumPy in float64, and at its limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.ops.si_sdr import si_sdr


def reference(estimate, target):
    """Equation 3 of Le Roux et al. in float64."""
    scaled = (estimate @ target) / (target @ target) * target
    return 10 * np.log10((scaled @ scaled) / ((estimate - scaled) @ (estimate - scaled)))


@pytest.mark.parametrize("noise", [0.01, 0.3, 1.0, 30.0])
def test_it_equals_its_definition(noise):
    generator = np.random.default_rng(0)
    targets = generator.standard_normal((2, 3, 400))
    estimates = targets + noise * generator.standard_normal((2, 3, 400))
    expected = [
        [reference(*pair) for pair in zip(*rows, strict=True)]
        for rows in zip(estimates, targets, strict=True)
    ]
    found = si_sdr(jnp.asarray(estimates, jnp.float32), jnp.asarray(targets, jnp.float32))
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_an_orthogonal_error_gives_the_ratio_of_energies():
    target, error = np.array([3.0, 0.0], np.float32), np.array([0.0, 0.3], np.float32)
    assert float(si_sdr(target + error, target)) == pytest.approx(20, abs=1e-3)


@pytest.mark.parametrize("scale", [1e-4, -2.0, 1e4])
def test_the_scales_of_both_waveforms_do_not_matter(scale):
    estimate, target = np.random.default_rng(0).standard_normal((2, 100)).astype(np.float32)
    expected = si_sdr(estimate, target)
    np.testing.assert_allclose(si_sdr(scale * estimate, target), expected, atol=1e-3)
    np.testing.assert_allclose(si_sdr(estimate, np.float32(scale) * target), expected, atol=1e-3)


WAVE, ZERO = np.array([1.0, -1.0, 2.0], np.float32), np.zeros(3, np.float32)


@pytest.mark.parametrize(
    ("estimate", "target", "expected"),
    [
        (WAVE, WAVE, 80),
        (ZERO, WAVE, -80),
        (WAVE, ZERO, -80),
        (ZERO, ZERO, -80),
        (np.array([1.0, 1.0, 0.0], np.float32), WAVE, -80),
    ],
    ids=["perfect", "silent", "silent target", "both silent", "orthogonal"],
)
def test_the_limits_are_finite_and_so_are_the_gradients(estimate, target, expected):
    value, gradient = jax.value_and_grad(si_sdr)(jnp.asarray(estimate), jnp.asarray(target))
    assert float(value) == pytest.approx(expected, abs=0.01)
    assert np.isfinite(gradient).all()


def test_samples_that_do_not_count_are_inert():
    estimate, target = np.random.default_rng(0).standard_normal((2, 6)).astype(np.float32)
    valid = np.arange(6) < 4
    padded = [jnp.asarray(np.where(valid, wave, np.nan)) for wave in (estimate, target)]
    value, gradient = jax.value_and_grad(si_sdr)(*padded, jnp.asarray(valid))
    expected, known = jax.value_and_grad(si_sdr)(jnp.asarray(estimate[:4]), jnp.asarray(target[:4]))
    assert float(value) == pytest.approx(float(expected), abs=1e-5)
    np.testing.assert_allclose(gradient, np.pad(known, (0, 2)), atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((2, 3)), np.ones(3)), r"estimates: got \(2, 3\) for targets of shape \(3,\)"),
        ((np.float32(1), np.float32(1)), "estimates: got"),
        ((np.ones(3), np.ones(3), np.ones(2, bool)), r"valid: got shape \(2,\)"),
    ],
)
def test_other_shapes_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        si_sdr(*arguments)
