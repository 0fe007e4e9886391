"""The learning rates that are read from an optimizer state are those that its last update used."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlcore.training.optimizers.by_path import by_path
from dlcore.training.optimizers.config import OptimizerConfig, PathFactor
from dlcore.training.optimizers.make import make_optimizer
from dlcore.training.optimizers.rates import shown_rates, used_rates

PARAMS = {"encoder": jnp.ones(3), "head": jnp.ones(2), "learning_rate": jnp.ones(())}
LINEAR = optax.linear_schedule(1.0, 0.0, 4)
SGD = optax.inject_hyperparams(optax.sgd)


def test_the_rates_of_a_config_are_those_of_its_updates():
    """The update of sgd is -rate * gradient, so it says what was used; here the gradient is 1."""
    rates = (PathFactor("^encoder=0.5"), PathFactor("head=3"))
    config = OptimizerConfig("sgd", 1.0, "linear", frozen=("^learning_rate",), rates=rates)
    optimizer, read = make_optimizer(config, 4), used_rates(config, 4)

    def step(state, _):
        updates, state = optimizer.update(jax.tree.map(jnp.ones_like, PARAMS), state, PARAMS, value=1.0)
        return state, (updates, read(state))

    _, (updates, found) = jax.jit(lambda: jax.lax.scan(step, optimizer.init(PARAMS), None, 4))()
    expected = np.array([1, 0.75, 0.5, 0.25])
    np.testing.assert_allclose(found["learning_rate"], expected)
    np.testing.assert_allclose(found["learning_rate/^encoder"], -updates["encoder"][:, 0])
    np.testing.assert_allclose(found["learning_rate/head"], -updates["head"][:, 0])
    np.testing.assert_allclose(-updates["encoder"][:, 0], 0.5 * expected)
    np.testing.assert_array_equal(updates["learning_rate"], 0)
    np.testing.assert_allclose(read(optimizer.init(PARAMS))["learning_rate"], 1)  # that of the first update


def shown(optimizer, updates=2):
    state = optimizer.init(PARAMS)
    for _ in range(updates):
        _, state = optax.with_extra_args_support(optimizer).update(
            PARAMS, state, PARAMS, value=jnp.float32(1)
        )
    return {name: float(rate) for name, rate in shown_rates(state).items()}


SHOWN = {
    "none": (optax.adam(0.1), {}),
    "a schedule that is not shown": (optax.sgd(LINEAR), {}),
    "one": (optax.chain(optax.clip(1.0), SGD(LINEAR)), {"learning_rate": 0.75}),
    "one of two parts": (by_path({"head": optax.set_to_zero(), ".*": SGD(LINEAR)}), {"learning_rate": 0.75}),
    "two parts": (
        by_path({"^encoder": SGD(0.5), ".*": SGD(LINEAR)}),
        {"learning_rate/^encoder": 0.5, "learning_rate/.*": 0.75},
    ),
    "two in a part": (
        optax.chain(SGD(0.5), by_path({".*": SGD(LINEAR)})),
        {"learning_rate/0": 0.5, "learning_rate/1": 0.75},
    ),
    "waiting": (optax.MultiSteps(SGD(LINEAR), 2).gradient_transformation(), {"learning_rate": 1.0}),
}


@pytest.mark.parametrize("name", SHOWN)
def test_any_state_shows_the_rates_of_its_parts(name):
    optimizer, expected = SHOWN[name]
    assert shown(optimizer) == pytest.approx(expected)


def test_a_plateau_counts_for_what_is_inside_of_its_part():
    """With a patience of 1, the second and the third equal loss reduce the rate each time."""
    plateau = optax.contrib.reduce_on_plateau(0.5, patience=1)
    inside = by_path({"^encoder": optax.chain(SGD(0.5), plateau), ".*": SGD(0.25)})
    assert shown(inside, 3) == {"learning_rate/^encoder": 0.125, "learning_rate/.*": 0.25}
    assert shown(optax.chain(inside, plateau), 2) == {
        "learning_rate/^encoder": 0.125,
        "learning_rate/.*": 0.125,
    }
