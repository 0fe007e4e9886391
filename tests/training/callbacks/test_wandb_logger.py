"""Weights & Biases gets every row, in one run of wandb also if our run was stopped in between."""

import signal
import struct
import time
from importlib.util import find_spec

import pytest

import dlcore as dl
from dlcore.training import loop
from dlcore.training.engine import Engine
from dlcore.training.telemetry.metrics_log import read_metrics
from tests.helpers.plain_toy import Config, experiment, interrupting

BLOCK, FULL, LAST = 2**15, 1, 4


@pytest.fixture
def offline(monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    yield
    wandb.teardown()  # ends wandb's own process


def records_of(folder):
    """What wandb's files in a run's folder hold, in the order in which they were written."""
    from wandb.proto.wandb_internal_pb2 import Record

    for path in sorted((folder / "wandb").glob("offline-run-*/run-*.wandb")):
        content, place, whole = path.read_bytes(), 7, b""
        while place < len(content):  # LevelDB's log: a checksum, the length, and which part of a record it is
            if BLOCK - place % BLOCK < 7:
                place += BLOCK - place % BLOCK
            _, length, part = struct.unpack_from("<IHB", content, place)
            whole += content[place + 7 : place + 7 + length]
            place += 7 + length
            if part in (FULL, LAST):
                yield Record.FromString(whole)
                whole = b""


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_a_run_that_was_stopped_is_one_run_of_wandb(tmp_path):
    config = Config()
    config.log.wandb = "dlcore-tests"
    engine = Engine(experiment(config), config)
    with pytest.raises(loop.Interrupted):
        loop.train(interrupting(engine, 7, signal.SIGTERM), tmp_path)
    time.sleep(1)  # wandb names its files by the second
    loop.train(engine, tmp_path)
    rows, runs, written = [], [], {}
    for record in records_of(tmp_path):
        rows += [record.history] if record.HasField("history") else []
        runs += [record.run] if record.HasField("run") else []
    for row in rows:
        items = {item.key or "/".join(item.nested_key): float(item.value_json) for item in row.item}
        written |= {(row.step.num, name): value for name, value in items.items()}
    assert len(runs) == 2
    assert {run.run_id for run in runs} == {(tmp_path / "wandb_run.txt").read_text().strip()}
    assert {(run.project, run.display_name) for run in runs} == {("dlcore-tests", tmp_path.name)}
    (settings,) = [update.value_json for update in runs[0].config.update if update.key == "train"]
    assert '"batch_size":8' in settings.replace(" ", "")
    for step, name, value in read_metrics(tmp_path / "metrics.csv"):
        assert written[step, name] == value
    assert (12, "train/steps_per_second") in written


@pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed")
@pytest.mark.parametrize("project", [None, 3])
def test_a_project_has_a_name(project):
    with pytest.raises(TypeError, match=r"project: got .*, expected the name of a wandb project"):
        dl.callbacks.WandbLogger(project)
