"""How is each letter of a word pronounced? Every letter gets a label, in sync: no phone, one phone, or two."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np
from flax import linen as nn

import dlcore as dl
from dlcore.data.text import letter_tags
from dlcore.data.text.pronunciations import Pronunciation

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass
class Config(dl.Config):
    encoder: Literal["lstm", "gru", "convolution"] = dl.setting("lstm", "What reads the letters.")
    features: int = dl.setting(
        128, "Number of units of each direction, or half the number of channels.", minimum=1
    )
    layers: int = dl.setting(2, "Number of layers.", minimum=1)
    dropout: float = dl.setting(0.1, "Dropout rate before the last layer.", minimum=0, below=1)
    words: int | None = dl.setting(None, "Number of training words; none: all.", minimum=1)
    part: Literal["dev", "test"] = dl.setting(
        "dev", "The words that are evaluated: the first 2000 of dev, or all of test.", may_change=True
    )
    train: dl.TrainConfig = field(
        default_factory=lambda: dl.TrainConfig(
            steps=3000, batch_size=128, eval_batch_size=1000, eval_every=1000
        )
    )
    optimizer: dl.OptimizerConfig = field(
        default_factory=lambda: dl.OptimizerConfig(
            "adam", 3e-3, schedule="cosine", warmup_steps=100, clip_norm=1.0
        )
    )
    checkpoint: dl.CheckpointConfig = field(default_factory=lambda: dl.CheckpointConfig(every=1000))


class Model(nn.Module):
    encoder: str
    features: int
    layers: int
    dropout: float
    letters: int
    labels: int

    @nn.compact
    def __call__(self, inputs: jax.Array, lengths: jax.Array, *, train: bool) -> jax.Array:
        letters = nn.Embed(self.letters, 64)(inputs)
        if self.encoder == "convolution":
            block = dl.ConvBlock(2 * self.features, (5,), pool=None, residual=True)
            outputs = dl.ConvStack([block] * self.layers)(letters, lengths, train=train)
        else:
            cell = dl.CELLS[self.encoder](self.features)
            stack = dl.DeepRecurrent(cell, self.layers, bidirectional=True, dropout=self.dropout)
            _, outputs = stack(letters, lengths, train=train)
        return nn.Dense(self.labels)(nn.Dropout(self.dropout, deterministic=not train)(outputs))


def phones_of(chunks: np.ndarray, model: Model, params: Any, batch: Mapping[str, jax.Array]) -> Any:
    """The phones that follow from the tags of a batch, and their numbers."""
    logits = model.apply({"params": params}, batch["inputs"], batch["lengths"], train=False)
    return letter_tags.spoken(logits.argmax(-1), batch["lengths"], chunks)


def error_rates(phones: jax.Array, lengths: jax.Array, batch: Mapping[str, jax.Array]) -> dict[str, Any]:
    closest = phones, lengths, batch["references"], batch["reference_lengths"], batch.get("mask")
    return {
        "phone_error_rate": dl.metrics.token_error_rate(*closest),
        "word_error_rate": dl.metrics.sequence_error_rate(*closest),
    }


def lookup(words: list[Pronunciation], train: Mapping, test: Mapping, chunks: np.ndarray) -> dict[str, float]:
    """The baseline of --mode=lookup: the tag that a letter most often has between four letters on each side."""
    table = letter_tags.ContextLookup(width=4)


def experiment(config: Config) -> dl.Experiment:
    parts = dl.data.cmudict()
    words, tested = parts["train"][: config.words], parts[config.part]
    letters, phones = dl.data.pronunciation_vocabularies(parts["train"])
    alignment = dl.data.learn_alignment([(word.word, word.phones[0]) for word in parts["train"][:20_000]])
    chunks = letter_tags.phones_of_chunks(alignment, phones)
    tested = tested if config.part == "test" else tested[:2000]
    test = {
        **letter_tags.letter_tags(tested, letters, alignment),
        **dl.data.pronunciation_references(tested, phones),
    }
    model = Model(config.encoder, config.features, config.layers, config.dropout, len(letters), len(chunks))
    return dl.Experiment.from_flax(
        model,
        loss=partial(dl.losses.classification, ignore_index=letter_tags.UNALIGNED),
        train_data=dl.data.BucketedBatches(
            letter_tags.letter_tags(words, letters, alignment),
            config.train.batch_size,
            config.seed,
            (6, 8, 10, 14),
        ),
        eval_data=dl.data.PaddedBatches(test, config.train.eval_batch_size),
        eval_metrics=lambda params, _, batch: error_rates(*phones_of(chunks, model, params, batch), batch),
        files={"letters.json": letters.to_json(), "phones.json": phones.to_json()},
    )


if __name__ == "__main__":
    dl.run(Config, experiment)
