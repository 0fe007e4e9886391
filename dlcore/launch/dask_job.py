"""The manifest of many runs on Kubernetes: a DaskJob of Dask's operator, with client, scheduler and workers as pods."""

from dataclasses import dataclass, replace
from pathlib import Path

from dlcore.launch.image import HOME
from dlcore.launch.jobset import Job, Manifest, Nodes, pod_spec, to_yaml
from dlcore.launch.series.clusters import SCHEDULER_SETTINGS

PORTS = {"tcp-comm": 8786, "http-dashboard": 8787}  # those of the operator
FILE = "runs.txt"
FOLDER = f"{HOME}/file"
MOST_BYTES = 2**20 - 2**10  # of a ConfigMap
LONGEST_NAME = 53  # of a cluster of the operator


@dataclass(frozen=True)
class DaskJob:
    """Many runs for Kubernetes.

    Attributes:
        job: what each worker is: its image, the nodes on which it runs, and the volume that all pods share; the
            command is that of the experiment with the flags that all runs have.
        workers: the number of workers.
        file: the text of the file of runs.
        isolate: True if each run has a process of its own.
    """

    job: Job
    workers: int
    file: str
    isolate: bool


def read_file(path: Path) -> str:
    """The text of a file of runs, as a ConfigMap keeps it.

    Args:
        path: the file.

    Raises:
        ValueError: it is no UTF-8, or too large.
    """
    data = path.read_bytes()
    if len(data) > MOST_BYTES:
        raise ValueError(f"--runs: {path} has {len(data)} bytes, expected at most {MOST_BYTES}; split it")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"--runs: {path}: {error}, expected UTF-8") from None


def dask_manifests(many: DaskJob) -> str:
    """The manifests of the job and of its file of runs, as YAML.

    The client is started again by nobody: a job that is made again with the same folder goes on.

    Args:
        many: the job.
    """
    metadata = {"name": many.job.name, "namespace": many.job.namespace}
    file = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {FILE: many.file}}
    job = {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskJob",
        "metadata": metadata,
        "spec": {"job": {"spec": _client(many)}, "cluster": {"spec": _cluster(many)}},
    }
    return f"{to_yaml(file)}---\n{to_yaml(job)}"


def _client(many: DaskJob) -> Manifest:
    launcher = ["python", "-m", "dlcore.launch.local", _scheduler_flag(many.job), f"--runs={FOLDER}/{FILE}"]
    experiment = many.job.command[2:]  # without python -m
    command = [*launcher, *(["--isolate"] if many.isolate else []), "--", *experiment]
    spec = pod_spec(replace(many.job, command=command, nodes=Nodes(1)))
    volume = {"name": "file", "configMap": {"name": many.job.name}}
    mount = {"name": "file", "mountPath": FOLDER, "readOnly": True}
    (container,) = spec["containers"]
    container = {**container, "volumeMounts": [*container["volumeMounts"], mount]}
    return {**spec, "containers": [container], "volumes": [*spec["volumes"], volume]}


def _scheduler_flag(job: Job) -> str:
    return f"--scheduler=tcp://{job.name}-scheduler.{job.namespace}:{PORTS['tcp-comm']}"


def _cluster(many: DaskJob) -> Manifest:
    worker = ["python", "-m", "dlcore.launch.series.worker", _scheduler_flag(many.job)]
    return {
        "worker": {
            "replicas": many.workers,
            "spec": _kept_alive(replace(many.job, command=worker), "worker"),
        },
        "scheduler": {"spec": _scheduler(many.job), "service": _service(many.job.name)},
    }


def _kept_alive(job: Job, name: str) -> Manifest:
    """A pod of a Deployment, which starts it again whenever it ends."""
    spec = pod_spec(job)
    del spec["restartPolicy"]
    (container,) = spec["containers"]
    if "resources" in container:  # the operator's schema takes quantities as texts alone
        texts = {
            kind: {name: str(quantity) for name, quantity in quantities.items()}
            for kind, quantities in container["resources"].items()
        }
        container = {**container, "resources": texts}
    return {**spec, "containers": [{**container, "name": name}]}


def _scheduler(job: Job) -> Manifest:
    command = ["python", "-m", "distributed.cli.dask_scheduler"]
    spec = _kept_alive(replace(job, command=command, nodes=Nodes(1), volume=None), "scheduler")
    (container,) = spec["containers"]
    container = {
        **container,
        "env": [
            {"name": f"DASK_DISTRIBUTED__SCHEDULER__{name.upper().replace('-', '_')}", "value": str(value)}
            for name, value in SCHEDULER_SETTINGS.items()
        ],
        "ports": [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in PORTS.items()],
        "readinessProbe": {"httpGet": {"path": "/health", "port": "http-dashboard"}},
    }
    return {**spec, "containers": [container]}


def _service(name: str) -> Manifest:
    return {
        "type": "ClusterIP",
        "selector": {"dask.org/cluster-name": name, "dask.org/component": "scheduler"},
        "ports": [
            {"name": port, "protocol": "TCP", "port": number, "targetPort": port}
            for port, number in PORTS.items()
        ],
    }
