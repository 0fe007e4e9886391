"""Several processes as one job: two processes of two devices each compute what one process of four computes."""

import json
import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from dlcore.launch.processes import free_port
from dlcore.training import distributed, loop
from dlcore.training.checkpoints.folder import saved_steps
from dlcore.training.job import COORDINATOR, NUM_PROCESSES, PROCESS_ID, local_device_ids
from dlcore.utils.trees import named_leaves
from tests.helpers import plain_toy
from tests.helpers.paths import ROOT


def environments(processes, devices):
    coordinator = f"127.0.0.1:{free_port()}"
    for process in range(processes):
        variables = {"JAX_NUM_CPU_DEVICES": str(devices)}
        if processes > 1:
            variables |= {
                COORDINATOR: coordinator,
                NUM_PROCESSES: str(processes),
                PROCESS_ID: str(process),
            }
        yield {**os.environ, **variables}


def run(arguments, processes, devices):
    """Runs ``two_processes`` in this many processes together; returns the JSON that each prints."""
    command = [sys.executable, "-m", "tests.helpers.two_processes", *map(str, arguments)]
    running = [
        subprocess.Popen(
            command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for env in environments(processes, devices)
    ]
    output = [process.communicate(timeout=240) for process in running]
    assert [process.returncode for process in running] == [0] * processes, output
    return [json.loads(out.splitlines()[-1]) for out, _ in output]


def params_of(path):
    with np.load(path) as file:
        return dict(file)


def assert_equals(two, folder, loss, params, rtol):
    """The results of two processes of two devices each, against one process."""
    assert [result["rows"] for result in two] == [[0, 4], [4, 8]]
    for process, result in enumerate(two):
        assert result["devices"] == 4
        assert result["loss"] == pytest.approx(loss, rel=rtol)
        for name, leaf in params_of(folder / f"params_{process}.npz").items():
            np.testing.assert_allclose(leaf, params[name], rtol=rtol, atol=1e-7, err_msg=name)


def rows_of(folder):
    """The rows of the metrics without their values."""
    return [line.rsplit(",", 1)[0] for line in (folder / "metrics.csv").read_text().splitlines()]


@pytest.mark.slow
def test_two_processes_equal_one_device_and_compare_their_settings(tmp_path):
    two = run(["plain_toy", tmp_path / "two", 12, 2, 2, "by_rules"], 2, 2)
    (tmp_path / "one").mkdir()
    engine = plain_toy.make_engine()
    one = loop.train(engine, tmp_path / "one")
    params = named_leaves(loop.model_on_host(engine, one.state))
    assert_equals(two, tmp_path / "two", one.evaluation["loss"], params, rtol=1e-5)
    assert rows_of(tmp_path / "one") == rows_of(tmp_path / "two")
    for result in two:
        assert result["same"] == ""
        assert result["different"] == (
            "--seed=2 <ä>: got it in process 1, but --seed=1 in process 0; expected the same flags in every process"
        )


@pytest.mark.slow
def test_a_callback_of_the_first_process_stops_both_after_the_same_step(tmp_path):
    two = run(["plain_toy", tmp_path / "two", 12, 4, 1, "replicated", 9], 2, 2)
    assert [(result["steps"], result["stopped"]) for result in two] == 2 * [(9, "enough ä")]
    assert two[0]["loss"] == two[1]["loss"]
    assert saved_steps(tmp_path / "two" / "checkpoints") == [6, 9]


@pytest.mark.slow
def test_two_processes_equal_one_process_of_as_many_devices(tmp_path):
    mesh = (2, 2, "by_rules")
    (one,) = run(["sequence_toy", tmp_path / "one", 12, *mesh], 1, 4)
    two = run(["sequence_toy", tmp_path / "two", 12, *mesh], 2, 2)
    assert one["rows"] == [0, 8]
    params = params_of(tmp_path / "one" / "params_0.npz")
    assert_equals(two, tmp_path / "two", one["loss"], params, rtol=1e-6)
    assert rows_of(tmp_path / "one") == rows_of(tmp_path / "two")


@pytest.mark.slow
def test_a_run_of_two_processes_continues_as_one_and_back(tmp_path):
    mesh = (4, 1, "sharded")
    (whole,) = run(["plain_toy", tmp_path / "whole", 12, *mesh], 1, 4)
    run(["plain_toy", tmp_path / "parts", 4, *mesh], 2, 2)
    run(["plain_toy", tmp_path / "parts", 8, *mesh], 1, 4)
    parts = run(["plain_toy", tmp_path / "parts", 12, *mesh], 2, 2)
    assert parts[0]["loss"] == pytest.approx(whole["loss"], rel=1e-6)


@pytest.mark.slow
def test_preemption_of_one_process_stops_both_after_the_same_step(tmp_path):
    arguments = [sys.executable, "-m", "tests.helpers.plain_toy", f"--workdir={tmp_path / 'run'}"]
    arguments += ["--config.train.steps=1000000", "--config.train.log_every=20", "--config.mesh.data=4"]
    logs = [tmp_path / f"{process}.txt" for process in (0, 1)]
    running = [
        subprocess.Popen(arguments, cwd=ROOT, env=env, stdout=path.open("w"), stderr=subprocess.STDOUT)
        for path, env in zip(logs, environments(2, 2), strict=True)
    ]
    try:
        deadline = time.monotonic() + 120
        while "step 40/" not in logs[0].read_text():
            assert time.monotonic() < deadline, logs[0].read_text()
            assert all(process.poll() is None for process in running), [path.read_text() for path in logs]
            time.sleep(0.05)
        running[1].send_signal(signal.SIGTERM)
        codes = [process.wait(60) for process in running]
    finally:
        for process in running:
            process.kill()
    texts = [path.read_text() for path in logs]
    assert codes == [75, 75], texts
    steps = {text.split("after step ")[1].split(";")[0] for text in texts}
    assert len(steps) == 1
    assert max(saved_steps(tmp_path / "run" / "checkpoints")) == int(steps.pop())


@pytest.mark.slow
def test_processes_with_different_flags_are_refused_on_the_command_line(tmp_path):
    command = [sys.executable, "-m", "tests.helpers.plain_toy", f"--workdir={tmp_path / 'run'}"]
    running = [
        subprocess.Popen(
            [*command, *flags], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for flags, env in zip(([], ["--config.seed=1"]), environments(2, 1), strict=True)
    ]
    texts = [process.communicate(timeout=120)[1] for process in running]
    assert [process.returncode for process in running] == [2, 2], texts
    for text in texts:
        assert "--config.seed=1: got it in process 1, but --config.seed=0 in process 0" in text
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("process", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_process_that_is_left_alone_says_so_and_gives_up(process):
    program = (
        "from dlcore.training import distributed as d\n"
        "d.ANNOUNCE_SECONDS, d.GIVE_UP_SECONDS = 0.1, 1\n"
        "d.initialize('on')\n"
    )
    env = list(environments(2, 1))[process]
    finished = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60
    )
    assert finished.returncode == 1
    waiting = f"process {process}: waiting for all 2 processes at {env[COORDINATOR]}"
    assert f"{waiting}\nerror: {waiting}: some are missing after 1 s" in finished.stderr


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="--distributed: got 'maybe', expected auto, on or off"):
        distributed.initialize("maybe")


@pytest.mark.parametrize(
    ("mode", "variables", "joins"),
    [
        ("auto", {}, False),
        ("auto", {"SLURM_STEP_NUM_TASKS": "1"}, False),
        ("auto", {"SLURM_STEP_NUM_TASKS": "2"}, True),
        ("auto", {"OMPI_COMM_WORLD_SIZE": "4"}, True),
        ("off", {"SLURM_STEP_NUM_TASKS": "2"}, False),
        ("auto", {"SLURM_STEP_NUM_TASKS": "2", "SLURM_GTIDS": "1", "SLURM_PROCID": "1"}, True),
        ("on", {}, True),
    ],
)
def test_a_process_joins_if_the_mode_or_the_environment_asks_for_it(monkeypatch, mode, variables, joins):
    called = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *arguments, **_: called.append(arguments))
    for name in (COORDINATOR, "SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    distributed.initialize(mode)
    assert called == [(None, None, None, local_device_ids(variables))] * joins


JOINS = """
import jax
from jax._src import xla_bridge
from dlcore.training import distributed

distributed.initialize("on")
distributed.check_devices()
distributed.leave()
print(jax.process_count(), xla_bridge.CUDA_VISIBLE_DEVICES.value, flush=True)
"""


def test_a_job_of_slurm_whose_node_names_mean_nothing_joins_by_the_address_that_it_is_given():
    """One task on a node uses all of its GPUs; JAX alone gives it the first one."""
    slurm = {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "no-such-node[1-2]", "SLURM_NTASKS": "1"}
    slurm |= {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_GTIDS": "0"}
    environ = {**os.environ, **slurm, "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{free_port()}"}
    joined = subprocess.run(
        [sys.executable, "-c", JOINS], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120
    )
    assert joined.stdout == "1 all\n", joined.stderr


@pytest.mark.parametrize(("address", "host"), [("node1:12", "node1"), ("[::1]:12", "::1"), ("", "")])
def test_the_host_of_an_address(address, host):
    assert distributed._host(address) == host


def test_a_process_alone_has_nobody_to_tell():
    assert not distributed.tell(75, "why")
    distributed.fail(1, "why")
    distributed.leave()


@pytest.mark.parametrize(
    ("mode", "coordinator", "error", "message"),
    [
        (
            "on",
            None,
            ValueError("coordinator_address should be defined."),
            r"--distributed: got on, but JAX finds no job to join \(coordinator_address should be defined.\); start "
            "processes with srun or mpirun, or set DLCORE_COORDINATOR, ",
        ),
        (
            "on",
            None,
            KeyError("SLURM_STEP_NODELIST"),
            r"--distributed: got on, .* \('SLURM_STEP_NODELIST'\); start",
        ),
        (
            "auto",
            "localhost:1234",
            RuntimeError("UNKNOWN: Failed to add\nport"),
            r"DLCORE_COORDINATOR: got localhost:1234, but JAX cannot join the job \(UNKNOWN: Failed to add port\); "
            "expected a host that this process reaches, and a port that nothing else uses",
        ),
    ],
)
def test_a_job_that_cannot_be_joined_is_named(monkeypatch, mode, coordinator, error, message):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(jax.distributed, "initialize", fail)
    monkeypatch.delenv(COORDINATOR, raising=False)
    if coordinator:
        monkeypatch.setenv(COORDINATOR, coordinator)
        monkeypatch.setenv(NUM_PROCESSES, "2")
        monkeypatch.setenv(PROCESS_ID, "0")
    with pytest.raises(ValueError, match=f"^{message}"):
        distributed.initialize(mode)


@pytest.mark.parametrize("count", ["0", "-1", "-5", "two", "1.5", ""])
def test_a_number_of_devices_below_1_is_refused(monkeypatch, count):
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", count)
    with pytest.raises(ValueError, match=f"^JAX_NUM_CPU_DEVICES: got '{count}', expected a number >= 1"):
        distributed.check_devices()


@pytest.mark.parametrize("error", [RuntimeError("Unable\n to start"), AssertionError()])
def test_a_platform_without_devices_is_named(monkeypatch, error):
    def find_none():
        raise error

    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    monkeypatch.setattr(jax, "devices", find_none)
    why = " ".join(str(error).split()) or "the platform is not there"
    with pytest.raises(
        ValueError, match=f"^JAX finds no devices with JAX_PLATFORMS='cuda'.*: {why}; JAX_PLATFORMS=cpu"
    ):
        distributed.check_devices()


def test_a_user_without_a_home_folder_has_no_compilation_cache(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    updated = {}
    monkeypatch.setattr(jax.config, "update", updated.__setitem__)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(type(jax.config), "jax_compilation_cache_dir", None, raising=False)
    monkeypatch.setattr(distributed.Path, "home", no_home)
    distributed.enable_compilation_cache()
    assert updated == {}


def test_a_process_alone_has_the_same_settings_as_itself():
    distributed.check_same_settings({"--config.seed": "0"})


def test_the_compilation_cache_is_in_the_users_cache_folder_unless_jax_has_one(monkeypatch, tmp_path):
    updated = {}
    monkeypatch.setattr(jax.config, "update", updated.__setitem__)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    distributed.enable_compilation_cache()
    assert updated == {}  # the tests have a cache folder
    monkeypatch.setattr(type(jax.config), "jax_compilation_cache_dir", None, raising=False)
    distributed.enable_compilation_cache()
    assert updated["jax_compilation_cache_dir"] == str(tmp_path / "dlcore" / "jax")


@pytest.mark.parametrize(("index", "said"), [(0, "a line\n"), (1, "")])
def test_only_the_first_process_says_a_line(index, said, monkeypatch, capsys):
    monkeypatch.setattr(distributed.jax, "process_index", lambda: index)
    distributed.say_once("a line")
    assert capsys.readouterr().err == said
