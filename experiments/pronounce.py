"""How is a word pronounced? Letters become phones, of another number: an encoder, and a decoder that attends to it.

    launch/local experiments.pronounce                  # 128 units, 2.7 epochs: 0.090 and 0.368 in 434 s on a core
    launch/local experiments.pronounce --preset=full    # 256 units, 14 epochs: 0.061 and 0.256 in 65 minutes on a core
    python -m experiments.pronounce --run=NAME --mode=evaluate --config.evaluate_on=test --config.decoding.beams=4
    python -m experiments.pronounce --run=NAME --mode=generate --input="thorough"

The numbers are phone and word error rates of the test part with four beams and seed 0. Errors count the closest of a
word's pronunciations. Baseline on the test part: letter by letter with the look-up of experiments/tagging.py, 9.4 %
phone errors and 41.0 % wrong words. Published on another split: bidirectional LSTM 5.45 % and 23.55 % (Yao & Zweig
2015, arXiv 1506.00196). The test part is not used for tuning; training evaluates the first 1000 words of dev. Sources:
Bahdanau, Cho & Bengio 2015; CMUdict (Carnegie Mellon University, BSD-2-Clause).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import jax
import numpy as np

import dlcore as dl

EXAMPLES = ["experiment", "thought", "knowledge", "quizzes", "psychology", "xylophone"]


@dataclass
class Config(dl.Config):
    cell: Literal["rnn", "lstm", "gru"] = dl.setting("lstm", "Cell of encoder and decoder.")
    attention: Literal["luong", "bahdanau", "none"] = dl.setting("bahdanau", "Attention to the letters.")
    features: int = dl.setting(128, "Number of units of the decoder and of each direction.", minimum=1)
    dropout: float = dl.setting(0.1, "Dropout rate of embeddings and outputs.", minimum=0, below=1)
    sampling: float = dl.setting(0.0, "Share of scheduled sampling.", minimum=0, below=1)
    words: int | None = dl.setting(None, "Number of training words; none: all 106,123.", minimum=1)
    evaluate_on: Literal["dev", "test"] = dl.setting(
        "dev", "Evaluated: 1000 words of dev, or test.", may_change=True
    )
    decoding: dl.BeamConfig = field(default_factory=lambda: dl.BeamConfig(steps=24))
    train: dl.TrainConfig = field(default_factory=lambda: dl.TrainConfig(2400, 128, eval_every=600))
    optimizer: dl.OptimizerConfig = field(
        default_factory=lambda: dl.OptimizerConfig(
            "adam", 3e-3, schedule="cosine", warmup_steps=dl.Duration("4%"), clip_norm=1.0
        )
    )


def make_model(config: Config, letters: int, phones: int) -> dl.EncoderDecoder:
    size, dropout, cell = config.features, config.dropout, partial(dl.CELLS[config.cell], config.features)
    kinds = {"luong": dl.LuongAttention("general"), "bahdanau": dl.BahdanauAttention(size), "none": None}
    attention = kinds[config.attention]
    decoder = dl.SequenceDecoder(phones, cell(), attention, dropout=dropout, sampling=config.sampling)
    return dl.EncoderDecoder(letters, dl.Bidirectional(cell(), cell()), decoder, dropout=dropout)


@dataclass(frozen=True)
class Speaker:
    """A model with its vocabularies and the settings of its search."""

    model: dl.EncoderDecoder
    letters: dl.data.Vocabulary
    phones: dl.data.Vocabulary
    search: dl.BeamConfig

    def say(self, params: Any, inputs: jax.Array, lengths: jax.Array) -> Any:
        """The phones of each word, and their number."""
        return self.model.apply({"params": params}, inputs, lengths, **vars(self.search), method="decode")

    def error_rates(self, params: Any, model_state: Any, batch: Any) -> dict[str, Any]:
        said, counts = self.say(params, batch["inputs"], batch["lengths"])
        return dl.metrics.error_rates(said, counts, batch, ("phone_error_rate", "word_error_rate"))

    def spell(self, params: Any, words: Sequence[str]) -> list[np.ndarray]:
        inputs, lengths = dl.data.pad_sequences([self.letters.encode(word) for word in words])
        said, counts = jax.device_get(jax.jit(self.say)(params, inputs, lengths))
        return [row[:count] for row, count in zip(said, counts, strict=True)]

    def figures(self, params: Any, words: Sequence[str]) -> dict[str, Any]:
        """For some words, the letters that the decoder attends to."""
        sources, vocabularies = [self.letters.encode(word) for word in words], (self.letters, self.phones)
        drawn = dl.attention_figures(self.model, params, sources, self.spell(params, words), vocabularies)
        return {f"attention_{word[:40]}": figure for word, figure in zip(words, drawn, strict=False)}

    def generate(self, trained: dl.TrainedModel, texts: Sequence[str]) -> dict[str, Any]:
        words = dl.data.letter_words(texts) or EXAMPLES
        said = [" ".join(self.phones.decode(row)) for row in self.spell(trained.params, words)]
        table = dl.data.csv_text({"word": words, "phones": said})
        return {"pronunciations.csv": table, **self.figures(trained.params, words[:6])}


def experiment(config: Config) -> dl.Experiment:
    parts = dl.data.cmudict()
    words = parts["train"][: config.words]
    tested = parts["test"] if config.evaluate_on == "test" else parts["dev"][:1000]
    letters, phones = dl.data.pronunciation_vocabularies(words)
    train = dl.data.pronunciation_pairs(words, letters, phones)
    test = dl.data.pronunciation_pairs(tested, letters, phones, first=True)
    test |= dl.data.pronunciation_references(tested, phones)
    model = make_model(config, len(letters), len(phones))
    speaker = Speaker(model, letters, phones, config.decoding)
    size, lengths = config.train.batch_size, ("lengths", "label_lengths")
    return dl.Experiment.from_flax(
        model,
        loss=dl.losses.sequences,
        train_data=dl.data.BucketedBatches(train, size, config.seed, (7, 9, 12), lengths=lengths),
        eval_data=dl.data.PaddedBatches(test, config.train.eval_batch_size),
        eval_metrics=speaker.error_rates,
        best="word_error_rate",
        lower_is_better=True,
        figures=lambda params, _: speaker.figures(params, EXAMPLES),
        generate=speaker.generate,
        files={"letters.json": letters.to_json(), "phones.json": phones.to_json()},
    )


if __name__ == "__main__":
    full = Config(features=256, dropout=0.2, train=dl.TrainConfig(12_000, 128, eval_every=1200))
    dl.run(Config, experiment, presets={"full": full})
