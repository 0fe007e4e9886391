"""``launch/local`` with several processes: its flags, and what it refuses before anything is started."""

import os
import subprocess
import sys

import pytest

from dlcore.launch.local import check_numbers
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


def test_help_shows_both_ways_and_the_flags(tmp_path):
    finished = launch(tmp_path, "--help")
    assert finished.returncode == 0
    for text in ("launch/local experiments.digits [--flags]", "--processes: ", "--devices_per_process: "):
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
    found = "import sys, dlcore.launch.local; print('jax' in sys.modules, 'numpy' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", found], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["False", "False"]
