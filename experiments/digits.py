"""Which digit is it? Handwritten digits, classified by the lecture's pipeline: (conv -> ReLU -> pool) x N -> dense.

    launch/local experiments.digits                             # UCI digits, 8 x 8: 0.992 in 10 s on 2 cores
    launch/local experiments.digits --config.data.name=mnist5k  # 5000 of MNIST, 28 x 28: 0.986 in 57 s
    launch/local experiments.digits --preset=mnist --config.data.folder=FOLDER    # all of MNIST

Test accuracies are medians of the seeds 0, 1, 2. The SVC of scikit-learn has 0.970 and 0.959 on the same splits.
FOLDER holds MNIST's four idx files.
Sources: the lecture's CNN part; UCI digits: Alpaydin & Kaynak 1998; MNIST: LeCun, Cortes & Burges 1998.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import jax
from flax import linen as nn

import dlcore as dl


@dataclass
class DataConfig(dl.data.DigitConfig):
    shifts: int = dl.setting(1, "Largest random shift of a training image, in pixels.", minimum=0)


BLOCKS: dict[str, dict[str, Any]] = {
    "plain": {},
    "norm": {"norm": "batch"},
    "residual": {"norm": "batch", "convolutions": 2, "residual": True},
}
"""Options of `dl.ConvBlock` by the name of the model."""


@dataclass
class Config(dl.Config):
    model: Literal["plain", "norm", "residual"] = dl.setting(
        "norm",
        "Blocks of the stack: as in the lecture; with BatchNorm; or with two convolutions, BatchNorm and a shortcut.",
    )
    features: tuple[int, ...] = dl.setting((32, 64), "Number of filters of each block.", minimum=1)
    hidden: int = dl.setting(128, "Number of units of the first fully connected layer.", minimum=1)
    dropout: float = dl.setting(0.3, "Dropout rate before each fully connected layer.", minimum=0, below=1)
    label_smoothing: float = dl.setting(
        0.1, "Label smoothing of the training and evaluation loss.", minimum=0, below=1
    )
    data: DataConfig = field(default_factory=DataConfig)
    train: dl.TrainConfig = field(default_factory=lambda: dl.TrainConfig(steps=3000))
    optimizer: dl.OptimizerConfig = field(
        default_factory=lambda: dl.OptimizerConfig(
            "adamw", 2e-3, schedule="cosine", warmup_steps=50, weight_decay=1e-3, clip_norm=1.0
        )
    )


class Model(nn.Module):
    block: str
    features: tuple[int, ...]
    hidden: int
    dropout: float

    @nn.compact
    def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
        blocks = [dl.ConvBlock(k, remainder="floor", **BLOCKS[self.block]) for k in self.features]
        maps = dl.ConvStack(blocks, name="stack")(inputs, train=train)
        vector = nn.Dropout(self.dropout, deterministic=not train)(dl.flatten(maps))
        hidden = nn.relu(nn.Dense(self.hidden)(vector))
        return nn.Dense(10)(nn.Dropout(self.dropout, deterministic=not train)(hidden))


def experiment(config: Config) -> dl.Experiment:
    train, test = config.data.load()
    model = Model(config.model, config.features, config.hidden, config.dropout)
    return dl.Experiment.from_flax(
        model,
        loss=partial(dl.losses.classification, label_smoothing=config.label_smoothing),
        train_data=dl.data.ShuffledBatches(
            train, config.train.batch_size, config.seed, dl.data.random_shifts(config.data.shifts)
        ),
        eval_data=dl.data.PaddedBatches(test, config.train.eval_batch_size),
        figures=partial(dl.classifier_figures, model, [str(digit) for digit in range(10)], test),
    )


if __name__ == "__main__":
    mnist = Config(data=DataConfig("mnist"), train=dl.TrainConfig(steps=20_000, batch_size=128))
    dl.run(Config, experiment, presets={"mnist": mnist})
