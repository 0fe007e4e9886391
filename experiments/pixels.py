"""Which digit is it, read pixel by pixel or row by row, in order or permuted?

    launch/local experiments.pixels                           # 64 pixels of UCI's digits, GRU: 0.863 in 21 s on 2 cores
    launch/local experiments.pixels --config.permuted=true    # 0.722 in 29 s
    launch/local experiments.pixels --config.cell=lstm        # 0.899 in 32 s; permuted: 0.744
    launch/local experiments.pixels --config.reading=rows --config.data.name=mnist5k    # 0.954 in 20 s

The numbers are test accuracies with seed 0. Row by row the plain cell has 0.930, the identity cell 0.919, the LSTM
0.939. Pixel by pixel, in either order, the identity cell stays at chance (0.101) with an input kernel that starts as
small as in its source, which trains a hundred times longer; with --config.input_deviation=0.1 it has 0.736.
Not run here: --preset=paper, the source's 784 pixels of MNIST.
Sources: Le, Jaitly & Hinton 2015, arXiv 1504.00941; digits: see experiments/digits.py.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np
from flax import linen as nn

import dlcore as dl

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIGITS = [str(digit) for digit in range(10)]


@dataclass
class DataConfig:
    name: Literal["uci", "mnist5k", "mnist"] = dl.setting(
        "uci", "Data set: UCI digits, 5000 digits of MNIST, or all of MNIST."
    )
    folder: str | None = dl.setting(None, "Folder of MNIST's idx files, for the data set mnist.")
    shifts: int = dl.setting(1, "Largest random shift of a training image, in pixels.", minimum=0)
    shrink: int = dl.setting(1, "Side of the squares of pixels that are averaged to one pixel.", minimum=1)


@dataclass
class Config(dl.CellConfig, dl.Config):
    model: Literal["recurrent", "convolution"] = dl.setting(
        "recurrent", "What reads the sequence: the cell, or a causal convolution stack."
    )
    convolution: dl.TemporalConfig = field(default_factory=lambda: dl.TemporalConfig(levels=5))
    dropout: float = dl.setting(
        0.2, "Dropout rate before the last layer and in the stack.", minimum=0, below=1
    )
    reading: Literal["pixels", "rows"] = dl.setting(
        "pixels", "Content of a step: a pixel, or a row of pixels."
    )
    permuted: bool = dl.setting(False, "Permute the pixels, in the same way for all images.")
    data: DataConfig = field(default_factory=DataConfig)
    train: dl.TrainConfig = field(default_factory=lambda: dl.TrainConfig(steps=3000))
    optimizer: dl.OptimizerConfig = field(
        default_factory=lambda: dl.OptimizerConfig("adam", 1e-3, clip_norm=1.0)
    )


class Model(nn.Module):
    config: Config

    @nn.compact
    def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
        config = self.config
        if config.model == "convolution":
            stack = config.convolution.make_stack(config.features, config.dropout)
            last = stack(inputs, train=train)[:, -1]
        else:
            layer = dl.Recurrent(config.make_cell())
            carry, _ = layer(inputs)
            last = layer.hidden(carry)
        return nn.Dense(len(DIGITS))(nn.Dropout(config.dropout, deterministic=not train)(last))


def figures(model: Model, test: dict[str, np.ndarray], params: Any, model_state: Any) -> dict[str, "Figure"]:
    predicted = np.asarray(model.apply({"params": params}, test["inputs"], train=False)).argmax(-1)
    return {"confusion_matrix": dl.plots.confusion_matrix(test["labels"], predicted, DIGITS)}


def experiment(config: Config) -> dl.Experiment:
    mnist = lambda: dl.data.mnist(config.data.folder)
    sources = {"uci": dl.data.uci_digits, "mnist5k": dl.data.mnist5k, "mnist": mnist}
    train, test = sources[config.data.name]()
    settings = {"rows": config.reading == "rows", "permuted": config.permuted, "shrink": config.data.shrink}
    shift = dl.data.random_shifts(config.data.shifts)

    def read(batch: dl.data.Batch) -> dl.data.Batch:
        return {**batch, "inputs": dl.data.as_sequences(batch["inputs"], **settings)}

    model = Model(config)
    return dl.Experiment.from_flax(
        model,
        loss=dl.losses.classification,
        train_data=dl.data.ShuffledBatches(
            train,
            config.train.batch_size,
            config.seed,
            lambda batch, generator: read(shift(batch, generator)),
        ),
        eval_data=dl.data.PaddedBatches(read(test), config.train.eval_batch_size),
        figures=partial(figures, model, read(test)),
    )


if __name__ == "__main__":
    paper = Config(
        cell="identity",
        features=100,
        data=DataConfig("mnist"),
        train=dl.TrainConfig(steps=1_000_000, batch_size=16, log_every=1000, eval_every=10_000),
        optimizer=dl.OptimizerConfig("sgd", 1e-8, clip_norm=1.0),
        checkpoint=dl.CheckpointConfig(every=10_000),
    )
    dl.run(Config, experiment, presets={"paper": paper})
