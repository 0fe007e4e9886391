"""The surface against a NumPy loop and central differences, its wall, and the two descents over it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.gradflow.measures.cliff import Unit, descend, loss, surface
from tests.helpers.reference import sigma


def loss_by_hand(weight, bias, steps=50, initial=0.5, target=0.7):
    state = initial
    for _ in range(steps):
        state = weight * sigma(state) + bias
    return (sigma(state) - target) ** 2


def test_surface_equals_a_loop():
    weights, biases = np.linspace(4.0, 6.0, 5), np.linspace(-3.0, -1.0, 4)
    with jax.enable_x64(True):
        found = jax.device_get(jax.jit(lambda: surface(weights, biases, Unit(steps=20)))())
    grid = np.stack(np.meshgrid(weights, biases, indexing="ij"))
    np.testing.assert_allclose(found.loss, loss_by_hand(*grid, 20), rtol=1e-12)
    shifts = 1e-6 * np.eye(2)[:, :, None, None]
    slopes = [loss_by_hand(*(grid + shift), 20) - loss_by_hand(*(grid - shift), 20) for shift in shifts]
    norms = np.linalg.norm(slopes, axis=0) / 2e-6
    np.testing.assert_allclose(np.exp(found.log_gradient_norm), norms, rtol=1e-4)


def test_the_surface_has_a_wall():
    """Along b the loss falls by a third within a thousandth, and there the gradient exceeds 333."""
    biases = jnp.linspace(-2.95, -2.90, 51)
    measure = jax.jit(surface)
    weight = jnp.array([5.5])
    found = measure(weight, biases)
    drop = found.loss[0, :-1] - found.loss[0, 1:]
    assert drop.max() > 1 / 3
    foot = int(drop.argmax())
    inside = measure(weight, jnp.linspace(biases[foot], biases[foot + 1], 51))
    assert inside.log_gradient_norm.max() > np.log(333)
    assert np.median(found.log_gradient_norm) < 0


def test_a_clipped_descent_stays_in_the_valley_and_a_plain_one_is_thrown_out():
    """In float64, because the points after the first throw depend on the last digit."""
    with jax.enable_x64(True):
        start = jnp.array([5.5, -2.6])
        plain, clipped = jax.device_get(
            jax.jit(lambda: [descend(start, 0.5, 200, clip) for clip in (None, 1.0)])()
        )
        for path in (plain, clipped):
            assert path.points[0].tolist() == [5.5, -2.6]
            np.testing.assert_allclose(path.loss[7], loss(path.points[7]), rtol=1e-12)
    norms = [np.exp(path.log_gradient_norm[:-1]) for path in (plain, clipped)]
    steps = [np.linalg.norm(np.diff(path.points, axis=0), axis=1) for path in (plain, clipped)]
    np.testing.assert_allclose(steps[0], 0.5 * norms[0], rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(steps[1], 0.5 * np.minimum(1, norms[1]), rtol=1e-6, atol=1e-12)
    assert np.argmax(steps[0] > 1) == 12
    assert steps[0][12] > 1000
    assert plain.loss[-1] == pytest.approx(0.09, abs=1e-3)  # sigma(x) is 1, and the surface is flat
    assert clipped.loss[-1] < 0.01


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: loss([5.5, -2.6]), TypeError, "point: got list, expected an array"),
        (lambda: loss(jnp.ones(3)), ValueError, r"point: got shape \(3,\), expected \[2\]"),
        (lambda: loss(jnp.ones(2), None), TypeError, "unit: got None, expected a Unit"),
        (lambda: loss(jnp.ones(2), Unit(steps=-1)), ValueError, "unit.steps: got -1"),
        (lambda: surface(jnp.ones((2, 2)), jnp.ones(2)), ValueError, r"weights: got shape \(2, 2\)"),
        (lambda: surface(jnp.ones(2), None), TypeError, "biases: got None"),
        (lambda: descend(jnp.ones(2), "0.5", 3), TypeError, "learning_rate: got '0.5'"),
        (lambda: descend(jnp.ones(2), 0.5, -1), ValueError, "updates: got -1"),
        (lambda: descend(jnp.ones(2), 0.5, 3, clip_norm=0), ValueError, "clip_norm: got 0"),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
