"""A trace of the steps that were asked for."""

import jax
import pytest

from dlcore.train import loop
from dlcore.train.engine import Engine


def test_the_steps_are_traced_and_no_others(make_toy, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: calls.append("start"))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append("stop"))
    run_call = loop.run_call
    monkeypatch.setattr(
        loop,
        "run_call",
        lambda engine, state, call, recorder: (
            calls.append(call.steps.stop),
            run_call(engine, state, call, recorder),
        )[1],
    )
    toy = make_toy()
    loop.train(Engine(toy.experiment, toy.config), tmp_path, profile="5-6")
    assert calls == [1, 2, 3, 4, "start", 5, 6, "stop", 7, 8, 9, 10, 11, 12]


def test_it_writes_a_trace_even_if_the_run_ends_before(make_toy, tmp_path):
    toy = make_toy()
    loop.train(Engine(toy.experiment, toy.config), tmp_path, profile="11-100")
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))


@pytest.mark.parametrize("steps", ["5", "6-5", "0-3", "a-b", "-", "13-20"])
def test_a_range_that_is_none_is_named(make_toy, tmp_path, steps):
    toy = make_toy()
    with pytest.raises(ValueError, match=f"--profile: got '{steps}', expected (the first|steps of the run)"):
        loop.train(Engine(toy.experiment, toy.config), tmp_path, profile=steps)
