"""``launch/local`` with several processes: its flags, and what it refuses before anything is started."""

import os
import subprocess
import sys

import pytest

from dlcore.launch.local import check_numbers
from dlcore.launch.series.clusters import prepare_dask
from dlcore.launch.series.scheduler import scheduler_file, served_scheduler
from tests.helpers.command_line import read_result
from tests.helpers.launched import LAUNCHER
from tests.helpers.paths import ROOT


def launch(folder, *arguments):
    (folder / "script.py").write_text("open('started', 'w')")
    return subprocess.run(
        [*LAUNCHER, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--processes=2", "no_such"],
            "experiment: got 'no_such', expected a module that python -m finds in ",
        ),
        (["--processes=2", "--"], "experiment: got none, expected a module such as experiments.digits"),
        (["--devices_per_process=2", "script"], "--processes: got none, expected the number of processes"),
        (["--processes=0", "script"], "--processes: got 0, expected 1 to 128"),
        (["--processes=two", "script"], "flag --processes=two: "),
        (["--proceses=2", "script"], "--proceses: no such flag, see --help; did you mean 'processes'?"),
        (
            ["--workers=2", "script"],
            "--workers: got it without --runs, expected a file with a run on each line",
        ),
        (["--isolate", "--processes=2", "script"], "--isolate: got it without --runs"),
        (
            ["--runs=f", "--processes=2", "script"],
            "--processes: got it with --runs, each of which is one process",
        ),
        (["--runs=f", "script"], "--workers: got None, expected 1 to 128, or --scheduler"),
        (["--runs=f", "--workers=129", "script"], "--workers: got 129, expected 1 to 128"),
        (["--runs=f", "--workers=2", "--scheduler=tcp://a:1", "script"], "--scheduler: got --workers too"),
        (["--processes=2", "script", "--run=a;b"], "--run: got 'a;b', expected letters, digits and . _ -"),
    ],
)
def test_a_mistake_is_one_line_before_anything_starts(tmp_path, arguments, message):
    finished = launch(tmp_path, *arguments)
    assert finished.returncode == 2
    assert finished.stderr.startswith(f"error: {message}")
    assert finished.stderr.count("\n") == 1
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("processes", [0, -1, 129, 10**6])
def test_a_number_of_processes_without_sense_is_refused(processes):
    with pytest.raises(ValueError, match=f"^--processes: got {processes}, expected 1 to 128$"):
        check_numbers(processes, None)


@pytest.mark.parametrize("devices", [0, -1, 129, 10**6])
def test_a_number_of_devices_without_sense_is_refused(devices):
    with pytest.raises(ValueError, match=f"^--devices_per_process: got {devices}, expected 1 to 128$"):
        check_numbers(2, devices)


def test_one_process_and_one_device_are_enough():
    check_numbers(1, None)
    check_numbers(128, 128)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("none", "none: No such file or directory"),
        ("script.py", "--runs: script.py:1: got 'open(started,', expected flags"),
    ],
)
def test_a_wrong_file_of_runs_is_one_line_before_anything_starts(tmp_path, file, message):
    pytest.importorskip("distributed")
    test_a_mistake_is_one_line_before_anything_starts(
        tmp_path, [f"--runs={file}", "--workers=2", "experiments.adding"], message
    )


MANY = ["--runs=runs.txt", "--", "tests.helpers.many_toy", "--mode=toy", "--workdir=series"]


@pytest.mark.slow
def test_many_runs_end_in_one_table_and_are_not_done_again(tmp_path):
    """Also those that crash, each of which has a process of its own; and with a cluster that runs already."""
    pytest.importorskip("distributed")
    (tmp_path / "runs.txt").write_text("--config.seed=1\n--config.seed=2 --config.end=segv\n--config.seed=3")
    finished = launch(tmp_path, "--workers=2", "--isolate", *MANY)
    assert finished.returncode == 1, finished.stderr
    table = (tmp_path / "series" / "runs.csv").read_text().splitlines()
    ended = [row.split(",")[1:4] for row in table[1:]]
    assert ended == [["1", "well", "done"], ["2", "segv", "failed"], ["3", "well", "done"]]
    assert "ended by SIGSEGV" in finished.stderr
    assert read_result(finished.stdout)["failed"] == 1

    (tmp_path / "runs.txt").write_text("--config.seed=1\n--config.seed=3\n--config.seed=4")
    file = scheduler_file(tmp_path)
    prepare_dask()
    with served_scheduler(file, "127.0.0.1", "127.0.0.1:0"):
        command = [sys.executable, "-m", "dlcore.launch.series.worker", f"--scheduler={file}"]
        worker = subprocess.Popen(command, cwd=ROOT)
        finished = launch(tmp_path, f"--scheduler={file}", *MANY)
        assert finished.returncode == 0, finished.stderr
    assert worker.wait(30) == 0
    before, now = table, (tmp_path / "series" / "runs.csv").read_text().splitlines()
    assert [row.split(",")[1:3] for row in now[1:]] == [["1", "done"], ["3", "done"], ["4", "done"]]
    assert before[1].split(",")[-2] == now[1].split(",")[-2]  # the seconds of the first time
    assert read_result(finished.stdout)["done"] == 3


def test_help_shows_all_ways_and_the_flags(tmp_path):
    finished = launch(tmp_path, "--help")
    assert finished.returncode == 0
    for text in ("launch/local experiments.digits [--flags]", "--processes: ", "--workers: ", "--runs: "):
        assert text in finished.stdout


def test_all_processes_get_the_same_folder_if_none_is_named(tmp_path):
    (tmp_path / "script.py").write_text("import sys; print(sys.argv[1:])")
    finished = launch_script(tmp_path)
    folders = {line.split(" ", 1)[1] for line in finished.stdout.splitlines()}
    assert len(finished.stdout.splitlines()) == 2
    assert len(folders) == 1
    assert f"--workdir={tmp_path}/runs/script/20" in folders.pop()


def launch_script(folder):
    return subprocess.run(
        [*LAUNCHER, "--processes=2", "script"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


def test_the_launcher_starts_without_jax():
    found = (
        "import sys, dlcore.launch.local; print([n for n in ('jax', 'numpy', 'dask') if n in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", found], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"
