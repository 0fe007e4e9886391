"""``launch/kubernetes``: what it writes, prints and starts, and what it refuses before anything is created."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dlcore.launch import kubernetes
from tests.helpers.fake_cloud import FakeCloud
from tests.helpers.kubernetes_schemas import check_job, check_jobset, expand
from tests.helpers.launchers import Launcher
from tests.helpers.paths import ROOT

NEEDED = ("--image=registry.example/dlcore:1", "--volume=runs")
NASTY = ("--x=a b'\";$(touch no)`no`$HOME\n\\", "y", "-3", "*", "", "--", "ü")


@pytest.fixture
def checked(monkeypatch):
    """The commands and numbers of devices that were checked."""
    calls = []
    monkeypatch.setattr(
        kubernetes, "check_command", lambda command, devices: calls.append((command, devices))
    )
    return calls


@pytest.fixture
def launch(tmp_path, monkeypatch, capfd, checked):
    monkeypatch.chdir(tmp_path)
    return Launcher(kubernetes, monkeypatch, capfd)


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    return FakeCloud(tmp_path / "cloud", monkeypatch)


def container(manifest):
    job = manifest["spec"]["replicatedJobs"][0]["template"]["spec"]
    return job["template"]["spec"]["containers"][0]


def test_a_dry_run_prints_the_manifest_alone(launch, checked):
    flags = ("--nodes=2", "--gpus_per_node=8", "--gpu=nvidia-l4", "--queue=research", "--namespace=team")
    finished = launch(*flags, *NEEDED, "--dry_run", "experiments.digits", "--run=first", *NASTY)
    assert (finished.exit_code, finished.stderr) == (0, "")
    manifest = yaml.safe_load(finished.stdout)
    check_jobset(manifest)
    check_job(manifest, "1.37")
    assert manifest["metadata"]["name"] == "digits-first"
    command = [expand(argument) for argument in container(manifest)["command"]]
    assert command == ["python", "-m", "experiments.digits", "--run=first", *NASTY]
    assert [(command.arguments, devices) for command, devices in checked] == [(("--run=first", *NASTY), 16)]
    assert not Path("runs").exists()


def test_without_yes_the_manifest_is_written_and_the_commands_are_printed(launch, cloud):
    finished = launch(*NEEDED, "--nodes=2", "--namespace=team", "--", "experiments.digits", "--run=first")
    assert finished.exit_code == 0
    assert finished.stderr == "nothing was started; the command above or --yes starts the job\n"
    file = Path("runs/digits/first/jobset.yaml").absolute()
    check_jobset(yaml.safe_load(file.read_text()))
    kubectl = "kubectl --namespace=team"
    cancel = f"{kubectl} delete jobset digits-first --cascade=foreground --ignore-not-found"
    assert finished.stdout.splitlines() == [
        f"manifest: {file}",
        f"start: {kubectl} create --filename={file}",
        f"state: {kubectl} get jobset digits-first",
        f"follow: {kubectl} logs --follow --prefix --max-log-requests=2 "
        "--selector=jobset.sigs.k8s.io/jobset-name=digits-first",
        f"cancel: {cancel}",
        f"resume: {cancel} && {kubectl} create --filename={file}",
    ]
    assert cloud.kubectl_calls() == []


def test_yes_lets_the_cluster_check_the_manifest_and_starts_it(launch, cloud, tmp_path, monkeypatch):
    folder = tmp_path / "a folder, 'quoted' $(touch no)"
    folder.mkdir()
    monkeypatch.chdir(folder)
    finished = launch(*NEEDED, "--yes", "json", "--run=first")
    assert (finished.exit_code, finished.stderr) == (0, "")
    create = ["--namespace=default", "create", f"--filename={folder}/runs/json/first/jobset.yaml"]
    assert cloud.kubectl_calls() == [*create, "--dry-run=server", *create]
    printed = finished.stdout.splitlines()[1].removeprefix("start: ")
    assert shlex.split(printed) == ["kubectl", *create]


def test_a_cluster_that_refuses_the_manifest_ends_the_launcher(launch, cloud, monkeypatch):
    monkeypatch.setenv("KUBECTL_EXIT", "1")
    finished = launch(*NEEDED, "--yes", "experiments.digits", "--run=first")
    assert finished.exit_code == 1
    assert finished.stderr.startswith("error: kubectl did not start the job")
    assert cloud.kubectl_calls().count("create") == 1


def test_a_tpu_slice_says_how_many_nodes_and_chips_there_are(launch, checked):
    finished = launch("--tpu=v5e:4x4", *NEEDED, "--dry_run", "experiments.digits", "--run=first")
    manifest = yaml.safe_load(finished.stdout)
    check_jobset(manifest)
    assert manifest["spec"]["replicatedJobs"][0]["template"]["spec"]["completions"] == 4
    assert container(manifest)["resources"] == {"limits": {"google.com/tpu": 4}}
    assert checked[0][1] == 16


def test_a_run_without_a_name_has_the_date_on_the_cluster_too(launch):
    finished = launch(*NEEDED, "experiments.digits")
    (file,) = Path("runs/digits").glob("*/jobset.yaml")
    assert container(yaml.safe_load(file.read_text()))["command"][-1] == f"--run={file.parent.name}"
    assert finished.exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["experiments.digts"], "experiment: got 'experiments.digts', expected a module"),
        ([], "experiment: got none, expected a module"),
        (["--nodes=0", "experiments.digits"], "--nodes: got 0, expected a number >= 1"),
        (["--nodes=two", "experiments.digits"], "flag --nodes=two: "),
        (["--gpus_per_node=-1", "experiments.digits"], "--gpus_per_node: got -1, expected a number >= 0"),
        (["--tpu=v5e:3x3", "experiments.digits"], "--tpu: got 'v5e:3x3', expected v5e:1x1"),
        (["--tpu=v5e:4x4", "--nodes=3", "experiments.digits"], "--nodes: got 3, expected 4, the hosts of"),
        (["--tpu=v5e:4x4", "--gpus_per_node=8", "experiments.digits"], "--gpus_per_node: got 8 with --tpu"),
        (["--image=a b", "experiments.digits"], "--image: got 'a b', expected an image"),
        (["--volume=A_B", "experiments.digits"], "--volume: got 'A_B', expected HOST:/PATH"),
        (["--name=Digits", "experiments.digits"], "--name: got 'Digits', expected at most 47 of a-z"),
        (["--name=" + "a" * 48, "experiments.digits"], "--name: got "),
        (["--queue=a b", "experiments.digits"], "--queue: got 'a b', expected"),
        (["--namespace=", "experiments.digits"], "--namespace: got '', expected"),
        (["--max_restarts=-1", "experiments.digits"], "--max_restarts: got -1, expected a number >= 0"),
        (["--dry_run", "--yes", "experiments.digits"], "--dry_run: got --yes too"),
        (["--yess", "experiments.digits"], "--yess: no such flag, see --help; did you mean 'yes'?"),
        (["experiments.digits", "--workdir=/tmp/x"], "--workdir: got '/tmp/x', expected a folder in runs/"),
        (["experiments.digits", "--run=a/b"], "--run: got 'a/b', expected letters"),
    ],
)
def test_a_bad_launch_is_one_line_and_creates_nothing(launch, cloud, arguments, message):
    yes = [] if "--dry_run" in arguments else ["--yes"]
    finished = launch(*NEEDED, *yes, *arguments)
    assert finished.exit_code == 2
    assert finished.stdout == ""
    assert finished.stderr.startswith(f"error: {message}")
    assert finished.stderr.count("\n") == 1
    assert not Path("runs").exists()
    assert cloud.kubectl_calls() == []


def test_kubectl_that_is_missing_is_named(launch, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    finished = launch(*NEEDED, "--yes", "experiments.digits", "--run=first")
    assert finished.exit_code == 2
    assert finished.stderr.startswith("error: --yes: got no kubectl on the PATH, expected it to be installed")


def test_what_the_experiment_refuses_is_refused(launch, cloud, monkeypatch):
    def refuse(command, devices):
        raise ValueError(f"--config.mesh.data: got 3, expected a divisor of {devices}")

    monkeypatch.setattr(kubernetes, "check_command", refuse)
    finished = launch("--nodes=4", *NEEDED, "--yes", "experiments.digits", "--run=first")
    assert (finished.exit_code, finished.stdout) == (2, "")
    assert finished.stderr == "error: --config.mesh.data: got 3, expected a divisor of 4\n"
    assert not Path("runs").exists()
    assert cloud.kubectl_calls() == []


@pytest.mark.slow
def test_a_mesh_that_does_not_fit_the_nodes_is_refused():
    launcher = [sys.executable, "-m", "dlcore.launch.kubernetes", "--nodes=3", *NEEDED, "--dry_run"]
    experiment = ["experiments.digits", "--run=first", "--config.mesh.data=2"]
    finished = subprocess.run([*launcher, *experiment], cwd=ROOT, capture_output=True, text=True)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr.startswith("error: --config.mesh.data: got 2 ")
    assert finished.stderr.count("\n") == 1


def test_the_check_can_be_left_out(launch, checked):
    assert launch("--nocheck", *NEEDED, "--dry_run", "experiments.digits").exit_code == 0
    assert checked == []


def test_the_script_starts_without_jax_and_tells_its_flags():
    code = "import sys; import dlcore.launch.kubernetes, dlcore.launch.tpu; print('jax' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "False\n"
    )
    shown = [sys.executable, "-m", "dlcore.launch.kubernetes", "--help"]
    assert "--gpus_per_node" in subprocess.run(shown, capture_output=True, text=True, check=True).stdout
