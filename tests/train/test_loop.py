"""A stopped and resumed run equals one that never stopped, to the bit."""

import os
import signal

import jax
import numpy as np
import pytest

from dlcore.train import loop
from dlcore.train.engine import Engine
from dlcore.train.run import Run
from dlcore.train.telemetry.metrics_log import read_metrics


def assert_same_bits(first, second):
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        assert one.dtype == other.dtype
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


@pytest.fixture
def whole(make_toy, tmp_path):
    """A run of 12 steps in one go, and its folder."""
    toy = make_toy()
    (tmp_path / "whole").mkdir()
    return loop.train(Engine(toy.experiment, toy.config), tmp_path / "whole"), tmp_path / "whole"


def test_longer_after_the_end_equals_one_go(make_toy, tmp_path, whole):
    halves = tmp_path / "halves"
    halves.mkdir()
    for steps in (6, 12):
        toy = make_toy(steps=steps)
        finished = loop.train(Engine(toy.experiment, toy.config), halves)
    assert_same_bits(finished.state, whole[0].state)
    assert (halves / "metrics.csv").read_bytes() == (whole[1] / "metrics.csv").read_bytes()
    assert finished.evaluation == whole[0].evaluation


@pytest.mark.parametrize("stop", [1, 5, 7, 10])
def test_interrupted_anywhere_and_started_again_equals_one_go(make_toy, tmp_path, whole, stop):
    """Also between two rows of the log: the sums of the metrics are part of the state."""
    folder = tmp_path / "stopped"
    folder.mkdir()
    toy = make_toy()

    class Interrupting:
        def __getitem__(self, step):
            if step == stop:
                os.kill(os.getpid(), signal.SIGINT)
            return toy.experiment.train_data[step]

    stopping = type(toy.experiment)(
        toy.experiment.init, toy.experiment.loss, Interrupting(), toy.experiment.eval_data
    )
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(loop.Interrupted, match="stopped by Ctrl-C after step") as stopped:
        loop.train(Engine(stopping, toy.config), folder)
    assert signal.getsignal(signal.SIGINT) is handler
    assert stopped.value.step < 12
    finished = loop.train(Engine(toy.experiment, toy.config), folder)
    assert_same_bits(finished.state, whole[0].state)
    assert (folder / "metrics.csv").read_bytes() == (whole[1] / "metrics.csv").read_bytes()


def test_the_step_is_compiled_once(make_toy, tmp_path):
    for last in (8, 12):  # from the beginning, and from a restored state
        toy = make_toy(steps=last)
        engine = Engine(toy.experiment, toy.config)
        loop.train(engine, tmp_path)
        assert len(engine._programs) == 1
        assert engine._eval_step._cache_size() == 1


def test_the_last_evaluation_is_of_the_last_state_and_best_stays(make_toy, tmp_path):
    toy = make_toy(steps=12, eval_every=3)
    toy.config.checkpoint.every, toy.config.checkpoint.keep = 3, 1
    finished = loop.train(Engine(toy.experiment, toy.config), tmp_path)
    scores = {
        step: value for step, name, value in read_metrics(tmp_path / "metrics.csv") if name == "eval/accuracy"
    }
    assert finished.evaluation["accuracy"] == scores[12]
    kept = sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit())
    best = max(scores, key=lambda step: scores[step])
    assert set(kept) <= {12, *(step for step in scores if scores[step] == scores[best])}
    assert 12 in kept
    run = Run(toy.experiment, toy.config, tmp_path, "best")
    restored = loop.restore(run)
    assert scores[int(restored.step)] == scores[best]


def test_the_metrics_are_those_of_all_steps_since_the_last_row(make_toy, tmp_path):
    toy = make_toy(log_every=1)
    (tmp_path / "each").mkdir()
    (tmp_path / "all").mkdir()
    loop.train(Engine(toy.experiment, toy.config), tmp_path / "each")
    toy = make_toy(log_every=12)
    loop.train(Engine(toy.experiment, toy.config), tmp_path / "all")
    each, all_ = (
        [
            value
            for _, name, value in read_metrics(tmp_path / part / "metrics.csv")
            if name == "train/gradient_norm"
        ]
        for part in ("each", "all")
    )
    assert len(each) == 12
    assert len(all_) == 1
    assert all_[0] == pytest.approx(np.mean(each), rel=1e-5)
