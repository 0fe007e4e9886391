"""A run that is disturbed at any moment and started again ends with the same bits as a run that was not.

Some tests kill a few times; ``python -m tests.kills`` does it many times. The others take a run's log, its terminal,
its time or its folder away.
"""

import contextlib
import math
import shutil
import signal
import subprocess
import sys
import time

import pytest

from dlcore.training.faults.signals import PREEMPTING
from dlcore.training.telemetry.metrics_log import read_metrics
from tests.helpers.paths import ROOT
from tests.kills import kill, log_of, results_of, start

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("signal_number", "experiment"), [(signal.SIGKILL, "bigru"), (signal.SIGTERM, "lstm")]
)
def test_a_killed_run_ends_with_the_same_bits(signal_number, experiment):
    assert sum(kill(1, signal_number, seed=5, experiments=[experiment]).values()) == 1


def test_a_killed_run_with_an_optimizer_of_its_own_on_eight_devices_ends_with_the_same_bits(tmp_path):
    """Lion on 4 x 2 devices: the encoder is frozen, the middle layer learns at a quarter of the rate."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start("own_optimizer", whole).wait() == 0, log_of(whole)
    process = start("own_optimizer", killed)
    while "\nstep 14/" not in log_of(killed) and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert start("own_optimizer", killed).wait() == 0, log_of(killed)
    assert "going on from step" in log_of(killed)
    results = results_of(whole)
    assert_equal(killed, results)
    assert not any(results["params/encoder/bias"])  # it begins at 0, as that of the middle layer
    assert any(results["params/middle/bias"])

    def rate(step):
        """A warm-up of 4 steps to 0.004, then half a cosine down to a tenth of it; of the update that leads to step."""
        count = step - 1
        course = 0.1 + 0.9 * (1 + math.cos(math.pi * (count - 4) / 36)) / 2
        return 4e-3 * (count / 4 if count < 4 else course)

    rows = {(step, name): value for step, name, value in read_metrics(killed / "metrics.csv")}
    for step in range(2, 41, 2):
        assert rows[step, "train/learning_rate/.*"] == pytest.approx(rate(step), rel=1e-5)
        assert rows[step, "train/learning_rate/^middle/"] == pytest.approx(rate(step) / 4, rel=1e-5)
    assert (40, "train/learning_rate") not in rows


STEPS, LONG = 600, 10**9


def command(folder, *flags, steps=STEPS):
    return [
        *(
            sys.executable,
            "-m",
            "tests.helpers.plain_toy",
            f"--workdir={folder}",
            f"--config.train.steps={steps}",
        ),
        *(
            "--config.train.log_every=10",
            "--config.checkpoint.every=100",
            "--config.train.eval_every=300",
            "--config.log.figures=false",
            *flags,
        ),
    ]


@contextlib.contextmanager
def started(arguments, **options):
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    with subprocess.Popen(arguments, cwd=ROOT, text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(stream, text):
    for line in stream:
        if text in line:
            return
    raise AssertionError(f"no line with {text}")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    subprocess.run(command(folder), cwd=ROOT, check=True, capture_output=True)
    return results_of(folder)


def assert_equal(folder, undisturbed):
    assert [name for name, value in results_of(folder).items() if value != undisturbed[name]] == []


def test_a_run_ends_with_the_same_bits_if_nobody_reads_its_log(tmp_path, undisturbed):
    with started(command(tmp_path / "run")) as process:
        read_until(process.stderr, "step 20/")
        process.stderr.close()
        assert "result: {" in process.stdout.read()
        assert process.wait(60) == 0
    assert_equal(tmp_path / "run", undisturbed)


def test_a_run_ends_with_the_same_bits_if_the_disk_of_its_log_is_full(tmp_path, undisturbed):
    with open("/dev/full", "w") as full, started(command(tmp_path / "run"), stderr=full) as process:
        assert "result: {" in process.communicate(timeout=120)[0]
        assert process.returncode == 0
    assert_equal(tmp_path / "run", undisturbed)


def test_a_run_ends_with_the_same_bits_without_stderr(tmp_path, undisturbed):
    with started(["sh", "-c", 'exec "$0" "$@" 2>&-', *command(tmp_path / "run")], stderr=None) as process:
        assert "result: {" in process.communicate(timeout=120)[0]
        assert process.returncode == 0
    assert_equal(tmp_path / "run", undisturbed)


@pytest.mark.parametrize("signal_number", PREEMPTING, ids=lambda number: number.name)
def test_a_run_ends_with_the_same_bits_if_a_signal_takes_its_terminal_or_its_time(
    tmp_path, undisturbed, signal_number
):
    with started(command(tmp_path / "run")) as process:
        read_until(process.stderr, "step 20/")
        process.stderr.close()  # the terminal takes no more text either
        process.send_signal(signal_number)
        assert process.wait(60) == 75
    assert not (tmp_path / "run" / "result.json").exists()
    subprocess.run(command(tmp_path / "run"), cwd=ROOT, check=True, capture_output=True)
    assert_equal(tmp_path / "run", undisturbed)


def test_a_run_under_nohup_ends_with_the_same_bits(tmp_path, undisturbed):
    with started(["sh", "-c", 'trap "" HUP; exec "$0" "$@"', *command(tmp_path / "run")]) as process:
        read_until(process.stderr, "step 20/")
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=120)
        assert process.returncode == 0
    assert_equal(tmp_path / "run", undisturbed)


def test_a_run_that_was_suspended_for_longer_than_a_call_may_take_ends_with_the_same_bits(
    tmp_path, undisturbed
):
    with started(command(tmp_path / "run", "--config.train.hang_timeout=3")) as process:
        read_until(process.stderr, "step 20/")
        process.send_signal(signal.SIGSTOP)
        time.sleep(5)
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=120)
        assert process.returncode == 0
    results = results_of(tmp_path / "run")
    assert [name for name in results if results[name] != undisturbed[name]] == ["config.json"]


SLOW_COMPILER = """
import time
from dlcore.training.engine import Engine
from tests.helpers import plain_toy

compile_call = Engine._compile
Engine._compile = lambda *arguments: (time.sleep(6), compile_call(*arguments))[1]
import dlcore as dl
dl.run(plain_toy.Config, plain_toy.experiment)
"""


def test_a_compilation_may_take_longer_than_a_call(tmp_path):
    flags = f"--workdir={tmp_path / 'run'}", "--config.train.hang_timeout=3"
    with started([sys.executable, "-c", SLOW_COMPILER, *flags]) as process:
        output, errors = process.communicate(timeout=120)
    assert (process.returncode, output.count("result: {")) == (0, 1), errors


LOSSES = {
    "deleted": (lambda run: shutil.rmtree(run), "metrics.csv"),
    "renamed": (lambda run: run.rename(run.with_name("elsewhere")), "metrics.csv"),
    "its table deleted": (lambda run: (run / "metrics.csv").unlink(), "metrics.csv"),
    "its lock deleted": (lambda run: (run / ".lock").unlink(), ".lock"),
}


@pytest.mark.parametrize(("lose", "named"), LOSSES.values(), ids=LOSSES)
def test_a_run_whose_folder_disappears_ends_with_one_line(tmp_path, lose, named):
    folder = tmp_path / "run"
    with started(command(folder, steps=LONG)) as process:
        read_until(process.stderr, "step 20/")
        lose(folder)
        errors = process.stderr.read().splitlines()
        assert process.wait(20) == 1
    others = [line for line in errors if not line.startswith(("step ", "compiling "))]
    assert others == [
        f"error: {folder}/{named}: deleted, moved or replaced while the run trained; the run ends, since what it "
        "writes would not be found"
    ]
    if named == "metrics.csv" and not folder.exists():
        assert len(errors) < 20  # a call here takes less than a millisecond, a line comes after ten of them
    assert not (folder / "result.json").exists()


def test_a_folder_that_disappears_is_not_made_again(tmp_path):
    with started(command(tmp_path / "run", steps=LONG)) as process:
        read_until(process.stderr, "step 20/")
        shutil.rmtree(tmp_path / "run")
        process.stderr.read()
        assert process.wait(20) == 1
    assert not (tmp_path / "run").exists()


def test_a_result_that_stdout_does_not_take_is_in_the_error(tmp_path):
    with open("/dev/full", "w") as full, started(command(tmp_path / "run", steps=20), stdout=full) as process:
        errors = process.stderr.read().splitlines()
        assert process.wait(60) == 1
    assert errors[-1].startswith(
        "error: stdout: got [Errno 28] No space left on device, expected a stream that takes"
    )
    assert '"steps": 20' in errors[-1]
    assert (tmp_path / "run" / "result.json").exists()
