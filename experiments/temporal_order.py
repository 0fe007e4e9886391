"""In which order do X and Y appear among distractors? The temporal order problem, on synthetic sequences.

    launch/local experiments.temporal_order                           # GRU: 1.000 in 18 s on 2 busy cores
    launch/local experiments.temporal_order --config.cell=identity    # 1.000 in 10 s; lstm 1.000, 16 s
    launch/local experiments.temporal_order --config.cell=rnn         # 0.242 in 10 s; recurrent_scale=0.5: 0.259
    launch/local experiments.temporal_order --config.cell=rnn --config.remedy=omega     # 1.000 in 22 s
    launch/local experiments.temporal_order --config.cell=rnn --config.remedy=flossing  # 1.000 in 22 s

The numbers are accuracies on 1000 held-out sequences of four classes, medians of the seeds 0, 1, 2. The plain cell with
its orthogonal initialization solved the task for one of the three seeds (0.238, 0.242, 1.000), for none at a scale of
0.5, and for all with either remedy (0.999 to 1.000). At 100 steps it solved the task for none of the seeds (0.257 to
0.261), for one with omega (0.253, 0.268, 1.000), and for none with flossing (0.240, 0.518, 0.245).
Not run here: --preset=paper, the second source's plain cell at 100 steps with SGD and clipping.
Sources: Hochreiter & Schmidhuber 1997, task 6a; Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063, also for omega;
flossing: Engelken 2023, arXiv 2312.17306.
"""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np
from flax import linen as nn

import dlcore as dl
from dlcore.data.long_memory import ORDERS, SYMBOLS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass
class Config(dl.CellConfig, dl.Config):
    features: int = dl.setting(50, "Number of units.", minimum=1)
    remedy: Literal["none", "omega", "flossing"] = dl.setting(
        "none", "Term of the loss against vanishing gradients: dl.gradflow.omega or dl.gradflow.flossing."
    )
    remedy_weight: float = dl.setting(1.0, "Weight of the remedy in the loss.", minimum=0)
    length: int = dl.setting(50, "Number of steps of a sequence.", minimum=10)
    test_examples: int = dl.setting(1000, "Number of held-out sequences.", minimum=1)
    train: dl.TrainConfig = field(
        default_factory=lambda: dl.TrainConfig(steps=6000, batch_size=20, log_every=100, eval_every=500)
    )
    optimizer: dl.OptimizerConfig = field(
        default_factory=lambda: dl.OptimizerConfig("adam", 1e-3, clip_norm=1.0)
    )
    checkpoint: dl.CheckpointConfig = field(default_factory=lambda: dl.CheckpointConfig(every=2000))


class Model(nn.Module):
    config: dl.CellConfig

    @nn.compact
    def __call__(self, symbols: jax.Array, *, train: bool) -> jax.Array:
        layer = dl.Recurrent(self.config.make_cell())
        carry, _ = layer(jax.nn.one_hot(symbols, SYMBOLS))
        return nn.Dense(len(ORDERS))(layer.hidden(carry))


def figures(model: Model, test: dict[str, np.ndarray], params: Any, model_state: Any) -> dict[str, "Figure"]:
    predicted = np.asarray(model.apply({"params": params}, test["inputs"], train=False)).argmax(-1)
    return {"confusion_matrix": dl.plots.confusion_matrix(test["labels"], predicted, ORDERS)}


def experiment(config: Config) -> dl.Experiment:
    task = partial(dl.data.temporal_order, length=config.length)
    test = dl.data.held_out(task, config.test_examples)
    model = Model(config)
    plain = dl.Experiment.from_flax(
        model,
        loss=dl.losses.classification,
        train_data=dl.data.SyntheticBatches(task, config.train.batch_size, config.seed),
        eval_data=dl.data.PaddedBatches(test, config.train.eval_batch_size),
        figures=partial(figures, model, test),
    )
    if config.remedy == "none":
        return plain
    term = {"omega": dl.gradflow.omega, "flossing": dl.gradflow.flossing()}[config.remedy]
    return replace(plain, loss=dl.gradflow.regularized(plain.loss, term, config.remedy_weight))


if __name__ == "__main__":
    paper = Config(
        cell="rnn",
        length=100,
        test_examples=10_000,
        train=dl.TrainConfig(steps=1_000_000, batch_size=20, log_every=1000, eval_every=10_000),
        optimizer=dl.OptimizerConfig("sgd", 0.01, clip_norm=1.0),
        checkpoint=dl.CheckpointConfig(every=10_000),
    )
    dl.run(Config, experiment, presets={"paper": paper})
