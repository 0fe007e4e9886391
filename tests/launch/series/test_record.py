"""One process at a time works for a run, its end is on the disk as a whole, and attempts that died are counted."""

import json
import os
import subprocess
import sys
import time

import pytest

from dlcore.launch.series.record import Record, RunFiles
from tests.helpers.paths import ROOT


@pytest.fixture
def files(tmp_path):
    (tmp_path / "runs").mkdir()
    return RunFiles(tmp_path, "abc")


def test_how_a_run_ended_is_read_again(files):
    assert files.record() is None
    for record in (
        Record(["--config.name=a b", "--x"], 0.25, {"loss": 1 / 3, "nan": None, "list": [1, 2]}),
        Record([], 0.0, error="no"),
    ):
        files.publish(record)
        assert files.record() == record
    assert [path.name for path in files.folder.parent.iterdir()] == ["abc.json"]
    assert (files.folder, files.log) == (files.series / "runs" / "abc", files.series / "runs" / "abc.log")


def test_a_result_appears_as_a_whole(files, monkeypatch):
    def fail(*_):
        assert json.loads((files.series / "runs" / "abc.json.partial").read_text())["seconds"] == 1
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        files.publish(Record([], 1))
    assert files.record() is None


HOLD = """
import sys, time
from pathlib import Path
from dlcore.launch.series.record import RunFiles
with RunFiles(Path(sys.argv[1]), "abc").locked(0) as attempts:
    attempts.begin("client")
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(files):
    """Another process that works for the run until its stdin is closed."""
    command = [sys.executable, "-c", HOLD, str(files.series)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_others_wait_for_the_lock_and_then_decline(files, holder):
    began = time.monotonic()
    with pytest.raises(BlockingIOError, match="another process works for this run"), files.locked(0.3):
        pass
    assert time.monotonic() - began >= 0.3


def test_a_killed_process_loses_the_lock_and_its_attempt_counts(files, holder):
    holder.kill()
    with files.locked(10) as attempts:
        assert attempts.begin("client") == 1


def test_whoever_waits_gets_the_lock_when_it_is_free(files, holder):
    holder.stdin.close()
    with files.locked(10) as attempts:
        assert attempts.lock.fileno() > 2


def begin(files, client="client"):
    with files.locked(0) as attempts:
        return attempts.begin(client)


def test_attempts_that_died_are_counted_until_one_ends(files):
    assert [begin(files) for _ in range(4)] == [0, 1, 2, 3]
    with files.locked(0) as attempts:
        attempts.end()
    assert [begin(files) for _ in range(2)] == [0, 1]


def test_attempts_of_an_earlier_client_or_before_a_checkpoint_do_not_count(files):
    assert [begin(files) for _ in range(2)] == [0, 1]
    assert [begin(files, "next") for _ in range(2)] == [0, 1]
    (files.folder / "checkpoints" / "20").mkdir(parents=True)
    assert [begin(files, "next") for _ in range(2)] == [0, 1]
    (files.folder / "checkpoints" / "30").mkdir()
    assert [begin(files, "next") for _ in range(2)] == [0, 1]


def test_a_lock_that_was_half_written_counts_nothing(files):
    (files.series / "runs" / "abc.lock").write_text("7 cli")
    assert begin(files) == 0
