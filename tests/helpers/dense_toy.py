"""Two dense layers in plain JAX, with rules that split them over the model axis; every dimension is a multiple of 8.

``width`` makes a step need as much memory as a test wants: so many copies of the hidden units, ``[B, width * HIDDEN]``.
"""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import dlcore as dl

INPUTS, HIDDEN, OUTPUTS = 64, 128, 8
PARAMETERS = INPUTS * HIDDEN + HIDDEN * OUTPUTS


@dataclass
class Config(dl.Config):
    width: int = dl.setting(1, "Number of copies of the hidden units.", minimum=1)
    train: dl.TrainConfig = field(
        default_factory=lambda: dl.TrainConfig(steps=4, batch_size=32, eval_batch_size=16)
    )
    optimizer: dl.OptimizerConfig = field(
        default_factory=lambda: dl.OptimizerConfig("momentum", 0.1, clip_norm=None)
    )


def init(rng: jax.Array, batch: Any) -> tuple[Any, Any]:
    first, second = jax.random.split(rng)
    return {
        "hidden": jax.random.normal(first, (INPUTS, HIDDEN)),
        "outputs": jax.random.normal(second, (HIDDEN, OUTPUTS)),
    }, {}


def make_loss(width: int) -> Any:
    def loss(params: Any, model_state: Any, batch: Any, rng: jax.Array, train: bool) -> tuple[jax.Array, Any]:
        hidden = jnp.tanh(batch["inputs"] @ params["hidden"])
        if width > 1:
            # The compiler cannot do without these copies.
            copies = jax.lax.optimization_barrier(jnp.tile(hidden, width))
            hidden = copies.reshape(len(hidden), width, HIDDEN).mean(axis=1)
        errors = (hidden @ params["outputs"] - batch["targets"]) ** 2
        mean = dl.metrics.Average.of(errors, batch.get("mask"))
        return mean.value(), (model_state, {"loss": mean})

    return loss


def experiment(config: Config) -> dl.Experiment:
    generator = np.random.default_rng(5)
    arrays = {
        "inputs": generator.normal(size=(512, INPUTS)).astype(np.float32),
        "targets": generator.normal(size=(512, OUTPUTS)).astype(np.float32),
    }
    return dl.Experiment(
        init=init,
        loss=make_loss(config.width),
        train_data=dl.data.ShuffledBatches(arrays, config.train.batch_size, config.seed),
        eval_data=dl.data.PaddedBatches(arrays, config.train.eval_batch_size),
        best="loss",
        sharding_rules={"hidden": (None, "model"), "outputs": ("model", None)},
    )


if __name__ == "__main__":
    dl.run(Config, experiment)
