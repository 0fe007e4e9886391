"""What is read from a run's folder is what the run wrote there; damaged files count as absent."""

import json
import struct
import subprocess
import sys

import pytest

from dlcore.launch.run_state import RunState, is_finished, read_job, read_state, write_job
from dlcore.training import loop
from dlcore.utils.locks import lock_file, open_lock
from tests.helpers import plain_toy


def run_folder(folder, *, steps=9, length: int | str = 9, saved=(6, 9), stopped=None, elsewhere=None):
    """The files of a run, as far as they matter."""
    for step in saved:
        (folder / "checkpoints" / str(step)).mkdir(parents=True)
    config = {"train": {"steps": length}, "checkpoint": {"folder": elsewhere}}
    (folder / "config.json").write_text(json.dumps(config))
    result = {"loss": 0.5, "steps": steps} | ({"stopped": stopped} if stopped else {})
    (folder / "result.json").write_text(json.dumps(result))
    return folder


@pytest.mark.parametrize(
    ("given", "finished"),
    [
        ({}, True),
        ({"length": "3epochs"}, True),
        ({"length": 12}, False),  # it trains on
        ({"saved": (6, 9, 12)}, False),
        ({"saved": (6,)}, False),
        ({"saved": ()}, False),
        ({"length": 12, "stopped": "enough"}, True),
        ({"saved": (), "elsewhere": "gs://bucket/run", "length": 9}, True),
    ],
)
def test_a_run_is_finished_if_its_result_is_of_its_last_step(tmp_path, given, finished):
    tmp_path.joinpath("checkpoints").mkdir()
    assert is_finished(run_folder(tmp_path, **given)) == finished


def test_what_is_missing_or_damaged_counts_as_absent(tmp_path):
    assert read_state(tmp_path / "none") == RunState(tmp_path / "none", False, False, 0, None, None, None)
    assert read_job(tmp_path) is None
    for name in ("config.json", "result.json"):
        (tmp_path / name).write_text("[1]")
    (tmp_path / "metrics.csv").write_text("step,name,value\n3,train/loss,0.5\n6,train/lo")
    (tmp_path / "events.1").write_bytes(b"\x09")
    assert read_state(tmp_path) == RunState(tmp_path, False, False, 3, None, 0.5, None)


def test_the_number_of_a_job_is_kept(tmp_path):
    write_job(tmp_path / "run", "12_3", tmp_path / "log")
    assert read_job(tmp_path / "run") == "12_3"
    (tmp_path / "run" / "launch" / "slurm.json").write_text("{")
    assert read_job(tmp_path / "run") is None


def event(time, step):
    """An event as TensorBoard writes it, with a summary of 3 bytes, in its frame."""
    varint = b""
    while True:
        step, low = step >> 7, step & 127
        varint += bytes([low | (128 if step else 0)])
        if not step:
            break
    content = b"\x09" + struct.pack("<d", time) + b"\x10" + varint + b"\x2a\x01\x00"
    return struct.pack("<Q", len(content)) + b"crc." + content + b"crc."


def test_the_speed_is_that_of_the_newest_events(tmp_path):
    (tmp_path / "config.json").write_text('{"train": {"steps": 1000}}')
    (tmp_path / "metrics.csv").write_text("step,name,value\n500,train/loss,0.5\n")
    events = [event(1000.0 + step / 2, step) for step in range(0, 501, 5)]
    (tmp_path / "events.1").write_bytes(b"".join(events)[:-1])  # the last one is half written
    state = read_state(tmp_path)
    assert state.speed == pytest.approx(2.0)
    assert state.seconds_left == pytest.approx(250)


def test_the_state_of_a_real_run_is_read(tmp_path):
    """Trains a few steps as a run does, and compares with what training itself returns."""
    engine = plain_toy.make_engine(steps=12)
    trained = loop.train(engine, tmp_path)
    state = read_state(tmp_path)
    assert state.step == int(trained.state.step) == 12
    rows = [line.split(",") for line in (tmp_path / "metrics.csv").read_text().splitlines()]
    assert state.loss == [float(value) for _, name, value in rows if name == "train/loss"][-1]
    assert state.speed is not None
    assert state.speed > 0


def test_a_held_lock_means_that_the_run_trains(tmp_path):
    assert not read_state(tmp_path).trains
    with open_lock(tmp_path / ".lock") as lock:
        assert not read_state(tmp_path).trains
        lock_file(lock, "busy")
        assert read_state(tmp_path).trains
    assert not read_state(tmp_path).trains


def test_the_state_is_read_without_jax():
    found = "import sys, dlcore.launch.run_state; print('jax' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", found], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["False"]
