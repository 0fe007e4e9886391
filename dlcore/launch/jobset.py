"""The manifest of a Kubernetes JobSet that runs one experiment on several nodes."""

from dataclasses import dataclass, field
from typing import Any

import yaml

from dlcore.launch.image import MOUNT, USER
from dlcore.launch.volume import Volume
from dlcore.training.job import BAD_USAGE, COORDINATOR, FAILED, NUM_PROCESSES, PREEMPTED, PROCESS_ID

Manifest = dict[str, Any]

GPU, TPU = "nvidia.com/gpu", "google.com/tpu"
GROUP, CONTAINER, PORT = "nodes", "experiment", 8482
GRACE_SECONDS = 120  # for the checkpoint, from SIGTERM to SIGKILL
INDEX = "batch.kubernetes.io/job-completion-index"

# A pod is named NAME-nodes-0-INDEX-abcde, and no pod's name is longer than 63 letters.
LONGEST_NAME = 63 - len(f"-{GROUP}-0-") - len("-abcde")


@dataclass(frozen=True)
class Nodes:
    """The nodes of a job.

    Attributes:
        count: how many there are; each runs one process.
        device: the resource of which a process gets ``devices``, `GPU` or `TPU`; empty for the CPU alone.
        devices: how many a node has.
        requests: what a process needs besides, such as ``{"cpu": "16"}``.
        selector: the labels that the nodes have.
    """

    count: int
    device: str = ""
    devices: int = 0
    requests: dict[str, str] = field(default_factory=dict)
    selector: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """A job for Kubernetes.

    Attributes:
        name: its name, a label of at most `LONGEST_NAME` letters less those of the number of nodes.
        namespace: its namespace.
        image: the container image.
        command: the arguments of the container; each arrives byte for byte.
        nodes: where it runs.
        volume: what keeps the runs' folders; None if the experiment keeps its checkpoints in a bucket.
        queue: a local queue of Kueue; None for none.
        max_restarts: how often it starts again after a process was killed.
    """

    name: str
    namespace: str
    image: str
    command: list[str]
    nodes: Nodes
    volume: Volume | None
    queue: str | None = None
    max_restarts: int = 0


def jobset(job: Job) -> Manifest:
    """The manifest of a job.

    Exit code 75 (the state is saved) and a node that is taken away start all pods again and do not count. Exit codes 1
    and 2 end the job. After every other end of a process, as by SIGKILL, it starts again ``max_restarts`` times.

    Args:
        job: the job.
    """
    metadata: Manifest = {"name": job.name, "namespace": job.namespace}
    if job.queue:
        metadata["labels"] = {"kueue.x-k8s.io/queue-name": job.queue}
    if job.nodes.device == TPU and job.nodes.count > 1:  # all pods on one slice: a slice is a node pool
        metadata["annotations"] = {
            "alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"
        }
    group = {"name": GROUP, "replicas": 1, "template": {"spec": _job_spec(job)}}
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": metadata,
        "spec": {"failurePolicy": _failure_policy(job.max_restarts), "replicatedJobs": [group]},
    }


def _failure_policy(max_restarts: int) -> Manifest:
    """What follows a failed job, by the message of the rule of `_pod_failure_policy` that failed it."""

    def rule(name: str, action: str, *messages: str) -> Manifest:
        return {
            "name": name,
            "action": action,
            "onJobFailureReasons": ["PodFailurePolicy"],
            "onJobFailureMessagePatterns": list(messages),
        }

    return {
        "maxRestarts": max_restarts,
        "rules": [
            rule(
                "saved",
                "RestartJobSetAndIgnoreMaxRestarts",
                f"failed with exit code {PREEMPTED} ",
                "has condition DisruptionTarget ",
            ),
            rule("failed", "FailJobSet", f"failed with exit code [{FAILED}{BAD_USAGE}] "),
        ],
    }


def _pod_failure_policy() -> Manifest:
    def on_exit(*codes: int) -> Manifest:
        return {"containerName": CONTAINER, "operator": "In", "values": list(codes)}

    return {
        "rules": [
            {"action": "FailJob", "onExitCodes": on_exit(PREEMPTED)},
            {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "FailJob", "onExitCodes": on_exit(FAILED, BAD_USAGE)},
        ]
    }


def _job_spec(job: Job) -> Manifest:
    """A Job of one pod a node; all of them end when one fails, since `backoffLimit` is 0."""
    return {
        "parallelism": job.nodes.count,
        "completions": job.nodes.count,
        "completionMode": "Indexed",
        "backoffLimit": 0,
        "podFailurePolicy": _pod_failure_policy(),
        "template": {"spec": pod_spec(job)},
    }


def pod_spec(job: Job) -> Manifest:
    """The specification of a pod that runs the job's command on one of its nodes, and is not started again.

    Args:
        job: the job.
    """
    volumes = {"runs": (_volume_source(job.volume), MOUNT)} if job.volume else {}
    if job.nodes.device == GPU:  # NCCL needs more shared memory than the 64 MB of a container
        volumes["shared-memory"] = ({"emptyDir": {"medium": "Memory"}}, "/dev/shm")
    spec: Manifest = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "nodeSelector": job.nodes.selector,
        "tolerations": [_toleration(job.nodes.device)] if job.nodes.device else [],
        "securityContext": {} if job.nodes.device == TPU else _user(),
        "containers": [_container(job, {name: path for name, (_, path) in volumes.items()})],
        "volumes": [{"name": name, **source} for name, (source, _) in volumes.items()],
    }
    return _without_empty(spec)


def _without_empty(spec: Manifest) -> Manifest:
    return {key: value for key, value in spec.items() if value not in ({}, [])}


def _toleration(device: str) -> Manifest:
    """Lets a pod run on nodes that are kept for those that use the device."""
    return {"key": device, "operator": "Exists", "effect": "NoSchedule"}


def _user() -> Manifest:
    ids = dict.fromkeys(("runAsUser", "runAsGroup", "fsGroup"), USER)
    return {"runAsNonRoot": True, **ids, "seccompProfile": {"type": "RuntimeDefault"}}


def _container(job: Job, mounts: dict[str, str]) -> Manifest:
    root = {"runAsUser": 0}  # others may not open a TPU
    restricted = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container: Manifest = {
        "name": CONTAINER,
        "image": job.image,
        "command": [escape(argument) for argument in job.command],
        "env": _environment(job),
        "securityContext": root if job.nodes.device == TPU else restricted,
        "resources": _without_empty(
            {
                "limits": {job.nodes.device: job.nodes.devices} if job.nodes.device else {},
                "requests": job.nodes.requests,
            }
        ),
        "volumeMounts": [{"name": name, "mountPath": path} for name, path in mounts.items()],
    }
    return _without_empty(container)


def _environment(job: Job) -> list[Manifest]:
    """The variables with which the processes find each other; the pods of a JobSet have fixed host names.

    JAX would ask the cluster, which needs the package ``kubernetes`` and a role that may read pods.
    """
    if job.nodes.count == 1:
        return []
    return [
        {"name": COORDINATOR, "value": f"{job.name}-{GROUP}-0-0.{job.name}:{PORT}"},
        {"name": NUM_PROCESSES, "value": str(job.nodes.count)},
        {
            "name": PROCESS_ID,
            "valueFrom": {"fieldRef": {"fieldPath": f"metadata.annotations['{INDEX}']"}},
        },
    ]


def _volume_source(volume: Volume) -> Manifest:
    if volume.claim:
        return {"persistentVolumeClaim": {"claimName": volume.claim}}
    if volume.server:
        return {"nfs": {"server": volume.server, "path": volume.path}}
    return {"hostPath": {"path": volume.path, "type": "Directory"}}


def escape(argument: str) -> str:
    """An argument in which Kubernetes finds no reference such as ``$(HOME)`` to put a variable's value in its place.

    >>> escape("$(HOME) costs $5")
    '$$(HOME) costs $$5'
    """
    return argument.replace("$", "$$")


class _Dumper(yaml.SafeDumper):
    """Writes YAML that every parser reads as the same text."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Quotes what is no plain word: some parsers read ``y`` as true and ``1e3`` as a number, and PyYAML does not."""
    is_word = len(text) > 2 and text[0].isalpha() and text.isascii() and not set(text) - WORD
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if is_word else '"')


WORD = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_/")
_Dumper.add_representer(str, _text)


def to_yaml(manifest: Manifest) -> str:
    """A manifest as YAML. It is ASCII, and each text is on one line.

    Args:
        manifest: dicts, lists, texts and numbers.
    """
    return yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, width=float("inf"))
