"""Which ten symbols came before a long delay? The copy task, on synthetic sequences.

    launch/local experiments.copy_memory                             # LSTM: 0.109 in 204 s on 2 busy cores
    launch/local experiments.copy_memory --config.forget_bias=3.912  # 0.023 in 172 s
    launch/local experiments.copy_memory --config.chrono=70          # 0.016 in 189 s
    launch/local experiments.copy_memory --config.cell=gru           # 0.023 in 168 s, seed 0

The numbers are cross-entropies on 1000 held-out sequences, medians of the seeds 0, 1, 2; the three seeds range from
0.079 to 0.125, from 0.012 to 0.027, and from 0.015 to 0.022. A model without memory has 10 ln 8 / (T + 20) = 0.297. The
LSTMs recall 67, 94 and 96 % of the ten symbols. With the forget bias ln T = 3.912 a cell forgets as slowly as the delay
T requires; chrono draws the biases so that the memories of the units last for 1 to 70 steps.
Not run here: --preset=paper, 40 units at T = 100, with Adam without momentum in place of the first source's RMSProp.
Sources: Arjovsky, Shah & Bengio 2016, arXiv 1511.06464; forget bias: Tallec & Ollivier 2018, arXiv 1804.11188, who draw
it up to ln T.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from flax import linen as nn

import dlcore as dl
from dlcore.data.long_memory import BLANK, COPIED, DELIMITER
from dlcore.layers.recurrent.cell_config import CellName

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass
class Config(dl.CellConfig, dl.Config):
    cell: CellName = dl.setting("lstm", "Name of the cell in dl.CELLS.")
    features: int = dl.setting(128, "Number of units.", minimum=1)
    delay: int = dl.setting(50, "T, the number of steps from the last symbol to its copy.", minimum=1)
    test_examples: int = dl.setting(1000, "Number of held-out sequences.", minimum=1)
    train: dl.TrainConfig = field(
        default_factory=lambda: dl.TrainConfig(steps=10_000, batch_size=32, log_every=100, eval_every=500)
    )
    optimizer: dl.OptimizerConfig = field(
        default_factory=lambda: dl.OptimizerConfig("adam", 2e-3, clip_norm=1.0)
    )
    checkpoint: dl.CheckpointConfig = field(default_factory=lambda: dl.CheckpointConfig(every=2000))


class Model(nn.Module):
    config: dl.CellConfig

    @nn.compact
    def __call__(self, symbols: jax.Array, *, train: bool) -> jax.Array:
        layer = dl.Recurrent(self.config.make_cell())
        _, outputs = layer(jax.nn.one_hot(symbols, DELIMITER + 1))
        return nn.Dense(BLANK + 1)(outputs)


def loss(logits: jax.Array, batch: Mapping[str, jax.Array]) -> Any:
    """The cross-entropy over all T + 20 steps; the accuracy counts only the ten symbols to remember."""
    value, metrics = dl.losses.classification(logits, batch)
    copied = dl.metrics.accuracy(logits[:, -COPIED:], batch["labels"][:, -COPIED:], batch.get("mask"))
    return value, {**metrics, "accuracy": copied}


def figures(model: Model, test: dict[str, np.ndarray], params: Any, model_state: Any) -> dict[str, "Figure"]:
    predicted = np.asarray(model.apply({"params": params}, test["inputs"], train=False)).argmax(-1)
    correct = (predicted == test["labels"])[:, -COPIED:]
    return {"accuracy_by_place": dl.plots.accuracy_by_place(correct, chance=1 / BLANK)}


def experiment(config: Config) -> dl.Experiment:
    task = partial(dl.data.copy_memory, delay=config.delay)
    test = dl.data.held_out(task, config.test_examples)
    model = Model(config)
    return dl.Experiment.from_flax(
        model,
        loss=loss,
        train_data=dl.data.SyntheticBatches(task, config.train.batch_size, config.seed),
        eval_data=dl.data.PaddedBatches(test, config.train.eval_batch_size),
        best="loss",
        lower_is_better=True,
        figures=partial(figures, model, test),
    )


if __name__ == "__main__":
    paper = Config(
        cell="lstm",
        features=40,
        delay=100,
        test_examples=10_000,
        train=dl.TrainConfig(steps=20_000, batch_size=20, log_every=100, eval_every=500),
        optimizer=dl.OptimizerConfig("adam", 1e-3, momentum=0.0, clip_norm=1.0),
    )
    dl.run(Config, experiment, presets={"paper": paper})
