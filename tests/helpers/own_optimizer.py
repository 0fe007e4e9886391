"""A small network in plain JAX with an optimizer of its own: lion with layer-wise rates and a frozen encoder.

Tests use it as a program, on eight devices: ``python -m tests.helpers.own_optimizer --workdir=FOLDER``.
"""

import dataclasses
import os
from dataclasses import dataclass, field
from typing import Any

if __name__ == "__main__":  # before jax is imported; an import of this module must not change the environment
    os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")

import jax
import jax.numpy as jnp
import optax

import dlcore as dl
from tests.helpers import plain_toy

UNITS, SLOW = 8, 0.25
SIZES = {"encoder": (plain_toy.INPUTS, UNITS), "middle": (UNITS, UNITS), "head": (UNITS, plain_toy.OUTPUTS)}


@dataclass
class Config(plain_toy.Config):
    optimizer: dl.OptimizerConfig = field(
        default_factory=lambda: dl.OptimizerConfig(
            "custom", 4e-3, "cosine", warmup_steps=4, final_fraction=0.1, weight_decay=0.1, clip_norm=0.05
        )
    )


def make_optimizer(config: Any, steps: int) -> optax.GradientTransformation:
    schedule = dl.optimizers.make_schedule(config.optimizer, steps)

    def rule(factor: float) -> optax.GradientTransformation:
        return optax.inject_hyperparams(optax.lion, static_args="mask")(
            lambda count: factor * schedule(count),
            weight_decay=config.optimizer.weight_decay,
            mask=dl.optimizers.is_decayed,
        )

    return dl.optimizers.by_path({"^encoder/": optax.set_to_zero(), "^middle/": rule(SLOW), ".*": rule(1.0)})


def init(rng: jax.Array, batch: Any) -> tuple[Any, Any]:
    keys = jax.random.split(rng, len(SIZES))
    layers = {
        name: {"kernel": jax.random.normal(key, size) / size[0] ** 0.5, "bias": jnp.zeros(size[1])}
        for key, (name, size) in zip(keys, SIZES.items(), strict=True)
    }
    return layers, {}


def loss(params: Any, model_state: Any, batch: Any, rng: jax.Array, train: bool) -> tuple[jax.Array, Any]:
    hidden = batch["inputs"]
    for name in SIZES:
        hidden = jnp.tanh(hidden) @ params[name]["kernel"] + params[name]["bias"]
    errors = (hidden - batch["targets"]) ** 2
    mean = dl.metrics.Average.of(errors, dl.metrics.place_weights(batch, errors.shape))
    return mean.value(), (model_state, {"loss": mean})


def experiment(config: Config) -> dl.Experiment:
    rules = {"kernel": (None, "model"), ".*": ()}
    plain = plain_toy.experiment(config)
    return dataclasses.replace(plain, init=init, loss=loss, optimizer=make_optimizer, sharding_rules=rules)


if __name__ == "__main__":
    dl.run(Config, experiment)
