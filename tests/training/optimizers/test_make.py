"""The optimizer of a run: what is dlcore's around it, and where the state of earlier versions is."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlcore.training import loop
from dlcore.training.engine import Engine
from dlcore.training.optimizers.clipping import find_clip_state
from dlcore.training.optimizers.config import OptimizerConfig, PathFactor
from dlcore.training.optimizers.make import make_optimizer, wrap_optimizer
from dlcore.training.telemetry.metrics_log import read_metrics
from dlcore.utils.trees import named_leaves
from tests.helpers import plain_toy
from tests.helpers.bits import assert_same_bits

PARAMS = {"bias": jnp.ones(2), "kernel": jnp.ones((2, 2))}
PATHS = {
    "sgd": ["1/1/count"],
    "momentum": ["1/0/trace/bias", "1/0/trace/kernel", "1/1/count"],
    "adam": ["1/0/count", "1/0/mu/bias", "1/0/mu/kernel", "1/0/nu/bias", "1/0/nu/kernel", "1/1/count"],
    "adamw": ["1/0/count", "1/0/mu/bias", "1/0/mu/kernel", "1/0/nu/bias", "1/0/nu/kernel", "1/2/count"],
}


@pytest.mark.parametrize("name", PATHS)
def test_states_have_the_paths_of_earlier_versions(name):
    """Checkpoints have these paths; with L2 weight decay, which has no state, the rule comes one place later."""
    clip = ["0/norm", "0/clipped_norm"]
    for decay, place in ((0.0, "1"), (0.1, "1" if name == "adamw" else "2")):
        config = OptimizerConfig(name, weight_decay=decay, schedule="cosine", clip_norm=1.0)
        state = jax.eval_shape(make_optimizer(config, 10).init, PARAMS)
        assert list(named_leaves(state)) == [*clip, *(place + path[1:] for path in PATHS[name])]


def config_of(**settings):
    config = plain_toy.Config()
    return dataclasses.replace(config, optimizer=OptimizerConfig("custom", **settings))


def test_an_optimizer_of_the_experiment_is_clipped_and_does_not_see_what_is_frozen():
    asked = []

    def make(config, steps):
        asked.append((config.optimizer.learning_rate, steps))
        return optax.scale(-config.optimizer.learning_rate)

    optimizer = wrap_optimizer(make, config_of(learning_rate=0.5, clip_norm=1.0, frozen=("bias",)))
    updates, state = optimizer.update(PARAMS, optimizer.init(PARAMS), PARAMS)
    assert asked == [(0.5, 12)]
    np.testing.assert_array_equal(updates["bias"], 0)
    np.testing.assert_allclose(updates["kernel"], -0.25, rtol=1e-6)
    assert [float(norm) for norm in find_clip_state(state)] == [pytest.approx(2), pytest.approx(1)]


def test_an_accumulating_optimizer_is_taken_as_it_is():
    optimizer = wrap_optimizer(lambda config, steps: optax.MultiSteps(optax.sgd(1.0), 2), config_of())
    state, moved = optimizer.init(PARAMS), []
    for _ in range(2):
        updates, state = optimizer.update(PARAMS, state, PARAMS)
        moved.append(float(updates["bias"][0]))
    assert moved == [0, -1]


def test_what_is_no_optimizer_and_rates_without_an_effect_are_refused():
    for made in (None, optax.sgd, (lambda params: (), lambda grads, state: (grads, state))):
        with pytest.raises(TypeError, match=r"optimizer: got .* returned, expected an optax transformation"):
            wrap_optimizer(lambda config, steps, made=made: made, config_of())
    with pytest.raises(
        ValueError, match=r"--config.optimizer.rates: got bias=2 with an optimizer of the experiment's"
    ):
        wrap_optimizer(lambda config, steps: optax.sgd(1.0), config_of(rates=(PathFactor("bias=2"),)))


@pytest.mark.slow
def test_a_run_with_a_plateau_goes_on_with_the_same_bits_and_logs_the_rate_that_fell(tmp_path):
    def run(folder, steps):
        config = plain_toy.Config()
        config.train.steps, config.train.log_every = steps, 1
        config.optimizer = OptimizerConfig(
            "sgd", 1e-3, "plateau", plateau_window=2, plateau_patience=1, plateau_factor=0.5
        )
        folder.mkdir(exist_ok=True)
        return loop.train(Engine(plain_toy.experiment(config), config), folder).state

    whole = run(tmp_path / "whole", 13)
    run(tmp_path / "parts", 7)  # in the middle of a window
    assert_same_bits(jax.device_get(run(tmp_path / "parts", 13)), jax.device_get(whole))
    tables = [read_metrics(tmp_path / part / "metrics.csv") for part in ("whole", "parts")]
    losses, rates = (
        [value for _, name, value in tables[0] if name == f"train/{what}"]
        for what in ("loss", "learning_rate")
    )
    assert [row for row in tables[1] if row[0] > 7] == [row for row in tables[0] if row[0] > 7]
    scale, best, expected = 1e-3, np.inf, []
    for step, loss in enumerate(losses):
        if step % 2:
            mean = (losses[step - 1] + loss) / 2
            best, scale = (mean, scale) if mean < best * (1 - 1e-4) else (best, scale / 2)
        expected.append(scale)
    assert len(set(expected)) > 2
    np.testing.assert_allclose(rates, expected, rtol=1e-6)
