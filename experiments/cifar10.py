"""What is in the picture? CIFAR-10, classified by a residual stack of convolutions.

    launch/local experiments.cifar10 --config.data.folder=FOLDER

FOLDER holds CIFAR-10's binary files, data_batch_1.bin to data_batch_5.bin and test_batch.bin. The project brings no
copy of them, so that no accuracy is claimed here.
Sources: Krizhevsky 2009; residual blocks: He et al. 2015; the lecture's CNN part.
"""

from dataclasses import dataclass, field
from functools import partial

import jax
from flax import linen as nn

import dlcore as dl

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass
class DataConfig:
    folder: str | None = dl.setting(None, "Folder of CIFAR-10's binary files.")
    shifts: int = dl.setting(
        4, "Largest random shift of a training image, in pixels; images are also mirrored.", minimum=0
    )


@dataclass
class Config(dl.Config):
    features: tuple[int, ...] = dl.setting(
        (64, 128, 256), "Number of filters of each residual block.", minimum=1
    )
    dropout: float = dl.setting(0.2, "Dropout rate after each residual block.", minimum=0, below=1)
    label_smoothing: float = dl.setting(
        0.1, "Label smoothing of the training and evaluation loss.", minimum=0, below=1
    )
    data: DataConfig = field(default_factory=DataConfig)
    train: dl.TrainConfig = field(
        default_factory=lambda: dl.TrainConfig(steps=12_000, batch_size=128, eval_every=1000)
    )
    optimizer: dl.OptimizerConfig = field(
        default_factory=lambda: dl.OptimizerConfig(
            "adamw", 2e-3, schedule="cosine", warmup_steps=500, weight_decay=0.05, clip_norm=1.0
        )
    )


class Model(nn.Module):
    features: tuple[int, ...]
    dropout: float

    @nn.compact
    def __call__(self, inputs: jax.Array, *, train: bool) -> jax.Array:
        residual = partial(dl.ConvBlock, norm="batch", convolutions=2, residual=True, dropout=self.dropout)
        blocks = [dl.ConvBlock(32, norm="batch", pool=None), *map(residual, self.features)]
        maps = dl.ConvStack(blocks, name="stack")(inputs, train=train)
        return nn.Dense(len(NAMES))(dl.global_avg_pool(maps))


def experiment(config: Config) -> dl.Experiment:
    train, test = dl.data.cifar10(config.data.folder)
    shift = dl.data.random_shifts(config.data.shifts)
    augment = lambda batch, generator: dl.data.random_flips(shift(batch, generator), generator)
    model = Model(config.features, config.dropout)
    return dl.Experiment.from_flax(
        model,
        loss=partial(dl.losses.classification, label_smoothing=config.label_smoothing),
        train_data=dl.data.ShuffledBatches(train, config.train.batch_size, config.seed, augment),
        eval_data=dl.data.PaddedBatches(test, config.train.eval_batch_size),
        figures=partial(dl.classifier_figures, model, NAMES, test),
    )


if __name__ == "__main__":
    dl.run(Config, experiment)
