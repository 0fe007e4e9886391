"""Which digit moves, and where to? A convolutional network reads each frame, a recurrent one what it found.

    launch/local experiments.video                             # the digit of each clip, by an LSTM
    launch/local experiments.video --config.labels=frames      # the motion in each frame: still, left, right, up, down
    launch/local experiments.video --config.reader=conv_lstm   # the ConvLSTM keeps the places of the feature maps

The digits are real, half of them of writers who are in no training clip; their motion, and the film that loses 30 % of
its pixels anew in every frame, are made by `dl.data.moving_digits`. Baselines with the same convolutional network are
--config.reader=mean, the mean of all frames so far, and --config.reader=frame, the last frame alone.
Settings were chosen within the training part; test clips hold test digits. docs/applications.md has the numbers.
Sources: ConvLSTM: Shi et al. 2015, arXiv 1506.04214; digits: Alpaydin & Kaynak 1998 (UCI, CC BY 4.0).
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

import dlcore as dl
from dlcore.data.vision.moving_digits import MOTIONS

DIGITS = tuple(str(digit) for digit in range(10))


@dataclass
class Config(dl.Config):
    labels: Literal["clip", "frames"] = dl.setting(
        "clip", "What is labeled: the digit of each clip, or the motion in each of its frames."
    )
    reader: Literal["lstm", "conv_lstm", "mean", "frame"] = dl.setting(
        "lstm", "What reads the frames: an LSTM, a ConvLSTM, or as a baseline their mean or the last frame."
    )
    data: dl.data.DigitConfig = field(default_factory=dl.data.DigitConfig)
    affine: dl.data.AffineConfig = field(default_factory=dl.data.AffineConfig)
    hidden: float = dl.setting(0.3, "Share of a frame's pixels that are black.", minimum=0, below=1)
    filters: tuple[int, ...] = dl.setting(
        (16, 32, 32), "Filters of each block; only the first has a pool.", minimum=1
    )
    features: int = dl.setting(128, "Number of units of the LSTM, and of its inputs.", minimum=1)
    maps: int = dl.setting(8, "Number of feature maps of the ConvLSTM.", minimum=1)
    dropout: float = dl.setting(
        0.2, "Dropout rate in the blocks and before the last layer.", minimum=0, below=1
    )
    test_clips: int = dl.setting(1000, "Number of clips with test digits.", minimum=1)
    train: dl.TrainConfig = field(default_factory=lambda: dl.TrainConfig(steps=2000))
    optimizer: dl.OptimizerConfig = field(
        default_factory=lambda: dl.OptimizerConfig(
            "adamw", 3e-3, schedule="cosine", warmup_steps=50, weight_decay=1e-3, clip_norm=1.0
        )
    )


class Model(nn.Module):
    """Logits for each frame, ``[B, T, classes]``: of the frames up to this one."""

    config: Config
    classes: int

    @nn.compact
    def __call__(self, inputs: jax.Array, lengths: jax.Array, *, train: bool) -> jax.Array:
        config = self.config
        first, *more = config.filters  # one pool alone: digits of 8 pixels have fine strokes
        block = partial(dl.ConvBlock, norm="batch", dropout=config.dropout)
        stack = dl.ConvStack([block(first, convolutions=2), *(block(n, pool=None) for n in more)])
        maps = dl.TimeDistributed(stack)(inputs, lengths, train=train)
        if config.reader == "conv_lstm":
            _, maps = dl.Recurrent(dl.ConvLSTMCell(config.maps, 3))(maps, lengths)
        vectors = nn.relu(nn.Dense(config.features)(maps.reshape(*maps.shape[:2], -1)))
        if config.reader == "lstm":
            _, vectors = dl.Recurrent(dl.LSTMCell(config.features))(vectors, lengths)
        elif config.reader == "mean":
            vectors = vectors.cumsum(axis=1) / jnp.arange(1, vectors.shape[1] + 1)[:, None]
        return nn.Dense(self.classes)(nn.Dropout(config.dropout, deterministic=not train)(vectors))


def clip_loss(logits: jax.Array, batch: Any) -> Any:
    """Every frame is trained to name the digit of its clip; the accuracy counts the last frame, which saw all."""
    each = jnp.broadcast_to(batch["labels"][:, None], logits.shape[:2])
    value, metrics = dl.losses.classification(logits, {**batch, "labels": each})
    last = dl.last_over_time(logits, batch["lengths"])
    return value, {**metrics, "accuracy": dl.metrics.accuracy(last, batch["labels"], batch.get("mask"))}


def figures(model: Model, test: dict[str, np.ndarray], params: Any, model_state: Any) -> Any:
    inputs, lengths, labels = (test[name][:200] for name in ("inputs", "lengths", "labels"))
    predicted = np.asarray(
        model.apply({"params": params, **model_state}, inputs, lengths, train=False)
    ).argmax(-1)
    names = DIGITS if labels.ndim == 1 else MOTIONS
    truths = np.array(names)[labels[:6]].tolist()
    each = labels if labels.ndim == 2 else labels[:, None]
    return {
        "film": dl.plots.film_strip(inputs[:6], lengths[:6], truths, np.array(names)[predicted[:6]].tolist()),
        "accuracy_over_time": dl.plots.accuracy_over_time(lengths, predicted == each, "frames"),
    }


def experiment(config: Config) -> dl.Experiment:
    train, test = config.data.load()
    frames, size = config.labels == "frames", 2 * train["inputs"].shape[1]
    clips = partial(dl.data.moving_digits, canvas=size, hidden=config.hidden, frame_labels=frames)
    train_clips = partial(clips, digits=train, transform=config.affine.make_transform())
    held_out = dl.data.held_out(partial(clips, digits=test), config.test_clips)
    model = Model(config, len(MOTIONS) if frames else len(DIGITS))
    return dl.Experiment.from_flax(
        model,
        loss=dl.losses.classification if frames else clip_loss,
        train_data=dl.data.SyntheticBatches(train_clips, config.train.batch_size, config.seed),
        eval_data=dl.data.PaddedBatches(held_out, config.train.eval_batch_size),
        figures=partial(figures, model, held_out),
    )


if __name__ == "__main__":
    dl.run(Config, experiment)
