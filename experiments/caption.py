"""Which digits are there? An image becomes the words that say its digits, line by line, such as "three seven one".

    launch/local experiments.caption                            # attention over the feature map, three beams
    launch/local experiments.caption --config.attention=false   # begins with the whole map, and sees its mean
    launch/local experiments.caption --mode=generate --input=7 --input=image.npy    # words, and where each one looked

The one to four digits of an image are real, in test images by other writers; `dl.data.digit_captions` arranges them.
Settings were chosen within the training part. An own image has 24 x 36 pixels. docs/applications.md has the numbers.
Sources: Xu et al. 2015, arXiv 1502.03044; Bahdanau, Cho & Bengio 2015; digits: Alpaydin & Kaynak 1998 (UCI, CC BY 4.0).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import numpy as np
from flax import linen as nn

import dlcore as dl
from dlcore.data.vision.image_files import choose_images

VOCABULARY = dl.data.caption_vocabulary()


@dataclass
class Config(dl.Config):
    attention: bool = dl.setting(True, "Attend to the cells of the feature map; otherwise: to their mean.")
    data: dl.data.DigitConfig = field(default_factory=dl.data.DigitConfig)
    affine: dl.data.AffineConfig = field(default_factory=dl.data.AffineConfig)
    filters: tuple[int, ...] = dl.setting(
        (16, 64, 64), "Filters of each block; only the first has a pool.", minimum=1
    )
    features: int = dl.setting(128, "Number of units of the decoder's LSTM.", minimum=1)
    dropout: float = dl.setting(0.1, "Dropout rate in encoder and decoder.", minimum=0, below=1)
    test_images: int = dl.setting(1000, "Number of images with test digits.", minimum=1)
    decoding: dl.BeamConfig = field(default_factory=lambda: dl.BeamConfig(steps=5, beams=3))
    train: dl.TrainConfig = field(default_factory=lambda: dl.TrainConfig(steps=1500, eval_every=500))
    optimizer: dl.OptimizerConfig = field(
        default_factory=lambda: dl.OptimizerConfig(
            "adamw", 3e-3, schedule="cosine", warmup_steps=50, weight_decay=1e-3, clip_norm=1.0
        )
    )


class Model(nn.Module):
    config: Config

    def setup(self) -> None:
        first, *more = self.config.filters  # one pool alone: digits of 8 pixels have fine strokes
        block = partial(dl.ConvBlock, norm="batch", dropout=self.config.dropout)
        self.encoder = dl.ConvStack([block(first, convolutions=2), *(block(n, pool=None) for n in more)])
        attention = dl.BahdanauAttention(self.config.features) if self.config.attention else None
        cell = dl.LSTMCell(self.config.features)
        self.decoder = dl.SequenceDecoder(len(VOCABULARY), cell, attention, dropout=self.config.dropout)

    def __call__(self, inputs: jax.Array, labels: jax.Array, *, train: bool) -> jax.Array:
        return self.decoder(labels, *self.encode(inputs, train), train=train)

    def encode(self, inputs: jax.Array, train: bool = False) -> tuple[jax.Array, None, jax.Array | None]:
        """The memory, its lengths, and the first state: of the whole map if there is no attention to look at it."""
        maps = self.encoder(inputs, train=train)
        return dl.image_memory(maps), None, None if self.config.attention else dl.flatten(maps)

    def caption(self, inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The most likely captions of images, and the number of their words."""
        return self.decoder.decode(*self.encode(inputs), **vars(self.config.decoding))


def rates(model: Model, params: Any, model_state: Any, batch: Mapping[str, jax.Array]) -> Any:
    tokens, lengths = model.apply({"params": params, **model_state}, batch["inputs"], method="caption")
    compared: Any = tokens, lengths, batch["labels"], batch["label_lengths"] - 1, batch.get("mask")
    match, rate = dl.metrics.exact_match(*compared), dl.metrics.token_error_rate(*compared)
    return {"exact_match": match, "word_error_rate": rate}


def figures(model: Model, images: np.ndarray, params: Any, model_state: Any) -> Any:
    """Each image with its caption, and what the attention of each word, and of the end, looked at."""
    if not model.config.attention:
        return {}
    variables = {"params": params, **model_state}
    tokens, _ = model.apply(variables, images, method="caption")
    weights = np.asarray(dl.attention_weights(model, variables, images, tokens, train=False))
    cells = [size // 2 for size in images.shape[1:3]]
    maps = weights.reshape(*weights.shape[:2], *cells)
    words = [[*VOCABULARY.decode(row), "end"][: len(row)] for row in np.asarray(tokens)]
    draw = dl.plots.image_attention
    return {f"attention_{n}": draw(images[n], maps[n, : len(words[n])], words[n]) for n in range(len(images))}


def generate(model: Model, images: np.ndarray, trained: dl.TrainedModel, texts: Sequence[str]) -> Any:
    """Captions of image files and of test images by number; of the first three test images if there is no text."""
    chosen = choose_images(texts or ("0", "1", "2"), images)
    params, model_state = trained.params, trained.model_state
    tokens, _ = model.apply({"params": params, **model_state}, chosen, method="caption")
    captions = "".join(" ".join(VOCABULARY.decode(row)) + "\n" for row in np.asarray(tokens))
    return {"captions.txt": captions, **figures(model, chosen, params, model_state)}


def experiment(config: Config) -> dl.Experiment:
    train, test = config.data.load()
    task = partial(dl.data.digit_captions, digits=train, transform=config.affine.make_transform())
    held_out = dl.data.held_out(partial(dl.data.digit_captions, digits=test), config.test_images)
    model = Model(config)
    return dl.Experiment.from_flax(
        model,
        loss=dl.losses.sequences,
        train_data=dl.data.SyntheticBatches(task, config.train.batch_size, config.seed),
        eval_data=dl.data.PaddedBatches(held_out, config.train.eval_batch_size),
        eval_metrics=partial(rates, model),
        best="exact_match",
        files={"vocabulary.json": VOCABULARY.to_json()},
        figures=partial(figures, model, held_out["inputs"][:3]),
        generate=partial(generate, model, held_out["inputs"]),
    )


if __name__ == "__main__":
    dl.run(Config, experiment)
