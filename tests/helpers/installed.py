"""An experiment outside of the checkout, which `launch/package` runs with nothing but the installed dlcore."""

import importlib.util
from dataclasses import dataclass
from importlib.metadata import version

import flax.linen as nn
import jax
import numpy as np

import dlcore as dl


@dataclass
class Config(dl.Config):
    features: int = dl.setting(8, "Units of the recurrent layer.", minimum=1)


class Model(nn.Module):
    features: int

    @nn.compact
    def __call__(self, inputs: jax.Array, *, train: bool = False) -> jax.Array:
        _, outputs = dl.Recurrent(dl.LSTMCell(self.features))(inputs)
        return nn.Dense(2)(outputs[:, -1])


def experiment(config: Config) -> dl.Experiment:
    inputs = np.random.default_rng(config.seed).normal(size=(256, 10, 3)).astype(np.float32)
    arrays = {"inputs": inputs, "labels": (inputs[:, -1, 0] > 0).astype(np.int32)}
    return dl.Experiment.from_flax(
        Model(config.features),
        loss=dl.losses.classification,
        train_data=dl.data.ShuffledBatches(arrays, config.train.batch_size, config.seed),
        eval_data=dl.data.PaddedBatches(arrays, config.train.eval_batch_size),
    )


def check_installation() -> None:
    """The wheel holds dlcore alone, with its types and its data."""
    assert version("dlcore") == dl.__version__
    assert importlib.util.find_spec("experiments") is None, "the package installs a second one, experiments"
    assert all(getattr(dl, name) is not None for name in dl.__all__)
    train, _ = dl.data.japanese_vowels()
    assert len(train["inputs"]) == 270
    assert dl.data.uci_digits()[1]["inputs"].shape == (899, 8, 8, 1)


if __name__ == "__main__":
    check_installation()
    dl.run(Config, experiment)
