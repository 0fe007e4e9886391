"""A worker works for a scheduler until one of them ends, and its exit code tells which."""

import operator
import os
import signal
import subprocess
import sys

import pytest

pytest.importorskip("distributed")

from dlcore.launch.series.clusters import connected, prepare_dask
from dlcore.launch.series.scheduler import scheduler_file, served_scheduler
from tests.helpers.paths import ROOT


def start(*flags):
    command = [sys.executable, "-m", "dlcore.launch.series.worker", *flags]
    named = {**os.environ, "DASK_WORKER_NAME": "first"}
    return subprocess.Popen(
        command, cwd=ROOT, env=named, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture
def client(tmp_path):
    prepare_dask()
    file = scheduler_file(tmp_path)
    with served_scheduler(file, "127.0.0.1", "127.0.0.1:0") as cluster, connected(cluster) as client:
        yield client


@pytest.mark.slow
def test_a_worker_works_and_goes_with_its_scheduler(client, tmp_path):
    worker = start(f"--scheduler={scheduler_file(tmp_path)}")
    assert client.submit(operator.add, 1, 2).result(timeout=60) == 3
    (info,) = client.scheduler_info()["workers"].values()
    assert (info["name"], info["nthreads"], info["memory_limit"]) == ("first", 1, 0)
    client.shutdown()
    out, errors = worker.communicate(timeout=30)  # Dask may log errors of its own end
    assert (worker.returncode, out) == (0, ""), errors


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_worker_whose_machine_is_taken_away_asks_to_be_started_again(client, tmp_path, number):
    worker = start(f"--scheduler={scheduler_file(tmp_path)}")
    assert client.submit(os.getpid).result(timeout=60) not in (worker.pid, os.getpid())
    worker.send_signal(number)
    assert worker.wait(30) == 75


def test_without_a_scheduler_there_is_nothing_to_do(tmp_path):
    worker = start(f"--scheduler={tmp_path / 'none'}")
    _, errors = worker.communicate(timeout=60)
    assert (worker.returncode, errors) == (
        0,
        f"{tmp_path / 'none'}: no scheduler is there any more, so there is nothing to do\n",
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--scheduler: got none, expected its address or the path of its file"),
        (["--scheduler=x", "y"], "y: no such argument, expected flags alone"),
    ],
)
def test_wrong_flags_are_refused(flags, message):
    worker = start(*flags)
    _, errors = worker.communicate(timeout=60)
    assert (worker.returncode, errors) == (2, f"error: {message}\n")
