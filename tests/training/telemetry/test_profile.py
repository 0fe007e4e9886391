"""The trace covers exactly the steps that were asked for."""

import jax
import numpy as np
import pytest

from dlcore.training import loop
from dlcore.training.engine import Engine
from dlcore.training.telemetry.profile import Trace


@pytest.fixture
def calls(monkeypatch):
    """The calls of JAX's profiler, in place of traces."""
    calls = []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: calls.append(f"start {folder.name}"))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append("stop"))
    return calls


def run_steps(trace, calls, end, steps_per_call=1):
    for first in range(0, end, steps_per_call):
        steps = range(first, first + steps_per_call)
        trace.before_call(steps)
        calls.append(steps.stop)
        trace.after_call(steps.stop, np.zeros(1))
    trace.close()


@pytest.mark.parametrize(
    ("steps", "steps_per_call", "expected"),
    [
        ("3-4", 1, [1, 2, "start profile", 3, 4, "stop", 5, 6]),
        ("1-1", 1, ["start profile", 1, "stop", 2, 3, 4, 5, 6]),
        ("4-4", 2, [2, "start profile", 4, "stop", 6]),
        ("2-3", 2, ["start profile", 2, 4, "stop", 6]),
        ("5-100", 1, [1, 2, 3, 4, "start profile", 5, 6, "stop"]),
        (None, 1, [1, 2, 3, 4, 5, 6]),
    ],
)
def test_the_steps_are_traced_and_no_others(tmp_path, calls, steps, steps_per_call, expected):
    run_steps(Trace(tmp_path, steps, 6), calls, 6, steps_per_call)
    assert calls == expected


@pytest.mark.slow
def test_the_loop_traces_the_steps(make_toy, tmp_path, monkeypatch, calls):
    run_call = loop.run_call

    def note_and_run(engine, state, inputs, recorder):
        calls.append(inputs.steps.stop)
        return run_call(engine, state, inputs, recorder)

    monkeypatch.setattr(loop, "run_call", note_and_run)
    toy = make_toy()
    loop.train(Engine(toy.experiment, toy.config), tmp_path, profile="5-6")
    assert calls == [1, 2, 3, 4, "start profile", 5, 6, "stop", 7, 8, 9, 10, 11, 12]


@pytest.mark.slow
def test_a_run_that_ends_before_the_last_step_writes_its_trace(make_toy, tmp_path):
    toy = make_toy()
    loop.train(Engine(toy.experiment, toy.config), tmp_path, profile="11-100")
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))


@pytest.mark.parametrize("steps", ["5", "6-5", "0-3", "a-b", "-", ""])
def test_another_form_is_refused(tmp_path, steps):
    with pytest.raises(ValueError, match=f"--profile: got '{steps}', expected the first and last step"):
        Trace(tmp_path, steps, 12)


def test_steps_after_the_end_are_refused(tmp_path):
    with pytest.raises(ValueError, match="--profile: got '13-20', expected steps of the run, which has 12"):
        Trace(tmp_path, "13-20", 12)
