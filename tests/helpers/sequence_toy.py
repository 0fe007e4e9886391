"""A small recurrent experiment on random sequences of several lengths, which classifies each frame.

Tests use it directly and as a program: ``python -m tests.helpers.sequence_toy --workdir=FOLDER``.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import numpy as np
import optax
from flax import linen as nn

import dlcore as dl

STEPS, CLASSES = 9, 3


@dataclass
class Config(dl.Config):
    cell: Literal["lstm", "bigru"] = dl.setting("lstm", "Recurrent layer.")
    features: int = dl.setting(8, "Number of units in each direction.", minimum=1)
    norm: bool = dl.setting(True, "Normalize the recurrent outputs with BatchNorm.")
    dropout: float = dl.setting(0.2, "Dropout rate before the last layer.", minimum=0, below=1)
    train: dl.TrainConfig = field(
        default_factory=lambda: dl.TrainConfig(
            steps=12, batch_size=8, eval_batch_size=10, log_every=3, eval_every=6
        )
    )
    optimizer: dl.OptimizerConfig = field(
        default_factory=lambda: dl.OptimizerConfig("adamw", 1e-2, weight_decay=1e-3, clip_norm=0.05)
    )
    checkpoint: dl.CheckpointConfig = field(default_factory=lambda: dl.CheckpointConfig(every=6))


class Model(nn.Module):
    config: Config

    @nn.compact
    def __call__(self, inputs: jax.Array, lengths: jax.Array, *, train: bool) -> jax.Array:
        features = self.config.features
        cells = {
            "lstm": lambda: dl.Recurrent(dl.LSTMCell(features)),
            "bigru": lambda: dl.Bidirectional(dl.GRUCell(features), dl.GRUCell(features)),
        }
        _, outputs = cells[self.config.cell]()(inputs, lengths)
        if self.config.norm:
            valid = dl.valid_steps(lengths, inputs.shape[-2])[..., None]
            outputs = nn.BatchNorm(use_running_average=not train, momentum=0.9)(outputs, mask=valid)
        return nn.Dense(CLASSES)(nn.Dropout(self.config.dropout, deterministic=not train)(outputs))


def loss(logits: jax.Array, batch: Any) -> tuple[jax.Array, Any]:
    """Mean cross-entropy of the valid frames, so that rows are weighted by their lengths."""
    valid = dl.valid_steps(batch["lengths"], STEPS)
    if "mask" in batch:
        valid &= batch["mask"][:, None]
    costs = optax.softmax_cross_entropy_with_integer_labels(logits.astype("float32"), batch["labels"])
    mean = dl.metrics.Average.of(costs, valid)
    accuracy = dl.metrics.Average.of(logits.argmax(-1) == batch["labels"], valid)
    return mean.value(), {"loss": mean, "accuracy": accuracy}


def arrays(examples: int = 40) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(11)
    lengths = generator.integers(0, STEPS + 1, examples).astype(np.int32)
    inputs = generator.normal(size=(examples, STEPS, 2)).astype(np.float32)
    inputs *= (np.arange(STEPS) < lengths[:, None])[..., None]
    labels = (inputs.cumsum(axis=1)[..., 0] > 0).astype(np.int32) + (inputs[..., 1] > 0)
    return {"inputs": inputs, "lengths": lengths, "labels": labels.astype(np.int32)}


def experiment(config: Config) -> dl.Experiment:
    examples = arrays()
    return dl.Experiment.from_flax(
        Model(config),
        loss=loss,
        train_data=dl.data.ShuffledBatches(examples, config.train.batch_size, config.seed),
        eval_data=dl.data.PaddedBatches(examples, config.train.eval_batch_size),
        sharding_rules={"recurrent_kernel|input_kernel": (None, "model"), ".*": ()},
    )


if __name__ == "__main__":
    dl.run(Config, experiment)
