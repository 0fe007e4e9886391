"""How is each letter of a word pronounced? Every letter gets a label, in sync: no phone, one phone, or two.

    launch/local experiments.tagging                  # LSTM, two layers, 3 epochs: 0.921 in 428 s on a busy core
    launch/local experiments.tagging --config.encoder=convolution --config.layers=4
    launch/local experiments.tagging --preset=full    # 256 units, 10 epochs: 0.940 in 46 min on a core
    python -m experiments.tagging --run=NAME --mode=evaluate --config.evaluate_on=test    # the 12,548 words of test
    python -m experiments.tagging --run=NAME --mode=generate --input="thorough"

The numbers are shares of right labels in the test part with seed 0. Of the phones and the words that follow 8.0 % and
34.6 % are wrong, with full 6.2 % and 26.9 %. Letters and phones are aligned by EM, with 64 labels. 0.2 % of the words
have no alignment and count in the error rates only. Baseline on the test part, --mode=lookup: the label that a letter
most often has between the same four letters on each side is right for 0.911; 9.4 % of its phones and 41.0 % of its
words are wrong. The test part is not used for tuning; training evaluates the first 2000 words of dev. Data: CMUdict
(Carnegie Mellon University, BSD-2-Clause), see dl.data.cmudict; the lecture's synced sequences.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import jax
import numpy as np
from flax import linen as nn

import dlcore as dl
from dlcore.data.text.letter_tags import UNALIGNED, ContextLookup, LetterTags
from dlcore.data.text.pronunciations import Pronunciation

RATES = ("phone_error_rate", "word_error_rate")


@dataclass
class Config(dl.Config):
    encoder: Literal["lstm", "gru", "convolution"] = dl.setting("lstm", "What reads the letters.")
    features: int = dl.setting(128, "Number of units of each direction; half the channels.", minimum=1)
    layers: int = dl.setting(2, "Number of layers.", minimum=1)
    dropout: float = dl.setting(0.1, "Dropout rate before the last layer.", minimum=0, below=1)
    words: int | None = dl.setting(None, "Number of training words; none: all.", minimum=1)
    evaluate_on: Literal["dev", "test"] = dl.setting(
        "dev", "Evaluated: 2000 words of dev, or test.", may_change=True
    )
    train: dl.TrainConfig = field(default_factory=lambda: dl.TrainConfig(2500, 128, eval_every=500))
    optimizer: dl.OptimizerConfig = field(
        default_factory=lambda: dl.OptimizerConfig(
            "adam", 3e-3, schedule="cosine", warmup_steps=dl.Duration("4%"), clip_norm=1.0
        )
    )


class Model(nn.Module):
    config: Config
    letters: int
    labels: int

    @nn.compact
    def __call__(self, inputs: jax.Array, lengths: jax.Array, *, train: bool) -> jax.Array:
        letters = nn.Embed(self.letters, 64)(inputs)
        if self.config.encoder == "convolution":
            block = dl.ConvBlock(2 * self.config.features, (5,), pool=None, residual=True)
            outputs = dl.ConvStack([block] * self.config.layers)(letters, lengths, train=train)
        else:
            cell = dl.CELLS[self.config.encoder](self.config.features)
            dropout = self.config.dropout
            stack = dl.DeepRecurrent(cell, self.config.layers, bidirectional=True, dropout=dropout)
            _, outputs = stack(letters, lengths, train=train)
        return nn.Dense(self.labels)(nn.Dropout(self.config.dropout, deterministic=not train)(outputs))


def lookup(tags: LetterTags, train: list[Pronunciation], tested: list[Pronunciation], test: Any) -> Any:
    """The baseline: the label that a letter most often has between the same four letters on each side."""
    table = ContextLookup([word.word for word in train], tags.batch(train)["labels"])
    labels: Any = dl.data.pad_sequences([table.predict(word.word) for word in tested])[0]
    right = dl.metrics.Average.of(labels == test["labels"], test["labels"] != UNALIGNED)
    rates = dl.metrics.error_rates(*tags.spoken(labels, test["lengths"]), test, RATES)
    return {name: float(metric.value()) for name, metric in {"accuracy": right, **rates}.items()}


def generate(tags: LetterTags, model: dl.TrainedModel, texts: Sequence[str]) -> dict[str, str]:
    """The letters of each word above what they stand for."""
    words = dl.data.letter_words(texts) or ["experiment", "through", "knight", "quizzes"]
    inputs, lengths = dl.data.pad_sequences([tags.letters.encode(word) for word in words])
    labels = np.asarray(model.predict(inputs, lengths)).argmax(-1)
    rows = [(word, [tags.names[label] for label in row]) for word, row in zip(words, labels, strict=True)]
    lines = [
        "".join(f"{cell:5}" for cell in cells[: len(word)]) for word, row in rows for cells in (word, row)
    ]
    return {"tags.txt": "\n".join(lines) + "\n"}


def experiment(config: Config) -> dl.Experiment:
    parts = dl.data.cmudict()
    train = parts["train"][: config.words]
    tested = parts["test"] if config.evaluate_on == "test" else parts["dev"][:2000]
    tags = LetterTags.learn(train)
    test = {**tags.batch(tested), **dl.data.pronunciation_references(tested, tags.phones)}
    model = Model(config, len(tags.letters), len(tags.names))

    def eval_metrics(params: Any, model_state: Any, batch: Mapping[str, jax.Array]) -> dict[str, Any]:
        logits: Any = model.apply({"params": params}, batch["inputs"], batch["lengths"], train=False)
        return dl.metrics.error_rates(*tags.spoken(logits.argmax(-1), batch["lengths"]), batch, RATES)

    return dl.Experiment.from_flax(
        model,
        loss=partial(dl.losses.classification, ignore_index=UNALIGNED),
        train_data=dl.data.BucketedBatches(
            tags.batch(train), config.train.batch_size, config.seed, (6, 8, 10, 14)
        ),
        eval_data=dl.data.PaddedBatches(test, config.train.eval_batch_size),
        eval_metrics=eval_metrics,
        generate=partial(generate, tags),
        modes={"lookup": lambda run: lookup(tags, train, tested, test)},
        files={"letters.json": tags.letters.to_json(), "labels.txt": "\n".join(tags.names)},
    )


if __name__ == "__main__":
    full = Config(features=256, dropout=0.3, train=dl.TrainConfig(8300, 128, eval_every=830))
    dl.run(Config, experiment, presets={"full": full})
