"""Calls: which steps they run, what they get, and how the loop waits for them."""

import types

import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl
from dlcore.training import calls
from dlcore.training.calls import Due, PendingCalls, due_after, prefetch_calls, split_into_calls
from dlcore.training.state import NONE_BAD
from tests.helpers.plain_toy import make_engine


def make_config(**train):
    config = dl.Config(train=dl.TrainConfig(**train))
    config.checkpoint.every = 100
    return config


def test_calls_end_where_something_is_due():
    config = make_config(steps=35, steps_per_call=8, log_every=10, eval_every=15)
    found = list(split_into_calls(0, config))
    assert [(steps.start, steps.stop) for steps in found] == [
        (0, 8), (8, 10), (10, 15), (15, 20), (20, 28), (28, 30), (30, 35),
    ]  # fmt: skip
    for index, steps in enumerate(found):  # a run that continues after any call makes the same calls
        assert list(split_into_calls(steps.stop, config)) == found[index + 1 :]
    assert not list(split_into_calls(36, config))


def test_everything_that_is_due_is_due_after_the_last_step_too():
    config = make_config(steps=35, log_every=10, eval_every=15, monitor_every=20)
    assert due_after(30, config) == Due(log=True, evaluation=True, checkpoint=False, monitor=False)
    assert due_after(20, config) == Due(log=True, evaluation=False, checkpoint=False, monitor=True)
    assert due_after(31, config) == Due(False, False, False, False)
    assert due_after(35, config) == Due(True, True, True, True)


def test_the_inputs_of_each_call_are_its_batches_and_their_numbers_of_examples_and_frames():
    engine = make_engine(steps=5, steps_per_call=2, log_every=5, eval_every=5)
    found = list(prefetch_calls(engine, 1))
    assert [inputs.steps for inputs in found] == [range(1, 3), range(3, 5)]
    for inputs in found:
        lengths = [engine.experiment.train_data[step]["lengths"] for step in inputs.steps]
        np.testing.assert_array_equal(inputs.batch["lengths"], lengths)
        assert inputs.counts == (16, np.sum(lengths))


class BadStep:
    """A ``bad_step`` that notes when it is read."""

    def __init__(self, read, step, value=NONE_BAD):
        self._read, self._step, self._value = read, step, value

    def __array__(self, *_, **__):
        self._read.append(self._step)
        return np.array(self._value)


def make_pending(monkeypatch, on_nan="stop"):
    engine = types.SimpleNamespace(config=make_config(on_nan=on_nan))
    monkeypatch.setattr(calls.jax, "device_get", np.asarray)
    monkeypatch.setattr(calls, "diagnose", lambda engine, state, folder: ArithmeticError(state))
    return PendingCalls(engine, "folder")


@pytest.mark.parametrize(("on_nan", "in_flight"), [("stop", 2), ("raise", 0)])
def test_only_a_few_calls_are_pending(monkeypatch, on_nan, in_flight):
    pending, read = make_pending(monkeypatch, on_nan), []
    for step in range(5):
        pending.add(BadStep(read, step), "state")
        assert read == list(range(step + 1 - in_flight))
    pending.wait("state")
    assert read == list(range(5))


def test_a_bad_step_is_diagnosed_with_the_newest_state(monkeypatch):
    pending = make_pending(monkeypatch)
    pending.add(jnp.int32(NONE_BAD), "first")
    pending.add(jnp.int32(1), "second")
    with pytest.raises(ArithmeticError, match="newest"):
        pending.wait("newest")
