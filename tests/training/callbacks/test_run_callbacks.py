"""The callbacks of a run are called in order; what they decide, keep and break is known in every process."""

import contextlib
import dataclasses
import json
from pathlib import Path

import jax
import pytest

from dlcore.training.callbacks import run_callbacks
from dlcore.training.callbacks.callback import Callback, Start, Stop
from dlcore.training.callbacks.run_callbacks import CallbackError, RunCallbacks, all_callbacks
from dlcore.training.config import Config
from dlcore.training.faults.watchdog import Watchdog
from tests.helpers import plain_toy

START = Start(Path("run"), 4, Config())


class Listener(Callback):
    """Notes its calls, keeps a number, and stops or fails where it is told to."""

    def __init__(self, calls=None, **actions):
        self.calls, self.actions, self.kept = [] if calls is None else calls, actions, 0

    def note(self, method, *arguments):
        self.calls.append((method, *arguments))
        if method in self.actions:
            raise self.actions[method]

    def on_start(self, start):
        self.note("on_start", start.step)

    def on_row(self, step, values, clock):
        self.kept = step
        self.note("on_row", step, dict(values), dict(clock))

    def on_evaluation(self, step, values):
        self.note("on_evaluation", step, dict(values))

    def on_checkpoint(self, step, folder):
        self.note("on_checkpoint", step, folder)

    def on_end(self, error):
        self.note("on_end", error)

    def state(self):
        return {"kept": self.kept}

    def restore(self, state):
        self.note("restore", state)


class Silent(Callback):
    pass


def run_of(*callbacks):
    return RunCallbacks(callbacks, Watchdog(60))


def test_the_calls_come_in_order_and_the_states_come_back():
    calls = []
    first, second = Listener(calls), Listener(calls)
    with run_of(first, second) as callbacks:
        callbacks.start(START, {"states": {"Listener#2": {"kept": 3}}})
        callbacks.on_row(5, {"train/loss": 1.0}, {"train/steps_per_second": 2.0})
        callbacks.on_evaluation(5, {"loss": 1.0})
        saved = callbacks.to_save(5)
        callbacks.on_checkpoint(5, Path("run/checkpoints/5"))
    assert [call for call in calls if call[0] == "restore"] == [("restore", {"kept": 3})]
    assert calls[:3] == [("on_start", 4), ("on_start", 4), ("restore", {"kept": 3})]
    assert calls[3] == calls[4] == ("on_row", 5, {"train/loss": 1.0}, {"train/steps_per_second": 2.0})
    assert calls[5] == ("on_evaluation", 5, {"loss": 1.0})
    assert calls[7:] == 2 * [("on_checkpoint", 5, Path("run/checkpoints/5"))] + 2 * [("on_end", None)]
    assert saved == {"states": {"Listener": {"kept": 5}, "Listener#2": {"kept": 5}}}


def test_a_stop_is_kept_and_saved_and_the_others_are_still_called():
    last = Listener()
    with run_of(Listener(on_row=Stop("enough")), Listener(on_evaluation=Stop("late")), last) as callbacks:
        callbacks.start(START, {})
        assert not callbacks.end_the_run
        callbacks.on_row(5, {}, {})
        callbacks.on_evaluation(5, {})
        assert callbacks.end_the_run
        assert callbacks.to_save(5)["stopped"] == callbacks.stopped == "enough"
    assert ("on_row", 5, {}, {}) in last.calls
    with run_of() as callbacks:
        callbacks.start(START, {"stopped": "enough"})
        assert callbacks.stopped == "enough"
        assert callbacks.to_save(4) == {"stopped": "enough"}


def test_a_run_without_states_has_nothing_to_save_and_nobody_waits_for_its_checkpoints():
    with run_of(Silent()) as callbacks:
        callbacks.start(START, {})
        assert callbacks.to_save(4) == {}
        assert not callbacks.want_checkpoints
    assert run_of(Listener()).want_checkpoints
    assert run_of(Silent())
    assert not run_of()


def test_the_state_of_a_callback_that_is_gone_is_said(capsys):
    with run_of(Silent()) as callbacks:
        callbacks.start(START, {"states": {"Listener": {"kept": 3}}})
    assert "callbacks: this run has no Listener; its state" in capsys.readouterr().err


def play(*callbacks, saved=None, error=None):
    """A run of one step with a row, an evaluation and a checkpoint, which then ends with an error or without."""
    with run_of(*callbacks) as run:
        run.start(START, saved or {})
        run.on_row(5, {}, {})
        run.on_evaluation(5, {})
        run.on_checkpoint(5, Path("5"))
        run.raise_failure()
        if error:
            raise error
    return run


@pytest.mark.parametrize("method", ["on_row", "on_evaluation", "on_checkpoint"])
def test_an_error_names_class_method_and_step_and_the_others_are_still_called(method, capsys):
    other, fault = Listener(), ValueError("bad luck")
    failing = Listener(**{method: fault}), Listener(**{method: KeyError("more")})
    with pytest.raises(
        CallbackError, match=rf"got ValueError from Listener\.{method} at step 5: bad luck; "
    ) as info:
        play(*failing, other)
    assert info.value.__cause__ is fault
    methods = [call[0] for call in other.calls]
    assert methods == ["on_start", "on_row", "on_evaluation", "on_checkpoint", "on_end"]
    assert other.calls[-1][1] is info.value
    assert f"got KeyError from Listener#2.{method}" in capsys.readouterr().err


def test_an_error_at_the_start_ends_what_was_started():
    other = Listener()
    with pytest.raises(CallbackError, match=r"from Listener\.on_start at step 4"):
        play(Listener(on_start=OSError("no")), other)
    assert [call[0] for call in other.calls] == ["on_start", "on_end"]


def test_callbacks_that_were_not_started_are_not_ended():
    listener = Listener()
    with run_of(listener):
        pass
    assert listener.calls == []


def test_an_error_at_the_end_is_raised_or_said_beside_the_first_one(capsys):
    fault = Listener(on_end=OSError("no"))
    with pytest.raises(CallbackError, match=r"from Listener\.on_end at step 5: no"):
        play(fault)
    with pytest.raises(ZeroDivisionError):
        play(fault, error=ZeroDivisionError())
    assert "got OSError from Listener.on_end at step 5: no" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["on_start", "on_checkpoint", "restore"])
def test_a_stop_elsewhere_is_an_error(method):
    with pytest.raises(CallbackError, match=rf"got Stop from Listener\.{method}"):
        play(Listener(**{method: Stop("now")}), saved={"states": {"Listener": {}}})


@pytest.mark.parametrize("state", [{"kept": object()}, [1], {"kept": {1, 2}}, None])
def test_a_state_that_json_does_not_know_is_refused_at_the_start(state):
    listener = Listener()
    listener.state = lambda: state
    with pytest.raises(CallbackError, match=r"got TypeError from Listener\.state at step 4"):
        play(listener)


@pytest.mark.parametrize("failure", [None, "of process 0"])
def test_other_processes_call_nothing_and_learn_what_the_first_one_decided(monkeypatch, failure):
    told = json.dumps(["enough", failure])
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(run_callbacks, "gather_texts", lambda own: [told, own])
    listener = Listener(on_row=Stop("here only"))
    expected = pytest.raises(CallbackError, match=failure) if failure else contextlib.nullcontext()
    with expected:
        assert play(listener).stopped == "enough"
    assert listener.calls == []


def test_a_running_callback_does_not_count_as_a_hang():
    watchdog, pauses = Watchdog(60), []

    class Slow(Callback):
        def on_row(self, step, values, clock):
            pauses.append(watchdog._pauses)

    with RunCallbacks([Slow()], watchdog) as callbacks:
        callbacks.start(START, {})
        callbacks.on_row(5, {}, {})
    assert pauses == [1]


def test_settings_ask_for_early_stopping_after_the_experiments_own_callbacks():
    config, own = plain_toy.Config(), Silent()
    experiment = dataclasses.replace(plain_toy.experiment(config), callbacks=[own])
    assert all_callbacks(experiment, config) == (own,)
    config.stop.patience = 2
    first, stopping = all_callbacks(experiment, config)
    assert first is own
    for step, loss in enumerate([1.0, 0.5, 0.75]):
        stopping.on_evaluation(step, {"loss": loss})
    with pytest.raises(
        Stop, match=r"^loss has not become lower in 2 evaluations; the best was 0\.5 at step 1$"
    ):
        stopping.on_evaluation(3, {"loss": 0.75})


def test_a_callback_that_changes_its_dicts_changes_no_result():
    class Changing(Callback):
        def on_start(self, start):
            start.config.train.steps = 1

        def on_row(self, step, values, clock):
            values.clear()
            clock.clear()

        def on_evaluation(self, step, values):
            values["loss"] = -1.0

    calls, values, clock = [], {"loss": 2.0}, {"time": 1.0}
    callbacks = run_of(Changing(), Listener(calls))
    callbacks.start(START, {})
    assert START.config == Config()
    calls.clear()
    callbacks.on_row(5, values, clock)
    callbacks.on_evaluation(5, values)
    assert calls == [("on_row", 5, {"loss": 2.0}, {"time": 1.0}), ("on_evaluation", 5, {"loss": 2.0})]
    assert (values, clock) == ({"loss": 2.0}, {"time": 1.0})
