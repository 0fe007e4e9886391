"""A small experiment in plain JAX on random sequences of several lengths; it compiles in a fraction of a second.

Each frame predicts four numbers linearly. The loss draws dropout, and the model state changes in every step. Tests
use it directly and as a program: ``python -m tests.helpers.plain_toy --workdir=FOLDER``.
"""

import dataclasses
import os
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import dlcore as dl
from dlcore.training.engine import Engine
from dlcore.training.state import NONE_BAD, TrainState

ROWS, STEPS, INPUTS, OUTPUTS = 40, 5, 2, 4


@dataclass
class Config(dl.Config):
    dropout: float = dl.setting(0.0, "Fraction of the inputs that training sets to 0.", minimum=0, below=1)
    train: dl.TrainConfig = field(
        default_factory=lambda: dl.TrainConfig(
            steps=12, batch_size=8, eval_batch_size=10, log_every=3, eval_every=6
        )
    )
    optimizer: dl.OptimizerConfig = field(
        default_factory=lambda: dl.OptimizerConfig("momentum", 0.1, clip_norm=0.05)
    )
    checkpoint: dl.CheckpointConfig = field(default_factory=lambda: dl.CheckpointConfig(every=6))


def arrays() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(3)
    inputs = generator.normal(size=(ROWS, STEPS, INPUTS)).astype(np.float32)
    weights = generator.normal(size=(INPUTS, OUTPUTS)).astype(np.float32)
    lengths = generator.integers(0, STEPS + 1, ROWS).astype(np.int32)
    return {"inputs": inputs, "lengths": lengths, "targets": inputs @ weights + 0.1}


def init(rng: jax.Array, batch: Any) -> tuple[Any, Any]:
    weights = jax.random.normal(rng, (INPUTS, OUTPUTS))
    return {"bias": jnp.zeros(OUTPUTS), "weights": weights}, {"mean": jnp.zeros(())}


def make_loss(dropout: float) -> Any:
    def loss(params: Any, model_state: Any, batch: Any, rng: jax.Array, train: bool) -> tuple[jax.Array, Any]:
        inputs = batch["inputs"]
        if train and dropout:
            inputs = jnp.where(jax.random.bernoulli(rng, 1 - dropout, inputs.shape), inputs, 0)
        errors = (predict(params, model_state, {"inputs": inputs}) - batch["targets"]) ** 2
        valid = jnp.arange(inputs.shape[1]) < batch["lengths"][:, None]
        if "mask" in batch:
            valid &= batch["mask"][:, None]
        mean = dl.metrics.Average.of(errors, valid)
        moved = {"mean": 0.9 * model_state["mean"] + 0.1 * inputs.mean()} if train else model_state
        return mean.value(), (moved, {"loss": mean})

    return loss


def predict(params: Any, model_state: Any, batch: Any) -> jax.Array:
    return batch["inputs"] @ params["weights"] + params["bias"]


def experiment(config: Config) -> dl.Experiment:
    examples = arrays()
    return dl.Experiment(
        init=init,
        loss=make_loss(config.dropout),
        train_data=dl.data.ShuffledBatches(examples, config.train.batch_size, config.seed),
        eval_data=dl.data.PaddedBatches(examples, config.train.eval_batch_size),
        best="loss",
        lower_is_better=True,
        sharding_rules={"weights": (None, "model"), ".*": ()},
        predict=predict,
    )


def make_engine(dropout: float = 0.0, seed: int = 0, **train: Any) -> Engine:
    """The engine of the toy with other settings of training."""
    config = Config(seed=seed, dropout=dropout)
    config.train = dataclasses.replace(config.train, **train)
    return Engine(experiment(config), config)


def make_state(engine: Engine) -> TrainState:
    """A state at step 0 of NumPy arrays, made without a compilation."""
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), engine.abstract_state)
    weights = np.random.default_rng(1).normal(size=(INPUTS, OUTPUTS)).astype(np.float32)
    params = {"bias": np.zeros(OUTPUTS, np.float32), "weights": weights}
    average = None if zeros.average is None else params
    return zeros.replace(params=params, average=average, bad_step=np.int32(NONE_BAD))


def interrupting(engine: Engine, stop: int, signal_number: int) -> Engine:
    """The same engine, whose data sends a signal to this process when the batch of one step is read."""

    class Data:
        batch_size, examples = 8, ROWS

        def __getitem__(self, step: int) -> Any:
            if step == stop:
                os.kill(os.getpid(), signal_number)
            return engine.experiment.train_data[step]

    return Engine(dataclasses.replace(engine.experiment, train_data=Data()), engine.config)


if __name__ == "__main__":
    dl.run(Config, experiment)
