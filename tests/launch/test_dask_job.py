"""Many runs on Kubernetes: the manifests have the form of the APIs, and flags and the file arrive byte for byte."""

import shlex
from pathlib import Path

import pytest
import yaml

from dlcore.launch import dask_job, kubernetes
from dlcore.launch.dask_job import read_file
from dlcore.launch.series import job as job_module
from tests.helpers.kubernetes_schemas import check_dask_job, expand
from tests.helpers.launchers import Launcher
from tests.helpers.paths import ROOT

pytest.importorskip("distributed")

GOLDEN = Path(__file__).parent / "golden" / "dask.yaml"
RUNS = '--config.seed=1\n# ü: "y", \'$(HOME)\'\n{"config.seed": 2, "config.init_from": "a $$ b"}\n--config.seed=3\t\n'
FLAGS = (
    "--workers=20",
    "--runs=runs.txt",
    "--gpus_per_node=1",
    "--image=registry.example/dlcore:1",
    "--volume=runs",
)


@pytest.fixture
def launch(tmp_path, monkeypatch, capfd):
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    (tmp_path / "runs.txt").write_text(RUNS)
    monkeypatch.chdir(tmp_path)
    launch = Launcher(kubernetes, monkeypatch, capfd)
    launch.checked = []
    check = lambda command, devices: launch.checked.append((command.arguments, devices))
    monkeypatch.setattr(job_module, "check_command", check)
    return launch


def manifests(text):
    return list(yaml.safe_load_all(text))


def pods(daskjob):
    spec = daskjob["spec"]
    cluster = spec["cluster"]["spec"]
    return spec["job"]["spec"], cluster["scheduler"]["spec"], cluster["worker"]["spec"]


def test_the_manifests_are_those_that_were_reviewed_and_have_the_form_of_the_apis(launch):
    flags = (*FLAGS, "--isolate", "--namespace=team", "--gpu=nvidia-l4", "--cpus_per_node=8")
    finished = launch(*flags, "--dry_run", "experiments.adding", "--run=many", "--config.length=100")
    assert (finished.exit_code, finished.stderr) == (0, "")
    assert finished.stdout == GOLDEN.read_text()
    file, daskjob = manifests(finished.stdout)
    check_dask_job(file, daskjob, "1.37")
    assert launch.checked == [(("--config.length=100", "--config.seed=1"), 1)]


def test_flags_and_the_file_arrive_byte_for_byte(launch, tmp_path):
    given = ["--preset=paper", "--config.init_from=a b'\";$(touch no)`no`$HOME\n\\ü"]
    finished = launch(*FLAGS, "--dry_run", "experiments.temporal_order", "--run=many", *given)
    assert finished.exit_code == 0, finished.stderr
    file, daskjob = manifests(finished.stdout)
    assert file["data"] == {"runs.txt": RUNS}
    client, scheduler, worker = (
        [expand(word) for word in pod["containers"][0]["command"]] for pod in pods(daskjob)
    )
    name = daskjob["metadata"]["name"]
    address = f"--scheduler=tcp://{name}-scheduler.default:8786"
    assert client == [
        *("python", "-m", "dlcore.launch.local", address, "--runs=/dlcore/file/runs.txt", "--"),
        *("experiments.temporal_order", "--run=many", *given),
    ]
    assert scheduler == ["python", "-m", "distributed.cli.dask_scheduler"]
    assert worker == ["python", "-m", "dlcore.launch.series.worker", address]


def test_client_and_workers_share_the_volume_and_workers_have_the_devices(launch):
    finished = launch(*FLAGS, "--dry_run", "experiments.adding", "--run=many")
    _, daskjob = manifests(finished.stdout)
    client, scheduler, worker = pods(daskjob)
    mounts = [
        {m["name"]: m["mountPath"] for m in pod["containers"][0].get("volumeMounts", ())}
        for pod in (client, worker)
    ]
    assert mounts[0] == {"runs": "/dlcore/runs", "file": "/dlcore/file"}
    assert mounts[1]["runs"] == "/dlcore/runs"
    assert worker["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "1"}
    for pod in (client, scheduler):
        assert "resources" not in pod["containers"][0]
    assert daskjob["spec"]["cluster"]["spec"]["worker"]["replicas"] == 20
    assert client["restartPolicy"] == "Never"
    assert not {"restartPolicy"} & {*scheduler, *worker}  # they are pods of Deployments


def test_the_commands_of_its_life_are_printed(launch, tmp_path):
    finished = launch(*FLAGS, "--nocheck", "experiments.adding", "--run=many")
    assert finished.exit_code == 0, finished.stderr
    assert launch.checked == []
    file = tmp_path / "runs" / "adding" / "many" / "daskjob.yaml"
    assert len(manifests(file.read_text())) == 2
    kubectl, name = "kubectl --namespace=default", "adding-many"
    cancel = f"{kubectl} delete --filename={shlex.quote(str(file))} --cascade=foreground --ignore-not-found"
    assert finished.stdout.splitlines() == [
        f"manifest: {file}",
        f"start: {kubectl} create --filename={file}",
        f"state: {kubectl} get daskjob {name}",
        f"follow: {kubectl} logs --follow {name}-runner",
        f"cancel: {cancel}",
        f"resume: {cancel} && {kubectl} create --filename={file}",
    ]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--workers=0"], "--workers: got 0, expected a number >= 1"),
        (["--nodes=2"], "--nodes: got 2 with --runs, expected 1: a worker has one node"),
        (["--queue=a"], "--queue: got it with --runs, expected none"),
        (["--max_restarts=3"], "--max_restarts: got it with --runs, expected none"),
        (["--runs=none.txt"], "none.txt: No such file or directory"),
        (["--name=" + 54 * "a"], "--name: got '" + 54 * "a" + "', expected at most 53 of"),
    ],
)
def test_mistakes_are_refused_before_anything_is_written(launch, flags, message):
    finished = launch(*FLAGS, *flags, "experiments.adding", "--run=many")
    assert finished.exit_code == 2
    assert finished.stderr.startswith(f"error: {message}"), finished.stderr
    assert not Path("runs").exists()


def test_results_in_no_folder_and_workers_without_runs_are_refused(launch):
    bucket = "--config.checkpoint.folder=gs://bucket/many"
    finished = launch(*FLAGS[:-1], "experiments.adding", bucket)
    assert finished.stderr.startswith("error: --volume: got none with --runs, expected HOST:/PATH")
    finished = launch(FLAGS[0], *FLAGS[2:], "experiments.adding")
    assert finished.stderr.startswith("error: --workers: got it without --runs")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff", "--runs: .*file: .*, expected UTF-8"),
        (b"-" * 2**20, "--runs: .*file has 1048576 bytes, expected at"),
    ],
)
def test_a_file_that_no_manifest_keeps_is_refused(tmp_path, data, message):
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(ValueError, match=f"^{message}"):
        read_file(tmp_path / "file")
    assert dask_job.MOST_BYTES < 2**20
