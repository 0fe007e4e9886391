"""What comes next in a chorale by Bach? Each frame of four voices is predicted from those before: one to sequence.

    launch/local experiments.chorales                             # eighths: 3.19 in 227 s on one core
    launch/local experiments.chorales --config.data.grid=quarter  # 4.72 in 121 s, seed 0
    python -m experiments.chorales --workdir=RUN --mode=generate --input=0 --input="C5*4;G4*4;E4*4;C4*4"

The loss is the negative log-likelihood of a frame in nats, by the chain rule over soprano, alto, tenor and bass. No
tune is in two parts; settings are chosen on dev. --mode=baselines, on test: each voice's note after its note in the
frame before 6.20 on eighths, 8.49 on quarters; as 88 independent keys 8.84, 10.69. Published for keys, on quarters and
another split: LSTM 8.45. Never compare two grids. Data: package music21 (BSD; the scores have terms of their own).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

import dlcore as dl
from dlcore.data.music.chorales import VOICES
from dlcore.data.music.musicxml import NOTES

NOTHING = np.zeros((0, len(VOICES)), np.int32)


@dataclass
class Config(dl.CellConfig, dl.Config):
    features: int = dl.setting(256, "Number of units, and of those of each voice's hidden layer.", minimum=1)
    dropout: float = dl.setting(0.3, "Dropout rate before and after the cell.", minimum=0, below=1)
    opening: int = dl.setting(8, "Largest number of quarters that --input gives.", minimum=1, may_change=True)
    data: dl.data.ChoraleConfig = field(default_factory=dl.data.ChoraleConfig)
    sampling: dl.SamplingConfig = field(default_factory=lambda: dl.SamplingConfig(128, temperature=0.8))
    train: dl.TrainConfig = field(default_factory=lambda: dl.TrainConfig(600, batch_size=16, eval_every=200))
    optimizer: dl.OptimizerConfig = field(
        default_factory=lambda: dl.OptimizerConfig("adam", 4e-3, schedule="cosine", clip_norm=1.0)
    )


class Model(nn.Module):
    config: Config

    def setup(self) -> None:
        self.places = 12 * self.config.data.per_quarter  # whole measures of 2, 3 and 4 quarters
        self.notes = nn.Embed(len(VOICES) * NOTES, 128)
        self.beats = nn.Embed(self.places, 128)
        self.layer = dl.Recurrent(self.config.make_cell())
        self.drop = nn.Dropout(self.config.dropout)
        self.head = dl.ChainHead(len(VOICES), NOTES, self.config.features)

    def __call__(self, inputs: jax.Array, lengths: jax.Array, *, train: bool) -> jax.Array:
        drop = partial(self.drop, deterministic=not train)
        before = jnp.pad(inputs[:, :-1], ((0, 0), (1, 0), (0, 0)))
        read = self.read(before, jnp.arange(inputs.shape[1]))
        _, outputs = self.layer(drop(read), lengths)
        return self.head(jnp.concatenate([drop(outputs), read], axis=-1), inputs)

    def read(self, frames: jax.Array, time: jax.Array) -> jax.Array:
        return self.notes(frames + NOTES * jnp.arange(len(VOICES))).sum(-2) + self.beats(time % self.places)

    def step(self, carry: Any, before: jax.Array, time: jax.Array) -> tuple[Any, jax.Array]:
        read = self.read(before, time)
        carry, outputs = self.layer.step(carry, read)
        return carry, jnp.concatenate([outputs, read], axis=-1)


def loss(logits: jax.Array, batch: Mapping[str, jax.Array]) -> Any:
    """The negative log-likelihood of a frame: the sum of those of its voices, each given those above it."""
    _, metrics = dl.losses.classification(logits, batch)
    notes: Any = metrics["loss"]
    frames = dl.metrics.Average(notes.total, notes.weight / len(VOICES))
    return frames.value(), {**metrics, "loss": frames}


def compose(model: Model, params: Any, opening: np.ndarray) -> np.ndarray:
    """A chorale ``[steps, 4]`` that goes on from the opening ``[T, 4]``."""
    sampling, apply = model.config.sampling, partial(model.apply, {"params": params})
    step = partial(apply, method="step")
    predict: Any = partial(apply, method=lambda model, *known: model.head.predict(*known))
    state = model.config.make_cell().initialize_carry(jax.random.key(0), (1, 1))
    given, steps = jnp.asarray(opening)[None], max(sampling.steps, len(opening))
    draw = partial(dl.generate_frames, step, predict, state, given, steps, sampler=sampling.make_sampler())
    return np.asarray(jax.jit(draw)(jax.random.key(sampling.seed))[0])


def figures(config: Config, params: Any, model_state: Any) -> dict[str, Any]:
    return {"composed": dl.plots.piano_roll(compose(Model(config), params, NOTHING), config.data.per_quarter)}


def generate(test: dl.data.Batch, model: dl.TrainedModel, texts: Sequence[str]) -> dict[str, Any]:
    """A chorale for each text, an opening or the number of the test chorale that gives it; or one from nothing."""
    config, per_quarter = model.config, model.config.data.per_quarter
    files: dict[str, Any] = {}
    for number, text in enumerate(texts or [""]):
        opening = dl.data.given_voices(text, test, len(VOICES)) if text else NOTHING
        opening = opening[: config.opening * per_quarter]
        voices = compose(Model(config), model.params, opening)
        files |= dl.data.music_files(f"chorale_{number}", voices, per_quarter, len(opening))
    return files


def experiment(config: Config) -> dl.Experiment:
    train, dev, test = ({**part, "labels": part["inputs"]} for part in config.data.load())
    return dl.Experiment.from_flax(
        Model(config),
        loss=loss,
        train_data=config.data.train_batches(train, config.train.batch_size, config.seed),
        eval_data={name: dl.data.PaddedBatches(part, 32) for name, part in (("dev", dev), ("test", test))},
        best="dev/loss",
        generate=partial(generate, test),
        figures=partial(figures, config),
        modes={"baselines": lambda run: dl.data.chorale_baselines(train, test)},
    )


if __name__ == "__main__":
    dl.run(Config, experiment)
