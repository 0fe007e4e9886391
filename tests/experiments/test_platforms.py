"""The steps of every experiment are lowered for GPU and TPU, on a machine that has neither."""

import ast
import importlib

import jax
import pytest

from dlcore.training.engine import Engine
from tests.helpers.cifar10_files import write_cifar10
from tests.helpers.experiment_runs import make_config
from tests.helpers.paths import ROOT

PLATFORMS = ("cuda", "tpu")


def is_trained(source: str) -> bool:
    """True if a file trains its experiment: it calls ``dl.run``."""
    return any(
        isinstance(node, ast.Call) and ast.unparse(node.func) == "dl.run"
        for node in ast.walk(ast.parse(source))
    )


EXPERIMENTS = sorted(
    path.stem for path in (ROOT / "experiments").glob("*.py") if is_trained(path.read_text())
)


SHORT = {
    "answer": {"data__train": 100, "data__test": 100},
    "chorales": {"data__limit": 40},
    "denoise": {"limit": 20},
    "harmonize": {"data__limit": 40},
    "pronounce": {"words": 1000},
    "tagging": {"words": 1000},
}
"""Settings without which the data of an experiment takes long to be read."""


def changes(name, folder):
    """Settings without which an experiment does not start, or takes long to be traced."""
    if name != "cifar10":
        return SHORT.get(name, {})
    write_cifar10(folder)
    return {"data__folder": str(folder), "train__batch_size": 4, "features": (8,)}


def built(module, config):
    """The experiment; the test is skipped where its data is not fetched."""
    try:
        return module.experiment(config)
    except FileNotFoundError as error:
        if "launch/data" in str(error):
            pytest.skip(str(error))
        raise


def test_every_experiment_is_found():
    assert {"adding", "cifar10", "digits", "vowels"} <= set(EXPERIMENTS)
    assert "gradient_flow" not in EXPERIMENTS  # a sweep of measures
    assert is_trained("import dlcore as dl\nif __name__ == '__main__':\n    dl.run(Config, experiment)")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_its_steps_are_lowered(name, tmp_path):
    module = importlib.import_module(f"experiments.{name}")
    config = make_config(module, **changes(name, tmp_path))
    experiment = built(module, config)
    engine = Engine(experiment, config)
    state, batch = engine.abstract_state, experiment.train_data[0]

    train = jax.export.export(jax.jit(engine._step, donate_argnums=0), platforms=PLATFORMS)(state, batch)
    assert train.platforms == PLATFORMS
    assert [(one.shape, one.dtype) for one in train.out_avals] == [
        (leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(state)
    ]
    placed = engine._place_eval_batch(next(iter(next(iter(experiment.eval_sets.values())))))
    evaluation = jax.export.export(engine.eval_step, platforms=PLATFORMS)(
        state.params, state.model_state, placed
    )
    assert evaluation.platforms == PLATFORMS
