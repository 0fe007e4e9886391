"""``launch/tpu``: what it prints and calls, and what it refuses before anything is created."""

import shlex

import pytest

from dlcore.launch import tpu
from tests.helpers.fake_cloud import FakeCloud
from tests.helpers.launchers import Launcher

NASTY = ("--x=a b'\";$(touch no)`no`$HOME\n\\", "y", "-3", "*", "", "--", "ü  2")
NEEDED = ("--tpu=v5e:2x2", "--zone=us-west4-a", "--image=dlcore")


@pytest.fixture
def checked(monkeypatch):
    """The commands and numbers of devices that were checked."""
    calls = []
    monkeypatch.setattr(tpu, "check_command", lambda command, devices: calls.append((command, devices)))
    return calls


@pytest.fixture
def launch(tmp_path, monkeypatch, capfd, checked):
    monkeypatch.setattr("dlcore.launch.supervision.time.sleep", lambda _: None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.py").touch()  # the module that the container has is `FakeCloud.job`
    monkeypatch.syspath_prepend(tmp_path)
    return Launcher(tpu, monkeypatch, capfd)


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    return FakeCloud(tmp_path / "cloud", monkeypatch)


def test_without_yes_the_commands_are_printed_and_nothing_is_created(launch, cloud, checked):
    finished = launch(*NEEDED, "--volume=10.0.0.2:/runs", "experiments.digits", "--run=first", *NASTY)
    assert finished.exit_code == 0
    assert finished.stderr.startswith("nothing was created; ")
    steps = ["create: ", "state: ", "start: ", "follow: ", "resume: ", "cancel: "]
    assert [step for step in steps if f"\n{step}gcloud" in f"\n{finished.stdout}"] == steps
    assert cloud.gcloud_calls() == []
    assert [(command.arguments, devices) for command, devices in checked] == [(("--run=first", *NASTY), 4)]


def test_the_printed_commands_can_be_pasted(launch, cloud):
    """A shell splits the printed command to create and to start into the arguments that the launcher itself calls."""
    volume = cloud.job([0])
    cloud.play({"states": ["ACTIVE"]})
    flags = (*NEEDED, f"--volume={volume}")
    printed = launch(*flags, "job", "--run=first", *NASTY).stdout
    assert launch(*flags, "--yes", "job", "--run=first", *NASTY).exit_code == 0
    pasted = [call[1:] for call in split_commands(printed)]
    called = [["compute", "tpus", *call] for call in cloud.gcloud_calls()]
    assert all(call in pasted for call in called)


def split_commands(printed):
    """The words of each command that a launcher printed after its name."""
    words = shlex.split(printed)
    starts = [index for index, word in enumerate(words) if word == "gcloud"]
    ends = [*starts[1:], len(words)]
    return [
        [word for word in words[start:end] if not (word.endswith(":") or word == "&&")]
        for start, end in zip(starts, ends, strict=True)
    ]


def test_yes_runs_the_job_with_every_argument_as_it_is_and_deletes_the_slice(launch, cloud):
    volume = cloud.job([75], [0])
    cloud.play({"states": ["WAITING_FOR_RESOURCES", "ACTIVE"]})
    finished = launch(*NEEDED, "--spot", f"--volume={volume}", "--yes", "job", "--run=first", *NASTY)
    assert finished.exit_code == 0
    assert cloud.starts() == [["--run=first", *NASTY]] * 2
    assert "worker 0 start 2\n" in finished.stdout
    verbs = [call[1] for call in cloud.gcloud_calls() if call[1] != "describe"]
    assert (verbs[0], verbs[-1]) == ("create", "delete")


def test_keep_leaves_the_slice(launch, cloud):
    volume = cloud.job([1])
    cloud.play({"states": ["ACTIVE"]})
    finished = launch(*NEEDED, "--keep", f"--volume={volume}", "--yes", "job", "--run=first")
    assert finished.exit_code == 1
    assert "delete" not in [call[1] for call in cloud.gcloud_calls()]
    assert finished.stderr.splitlines()[-1].startswith("job-first: the slice costs until it is deleted")


def test_several_workers_join_one_job(launch, cloud):
    volume = cloud.job([0] * 2)
    cloud.play({"states": ["ACTIVE"]}, workers=2)
    flags = ("--tpu=v4:2x2x2", "--zone=us-west4-a", "--image=dlcore", f"--volume={volume}", "--yes")
    assert launch(*flags, "job", "--run=first").exit_code == 0
    assert [cloud.starts(worker) for worker in range(2)] == [[["--distributed=on", "--run=first"]]] * 2


def test_an_error_of_gcloud_is_one_line_and_says_what_may_cost(launch, cloud):
    finished = launch(*NEEDED, "--volume=/mnt/runs", "--yes", "experiments.digits", "--run=first")
    assert finished.exit_code == 1
    last = finished.stderr.splitlines()[-1]
    assert last.startswith(
        "error: digits-first: gcloud did not create it, see its message above; what there is costs"
    )


def test_ctrl_c_leaves_the_job(launch, cloud, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(tpu.Supervisor, "run", interrupted)
    finished = launch(*NEEDED, "--volume=/mnt/runs", "--yes", "experiments.digits", "--run=first")
    assert finished.exit_code == 130
    assert finished.stderr.startswith(
        "digits-first: the job goes on; the same command with --run=first follows it"
    )
    assert cloud.gcloud_calls() == []


BAD = [
    (["--tpu=v5e:3x3"], "--tpu: got 'v5e:3x3', expected v5e:1x1"),
    (["--tpu="], "--tpu: got '', expected v4, v5e"),
    (["--zone="], "--zone: got '', expected one such as us-west4-a"),
    (["--zone=us-west4-a;b"], "--zone: got 'us-west4-a;b', expected one such as"),
    (["--project=My"], "--project: got 'My', expected one such as my-project"),
    (["--runtime_version=a b"], "--runtime_version: got 'a b', expected one such as v2-alpha-tpuv5-lite"),
    (["--image=a b"], "--image: got 'a b', expected an image"),
    (["--volume=claim"], "--volume: got 'claim', expected HOST:/PATH of an NFS share, or /PATH"),
    (["--name=a_b"], "--name: got 'a_b', expected at most 63"),
    (["--max_restarts=-1"], "--max_restarts: got -1, expected"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_a_bad_launch_is_one_line_and_creates_nothing(launch, cloud, arguments, message):
    finished = launch(*NEEDED, "--volume=/mnt/runs", "--yes", *arguments, "experiments.digits", "--run=first")
    assert (finished.exit_code, finished.stdout) == (2, "")
    assert finished.stderr.startswith(f"error: {message}")
    assert finished.stderr.count("\n") == 1
    assert cloud.gcloud_calls() == []


@pytest.mark.parametrize("missing", ["--tpu", "--zone", "--image", "--volume"])
def test_a_flag_that_is_needed_is_named(launch, cloud, missing):
    flags = [flag for flag in (*NEEDED, "--volume=/mnt/runs") if not flag.startswith(missing)]
    finished = launch(*flags, "experiments.digits", "--run=first")
    assert (finished.exit_code, finished.stdout) == (2, "")
    assert finished.stderr.startswith(f"error: {missing}: got none, ")


def test_gcloud_that_is_missing_is_named(launch, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    finished = launch(*NEEDED, "--volume=/mnt/runs", "--yes", "experiments.digits")
    assert finished.exit_code == 2
    assert finished.stderr.startswith("error: --yes: got no gcloud on the PATH, expected it to be installed")


def test_what_the_experiment_refuses_is_refused(launch, cloud, monkeypatch):
    def refuse(command, devices):
        raise ValueError(f"--config.mesh.data: got 3, expected a divisor of {devices}")

    monkeypatch.setattr(tpu, "check_command", refuse)
    finished = launch(*NEEDED, "--volume=/mnt/runs", "--yes", "experiments.digits")
    assert (finished.exit_code, finished.stdout) == (2, "")
    assert finished.stderr == "error: --config.mesh.data: got 3, expected a divisor of 4\n"
    assert cloud.gcloud_calls() == []
