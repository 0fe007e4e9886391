"""Which alto, tenor and bass belong to a soprano? For every frame of a melody by Bach, three notes below it: synced.

    launch/local experiments.harmonize
    launch/local experiments.harmonize --config.architecture=window  # the baseline: regression on 9 frames
    python -m experiments.harmonize --workdir=RUN --mode=generate --input="G4*2 A4*2 B4*4^"

Accuracies of notes on the grid of eighths, test part, medians of the seeds 0, 1, 2: alto 0.447, tenor 0.421, bass 0.410
in 144 s on a core; docs/applications.md has the baseline and the control. The model hears each note within its key, and
knows which notes are struck and which have a fermata. No tune is in two parts; settings are chosen on dev.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

import dlcore as dl
from dlcore.data.music.chorales import VOICES
from dlcore.data.music.musicxml import NOTES

LOWER = VOICES[1:]


@dataclass
class Config(dl.CellConfig, dl.Config):
    architecture: Literal["recurrent", "window"] = dl.setting(
        "recurrent",
        "Bidirectional layers, or a logistic regression on a frame and four to each side, the baseline.",
    )
    features: int = dl.setting(128, "Number of units of each direction.", minimum=1)
    layers: int = dl.setting(1, "Number of bidirectional layers.", minimum=1)
    embedding: int = dl.setting(64, "Width of the vectors of note, beat, marks, degree and step.", minimum=1)
    dropout: float = dl.setting(0.3, "Dropout rate before and after the layers.", minimum=0, below=1)
    data: dl.data.ChoraleConfig = field(default_factory=dl.data.ChoraleConfig)
    train: dl.TrainConfig = field(default_factory=lambda: dl.TrainConfig(300, batch_size=16, eval_every=100))
    optimizer: dl.OptimizerConfig = field(
        default_factory=lambda: dl.OptimizerConfig("adam", 4e-3, schedule="cosine", clip_norm=1.0)
    )


class Model(nn.Module):
    config: Config

    @nn.compact
    def __call__(self, inputs: jax.Array, marks: jax.Array, lengths: jax.Array, *, train: bool) -> jax.Array:
        config = self.config
        if config.architecture == "window":
            sung = jax.nn.one_hot(inputs, NOTES) * dl.valid_steps(lengths, inputs.shape[1])[..., None]
            scores = nn.Conv(len(LOWER) * NOTES, 9)(sung)
            return scores.reshape(*inputs.shape, -1, NOTES)
        drop = nn.Dropout(rate := config.dropout, deterministic=not train)
        embed = lambda name, numbers, count=NOTES: nn.Embed(count, config.embedding, name=name)(numbers)
        final = jnp.take_along_axis(inputs, jnp.maximum(lengths - 1, 0)[:, None], axis=1)
        places = 12 * config.data.per_quarter  # whole measures of 2, 3 and 4 quarters
        frames = embed("notes", inputs) + embed("beats", jnp.arange(inputs.shape[1]) % places, places)
        frames += embed("marks", marks, 4)
        # Harmony is the same in every key: what a note is in its key, and how the melody came to it.
        frames += embed("degrees", (inputs - final) % NOTES)
        frames += embed("steps", jnp.diff(inputs, axis=1, prepend=inputs[:, :1]) % NOTES)
        layer = dl.DeepRecurrent(config.make_cell(), config.layers, bidirectional=True, dropout=rate)
        _, outputs = layer(drop(frames), lengths, train=train)
        below = nn.Dense(len(LOWER) * NOTES)(drop(outputs)).reshape(*inputs.shape, len(LOWER), NOTES)
        intervals = (inputs[..., None] - jnp.arange(NOTES)) % NOTES  # of each note below the soprano
        return jnp.take_along_axis(below, intervals[..., None, :], axis=-1)


def loss(logits: jax.Array, batch: Mapping[str, jax.Array]) -> Any:
    """The cross-entropy of the three voices, with the accuracy of each."""
    value, metrics = dl.losses.classification(logits, batch)
    counts = dl.metrics.place_weights(batch, batch["inputs"].shape)
    for v, voice in enumerate(LOWER):
        metrics[f"{voice}_accuracy"] = dl.metrics.accuracy(logits[:, :, v], batch["labels"][:, :, v], counts)
    return value, metrics


def harmonize(model: Model, params: Any, soprano: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """The soprano ``[T]`` with the most likely notes of the other voices, ``[T, 4]``."""
    predict = jax.jit(partial(model.apply, train=False))
    logits = predict({"params": params}, soprano[None], marks[None], np.array([len(soprano)]))
    return np.concatenate([soprano[:, None], np.asarray(logits[0]).argmax(-1)], axis=1).astype(np.int32)


def figures(model: Model, test: dl.data.Batch, params: Any, model_state: Any) -> dict[str, Any]:
    voices = harmonize(model, params, *dl.data.given_melody("0", test))
    return {"harmonized": dl.plots.piano_roll(voices, model.config.data.per_quarter)}


def generate(test: dl.data.Batch, model: dl.TrainedModel, texts: Sequence[str]) -> dict[str, Any]:
    """Harmonizes each text, a melody or the number of the test chorale whose soprano is one; else the first of them."""
    files: dict[str, Any] = {}
    for number, text in enumerate(texts or ["0"]):
        voices = harmonize(Model(model.config), model.params, *dl.data.given_melody(text, test))
        files |= dl.data.music_files(f"harmony_{number}", voices, model.config.data.per_quarter)
    return files


def experiment(config: Config) -> dl.Experiment:
    parts = config.data.load()
    train, dev, test = (
        {**part, "inputs": part["inputs"][..., 0], "labels": part["inputs"][..., 1:]} for part in parts
    )
    model = Model(config)
    return dl.Experiment.from_flax(
        model,
        loss=loss,
        train_data=config.data.train_batches(train, config.train.batch_size, config.seed),
        eval_data={name: dl.data.PaddedBatches(part, 32) for name, part in (("dev", dev), ("test", test))},
        best="dev/loss",
        generate=partial(generate, parts[2]),
        figures=partial(figures, model, parts[2]),
    )


if __name__ == "__main__":
    dl.run(Config, experiment)
