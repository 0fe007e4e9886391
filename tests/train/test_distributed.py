"""Two processes of two devices each do what one process of four does."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from dlcore.train import distributed
from tests.helpers.paths import ROOT


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def environments(processes, devices):
    coordinator = f"127.0.0.1:{free_port()}"
    for number in range(processes):
        variables = {"JAX_NUM_CPU_DEVICES": str(devices)}
        if processes > 1:
            variables |= {
                distributed.COORDINATOR: coordinator,
                distributed.COUNT: str(processes),
                distributed.NUMBER: str(number),
            }
        yield {**os.environ, **variables}


def run(module, arguments, processes, devices):
    """The last lines of stdout of so many processes that run together."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    running = [
        subprocess.Popen(
            command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for env in environments(processes, devices)
    ]
    said = [process.communicate(timeout=240) for process in running]
    assert [process.returncode for process in running] == [0] * processes, said
    return [out.splitlines()[-1] for out, _ in said]


def params_of(path):
    with np.load(path) as file:
        return dict(file)


def test_two_processes_equal_one(tmp_path):
    program, mesh = "tests.helpers.two_processes", (2, 2, "by_rules")
    (one,) = map(json.loads, run(program, [tmp_path / "one", 12, *mesh], 1, 4))
    two = [json.loads(line) for line in run(program, [tmp_path / "two", 12, *mesh], 2, 2)]
    assert one["rows"] == [0, 8]
    assert [result["rows"] for result in two] == [[0, 4], [4, 8]]
    assert {result["devices"] for result in [one, *two]} == {4}
    expected = params_of(tmp_path / "one" / "params_0.npz")
    for number, result in enumerate(two):
        assert result["loss"] == pytest.approx(one["loss"], rel=1e-6)
        for name, leaf in params_of(tmp_path / "two" / f"params_{number}.npz").items():
            np.testing.assert_allclose(leaf, expected[name], rtol=1e-6, atol=1e-7, err_msg=name)
    tables = [(tmp_path / part / "metrics.csv").read_text().splitlines() for part in ("one", "two")]
    assert [line.rsplit(",", 1)[0] for line in tables[0]] == [line.rsplit(",", 1)[0] for line in tables[1]]


@pytest.mark.slow
def test_a_run_of_two_processes_goes_on_as_one_and_back(tmp_path):
    program, mesh = "tests.helpers.two_processes", (4, 1, "sharded")
    (whole,) = run(program, [tmp_path / "whole", 12, *mesh], 1, 4)
    run(program, [tmp_path / "parts", 4, *mesh], 2, 2)
    run(program, [tmp_path / "parts", 8, *mesh], 1, 4)
    parts = run(program, [tmp_path / "parts", 12, *mesh], 2, 2)
    assert json.loads(parts[0])["loss"] == pytest.approx(json.loads(whole)["loss"], rel=1e-6)


@pytest.mark.slow
def test_preemption_of_one_process_stops_both_behind_the_same_step(tmp_path):
    arguments = [sys.executable, "-m", "tests.helpers.sequence_toy", f"--workdir={tmp_path / 'run'}"]
    arguments += ["--config.train.steps=1000000", "--config.train.log_every=20", "--config.mesh.data=4"]
    said = [tmp_path / f"{number}.txt" for number in (0, 1)]
    running = [
        subprocess.Popen(arguments, cwd=ROOT, env=env, stdout=path.open("w"), stderr=subprocess.STDOUT)
        for path, env in zip(said, environments(2, 2), strict=True)
    ]
    try:
        deadline = time.monotonic() + 120
        while "step 40/" not in said[0].read_text():
            assert time.monotonic() < deadline, said[0].read_text()
            assert all(process.poll() is None for process in running), [path.read_text() for path in said]
            time.sleep(0.05)
        running[1].send_signal(signal.SIGTERM)
        codes = [process.wait(60) for process in running]
    finally:
        for process in running:
            process.kill()
    texts = [path.read_text() for path in said]
    assert codes == [75, 75], texts
    steps = {text.split("after step ")[1].split(";")[0] for text in texts}
    assert len(steps) == 1
    saved = [int(path.name) for path in (tmp_path / "run" / "checkpoints").iterdir() if path.name.isdigit()]
    assert max(saved) == int(steps.pop())


def test_processes_with_different_flags_are_refused(tmp_path):
    command = [sys.executable, "-m", "tests.helpers.sequence_toy", f"--workdir={tmp_path / 'run'}"]
    running = [
        subprocess.Popen(
            [*command, *flags], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for flags, env in zip(([], ["--config.seed=1"]), environments(2, 1), strict=True)
    ]
    said = [process.communicate(timeout=120)[1] for process in running]
    assert [process.returncode for process in running] == [2, 2], said
    for text in said:
        assert "--config.seed=1: got it in process 1, but --config.seed=0 in process 0" in text
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", [0, 1])
def test_a_process_that_is_left_alone_says_so_and_gives_up(number):
    program = (
        "from dlcore import distributed as d\nd.SAY_SECONDS, d.WAIT_SECONDS = 0.2, 2\nd.initialize('on')\n"
    )
    env = list(environments(2, 1))[number]
    began = time.monotonic()
    finished = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=env, capture_output=True, text=True
    )
    assert finished.returncode == 1
    waiting = f"process {number}: waiting for all 2 processes at {env[distributed.COORDINATOR]}"
    assert f"{waiting}\nerror: {waiting}: some are missing after 2 s" in finished.stderr
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    "coordinator", ["", "node1", "node1:", ":1234", "127.0.0.1:1x", "127.0.0.1:0", "a b:1", "node1:65536"]
)
def test_a_coordinator_that_is_no_address_is_named(monkeypatch, coordinator):
    monkeypatch.setenv(distributed.COORDINATOR, coordinator)
    monkeypatch.setenv(distributed.COUNT, "2")
    monkeypatch.setenv(distributed.NUMBER, "0")
    with pytest.raises(ValueError, match=r"DLCORE_COORDINATOR: got '.*', expected HOST:PORT of process 0"):
        distributed.initialize("auto")


@pytest.mark.parametrize(
    "variables", [{}, {distributed.COUNT: "2"}, {distributed.COUNT: "2", distributed.NUMBER: "2"}]
)
def test_variables_that_say_nothing_useful_are_named(monkeypatch, variables):
    monkeypatch.setenv(distributed.COORDINATOR, "127.0.0.1:1")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(
        ValueError, match=r"DLCORE_COORDINATOR: got 127\.0\.0\.1:1 with DLCORE_NUM_PROCESSES="
    ):
        distributed.initialize("auto")
    with pytest.raises(ValueError, match="--distributed: got 'maybe', expected auto, on or off"):
        distributed.initialize("maybe")
