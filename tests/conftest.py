"""Shared by all tests: a compilation cache that outlives the process, and a small experiment."""

import os
from pathlib import Path

# Before jax is imported, and in the environment so that the processes that tests start have it too.
CACHE = Path(__file__).parent.parent / ".cache" / "jax"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")

from dataclasses import dataclass

import jax
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests that take minutes, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in slow]


class ToyModel(nn.Module):
    """A little of everything that has state: a convolution, BatchNorm, dropout."""

    @nn.compact
    def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
        maps = dl.ConvStack([dl.ConvBlock(4, norm="batch", dropout=0.2)])(inputs, train=train)
        return nn.Dense(3)(dl.flatten(maps))


@dataclass
class Toy:
    """An experiment on random images, its config, and the arrays it learns."""

    experiment: dl.Experiment
    config: dl.Config
    arrays: dict[str, np.ndarray]


def make_toy(seed: int = 0, **train: int) -> Toy:
    generator = np.random.default_rng(7)
    arrays = {
        "inputs": generator.normal(size=(40, 4, 4, 1)).astype(np.float32),
        "labels": generator.integers(0, 3, 40).astype(np.int32),
    }
    settings = {"steps": 12, "batch_size": 8, "eval_batch_size": 16, "log_every": 4, "eval_every": 6, **train}
    config = dl.Config(seed=seed, train=dl.TrainConfig(**settings), checkpoint=dl.CheckpointConfig(every=6))
    config.optimizer.clip_norm = 0.5
    experiment = dl.Experiment.from_flax(
        ToyModel(),
        loss=dl.losses.classification,
        train_data=dl.data.ShuffledBatches(arrays, settings["batch_size"], seed),
        eval_data=dl.data.PaddedBatches(arrays, settings["eval_batch_size"]),
    )
    return Toy(experiment, config, arrays)


@pytest.fixture(name="make_toy")
def make_toy_fixture():
    return make_toy
