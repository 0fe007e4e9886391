"""Training rows are written one call late, evaluations at once; times stay out of the table."""

import dataclasses
import time
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.training import loop
from dlcore.training.callbacks.callback import Callback, Stop
from dlcore.training.callbacks.run_callbacks import RunCallbacks
from dlcore.training.engine import Engine
from dlcore.training.faults.watchdog import Watchdog
from dlcore.training.metrics import Average
from dlcore.training.telemetry import recorder as recorder_module
from dlcore.training.telemetry.events import Events
from dlcore.training.telemetry.metrics_log import read_metrics
from dlcore.training.telemetry.recorder import Recorder
from tests.helpers import sequence_toy


def sums(loss, examples):
    return {"loss": Average(jnp.float32(loss * examples), jnp.float32(examples))}


@pytest.fixture
def engine():
    """As much of an engine as a recorder uses."""
    config = sequence_toy.Config()
    config.train.monitor_every = None
    return SimpleNamespace(
        config=config,
        experiment=SimpleNamespace(best="accuracy", monitor=None),
        with_zero_metrics=lambda state: SimpleNamespace(metrics=sums(0, 0)),
        replicate=lambda tree: tree,
        learning_rates=lambda opt_state: {"learning_rate": jnp.asarray(opt_state)},
    )


@pytest.fixture
def clocks(monkeypatch):
    """The times of every row that is written."""
    clocks = []
    write = Events.on_row

    def note_and_write(self, step, values, clock):
        clocks.append(clock)
        write(self, step, values, clock)

    monkeypatch.setattr(Events, "on_row", note_and_write)
    return clocks


def record(engine, folder, watchdog=None, callbacks=()):
    watchdog = watchdog or Watchdog(60)
    return Recorder(engine, folder, 0, watchdog, RunCallbacks(callbacks, watchdog))


def rows_in(folder):
    return read_metrics(folder / "metrics.csv")


def test_a_training_row_is_written_one_call_late(engine, clocks, tmp_path, capsys):
    with record(engine, tmp_path) as recorder:
        recorder.count_call(3, (24, 100), 1e6)
        state = recorder.take_metrics(3, SimpleNamespace(metrics=sums(0.75, 24), opt_state=0.5))
        assert float(state.metrics["loss"].weight) == 0
        assert rows_in(tmp_path) == []
        recorder.write_row()
        recorder.write_row()  # there is no other row
    assert rows_in(tmp_path) == [
        (3, "train/loss", 0.75),
        (3, "train/learning_rate", 0.5),
    ]
    (clock,) = clocks
    assert clock["train/frames_per_second"] / clock["train/steps_per_second"] == pytest.approx(100 / 3)
    shown = capsys.readouterr().err
    assert shown.startswith("step 3/12  loss 0.75  steps/s ")


def test_an_evaluation_is_written_after_the_training_row_before_it(engine, tmp_path, monkeypatch, capsys):
    values = {"accuracy": 0.5, "f1": [1.0, 0.0], "matrix": [[1.0, 0.0], [1.0, 0.0]]}
    monkeypatch.setattr(recorder_module, "evaluate", lambda engine, state, on_batch: values)
    with record(engine, tmp_path) as recorder:
        state = recorder.take_metrics(6, SimpleNamespace(metrics=sums(0.5, 8), opt_state=0.5))
        assert recorder.record_evaluation(6, state) == values
    assert [row[:2] for row in rows_in(tmp_path)] == [
        (6, "train/loss"),
        (6, "train/learning_rate"),
        (6, "eval/accuracy"),
        (6, "eval/f1/0"),
        (6, "eval/f1/1"),  # the matrix is in the evaluation only
    ]
    assert capsys.readouterr().err.splitlines()[-1].startswith("step 6/12  eval accuracy 0.5")


def test_the_monitor_is_asked_only_if_the_config_wants_it(engine, tmp_path):
    engine.experiment.monitor = lambda params, model_state: {"total": params + model_state}
    state = SimpleNamespace(params=1.0, model_state=0.5)
    with record(engine, tmp_path) as recorder:
        recorder.record_monitor(6, state)
        assert rows_in(tmp_path) == []
        engine.config.train.monitor_every = 6
        recorder.record_monitor(6, state)
    assert rows_in(tmp_path) == [(6, "flow/total", 1.5)]


def test_what_a_monitor_returns_is_written_as_numbers_or_refused(engine, tmp_path):
    engine.config.train.monitor_every = 6
    state = SimpleNamespace(params=1.0, model_state=2.0)
    with record(engine, tmp_path) as recorder:
        engine.experiment.monitor = lambda params, model_state: {"norm": jnp.float32(0.5), "c": np.float64(3)}
        recorder.record_monitor(6, state)
        for returned, message in (
            (None, "monitor: got None, expected a dict of numbers by name"),
            ({"a": "b"}, "monitor: got 'b' as a, expected a number"),
        ):
            engine.experiment.monitor = lambda params, model_state, returned=returned: returned
            with pytest.raises(TypeError, match=message):
                recorder.record_monitor(12, state)
    assert read_metrics(tmp_path / "metrics.csv") == [(6, "flow/norm", 0.5), (6, "flow/c", 3.0)]


def test_callbacks_get_every_row_at_once_and_after_it_is_written(engine, clocks, tmp_path, monkeypatch):
    monkeypatch.setattr(recorder_module, "evaluate", lambda engine, state, on_batch: {"accuracy": 0.5})
    engine.experiment.monitor = lambda params, model_state: {"total": params + model_state}
    engine.config.train.monitor_every = 6
    seen = []

    class Listener(Callback):
        def on_row(self, step, values, clock):
            assert rows_in(tmp_path)[-len(values) :] == [(step, *row) for row in values.items()]
            seen.append((step, *values, *(["clock"] if clock else [])))

        def on_evaluation(self, step, values):
            seen.append((step, values))
            raise Stop("enough")

    with record(engine, tmp_path, callbacks=[Listener()]) as recorder:
        state = recorder.take_metrics(6, SimpleNamespace(metrics=sums(0.5, 8), opt_state=0.5))
        state.params, state.model_state = 1.0, 0.5
        recorder.record_monitor(6, state)
        recorder.record_evaluation(6, state)
        assert recorder.callbacks.stopped == "enough"
    assert seen == [
        (6, "train/loss", "train/learning_rate", "clock"),
        (6, "flow/total"),
        (6, "eval/accuracy"),
        (6, {"accuracy": 0.5}),
    ]


def test_tensorboard_may_be_off(engine, tmp_path):
    engine.config.log.tensorboard = False
    with record(engine, tmp_path) as recorder:
        recorder.take_metrics(3, SimpleNamespace(metrics=sums(0.75, 24), opt_state=0.5))
        recorder.write_row()
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]
    assert len(rows_in(tmp_path)) == 2


def test_only_the_first_process_writes_and_prints(engine, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    with record(engine, tmp_path) as recorder:
        recorder.count_call(3, (24, 100), 1e6)
        recorder.take_metrics(3, SimpleNamespace(metrics=sums(0.75, 24), opt_state=0.5))
        recorder.write_row()
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err == ""


def test_a_compilation_is_said_stops_the_watchdog_and_counts_for_no_estimate(engine, tmp_path, capsys):
    watchdog = Watchdog(60)
    with record(engine, tmp_path, watchdog):
        with engine.while_compiling("compiling the training"):
            assert watchdog._pauses == 1
        assert watchdog._pauses == 0
    assert capsys.readouterr().err == "compiling the training\n"
    with engine.while_compiling("after the run"):
        assert watchdog._pauses == 0
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_a_run_reports_where_its_time_goes_and_keeps_it_out_of_the_table(tmp_path, clocks):
    config = sequence_toy.Config()
    experiment = sequence_toy.experiment(config)

    class SlowData:
        batch_size = 8

        def __getitem__(self, step):
            time.sleep(0.05)
            return experiment.train_data[step]

    loop.train(Engine(dataclasses.replace(experiment, train_data=SlowData()), config), tmp_path)
    rows = [clock for clock in clocks if clock]
    assert len(rows) == 4
    last = rows[-1]
    assert last["train/data_seconds"] > last["train/device_seconds"]
    # The row before was written after the first of its three steps had begun.
    lengths = [experiment.train_data[step]["lengths"].sum() for step in (10, 11)]
    frames = last["train/frames_per_second"] / last["train/steps_per_second"]
    assert frames == pytest.approx(np.mean(lengths), rel=1e-6)
    products = 3 * 8 * 9 * 2 * (2 + 8) * 32  # of the LSTM, forward and backward; the gates come on top
    assert products < last["train/flops_per_second"] / last["train/steps_per_second"] < 3 * products
    assert "per_second" not in (tmp_path / "metrics.csv").read_text()
