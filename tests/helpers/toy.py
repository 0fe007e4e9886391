"""A small convolutional experiment on random images, with BatchNorm and dropout.

Tests use it directly and as a program: ``python -m tests.helpers.toy --workdir=FOLDER``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from flax import linen as nn

import dlcore as dl
from dlcore.training.run import Run


@dataclass
class Config(dl.Config):
    examples: int = dl.setting(40, "Number of examples.", minimum=1)
    train: dl.TrainConfig = field(
        default_factory=lambda: dl.TrainConfig(
            steps=12, batch_size=8, eval_batch_size=16, log_every=3, eval_every=6
        )
    )
    optimizer: dl.OptimizerConfig = field(default_factory=lambda: dl.OptimizerConfig(clip_norm=0.5))
    checkpoint: dl.CheckpointConfig = field(default_factory=lambda: dl.CheckpointConfig(every=6))


class Model(nn.Module):
    """A convolution with BatchNorm and dropout, and a dense layer."""

    @nn.compact
    def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
        maps = dl.ConvStack([dl.ConvBlock(4, norm="batch", dropout=0.2)])(inputs, train=train)
        return nn.Dense(3)(dl.flatten(maps))


def arrays(examples: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(7)
    return {
        "inputs": generator.normal(size=(examples, 4, 4, 1)).astype(np.float32),
        "labels": generator.integers(0, 3, examples).astype(np.int32),
    }


def experiment(config: Config) -> dl.Experiment:
    examples = arrays(config.examples)
    return dl.Experiment.from_flax(
        Model(),
        loss=dl.losses.classification,
        train_data=dl.data.ShuffledBatches(examples, config.train.batch_size, config.seed),
        eval_data=dl.data.PaddedBatches(examples, config.train.eval_batch_size),
        modes={"greet": greet},
    )


def greet(run: Run) -> Mapping[str, Any]:
    return {"greeting": "hello", "examples": run.config.examples}


if __name__ == "__main__":
    dl.run(Config, experiment, presets={"small": Config(examples=20)})
