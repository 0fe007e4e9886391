"""Runs an experiment of ``experiments/`` with some of its settings changed.

In the names of the changed settings ``__`` stands for a dot.
"""

from pathlib import Path
from types import ModuleType
from typing import Any

import jax

import dlcore as dl
from dlcore.config import settings
from dlcore.training import loop
from dlcore.training.engine import Engine
from dlcore.training.loop import TrainingResult


def make_config(module: ModuleType, **changes: Any) -> Any:
    values = {name.replace("__", "."): value for name, value in changes.items()}
    return settings.replace(module.Config(), values)


def train_experiment(
    module: ModuleType, folder: Path, **changes: Any
) -> tuple[dl.Experiment, TrainingResult]:
    config = make_config(module, **changes)
    experiment = module.experiment(config)
    return experiment, loop.train(Engine(experiment, config), folder)


def draw_untrained(module: ModuleType, **changes: Any) -> tuple[dict[str, Any], dict[str, float]]:
    """The figures of an experiment with its initial parameters, and its metrics on the first evaluation batch."""
    experiment = module.experiment(make_config(module, **changes))
    batch = experiment.eval_data[0]

    @jax.jit
    def start(key):
        params, model_state = experiment.init(key, batch)
        _, (_, metrics) = experiment.loss(params, model_state, batch, key, False)
        return params, model_state, {name: metric.value() for name, metric in metrics.items()}

    params, model_state, metrics = start(jax.random.key(0))
    figures = experiment.figures(params, model_state)
    return dict(figures), {name: float(value) for name, value in metrics.items()}
