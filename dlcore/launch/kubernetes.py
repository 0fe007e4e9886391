"""Runs an experiment on a Kubernetes cluster, as a JobSet:
    launch/kubernetes --nodes=2 --gpus_per_node=8 --image=IMAGE --volume=CLAIM experiments.digits [--flags]
    launch/kubernetes --tpu=v5e:4x4 --image=IMAGE --volume=HOST:/PATH --yes experiments.digits [--flags]
It writes the manifest into the run's folder and prints how to start, follow, cancel and resume the job. With --yes it
also starts the job. The cluster needs the JobSet controller, version 0.10 or newer.
    launch/kubernetes --workers=20 --runs=FILE --image=IMAGE --volume=CLAIM experiments.digits [--flags]
runs many small runs, each with the flags of a line of the file, on 20 workers. The nodes are those of a worker. The
cluster needs Dask's operator.
"""

import shlex
import subprocess
from pathlib import Path

from absl import flags

from dlcore.launch.command import Command, check_command, read_command
from dlcore.launch.dask_job import LONGEST_NAME as LONGEST_DASK_NAME
from dlcore.launch.dask_job import DaskJob, dask_manifests, read_file
from dlcore.launch.image import check_image, container_command
from dlcore.launch.jobset import LONGEST_NAME, Job, jobset, to_yaml
from dlcore.launch.launcher import FLAGS, FlagRow, check_at_least, check_program, run_launcher
from dlcore.launch.names import check_label, read_name
from dlcore.launch.node_flags import ROWS as NODE_ROWS
from dlcore.launch.node_flags import read_nodes
from dlcore.launch.series.job import FLAG_ROWS, check_first, plan_runs
from dlcore.launch.volume import EXPECTED, read_volume
from dlcore.training.job import FAILED
from dlcore.utils.files import atomic_write, user_path
from dlcore.utils.streams import say

MANIFEST, DASK_MANIFEST = "jobset.yaml", "daskjob.yaml"  # in the run's folder

ROWS: list[FlagRow] = [
    *NODE_ROWS,
    (flags.DEFINE_string, "image", None, "Container image with the experiments, see launch/Dockerfile."),
    (flags.DEFINE_string, "volume", None, "What keeps runs/: a volume claim, HOST:/PATH of NFS or /PATH."),
    (
        flags.DEFINE_string,
        "name",
        None,
        "Name of the job. The default has the experiment's and the run's name.",
    ),
    (flags.DEFINE_string, "namespace", "default", "Namespace of the job."),
    (flags.DEFINE_string, "queue", None, "Local queue of Kueue in which the job waits."),
    (flags.DEFINE_integer, "max_restarts", 10, "How often the job starts again after a process was killed."),
    *FLAG_ROWS,
    (flags.DEFINE_integer, "workers", None, "Number of workers for --runs."),
    (flags.DEFINE_boolean, "check", True, "Build the experiment here first, for the devices of the job."),
    (flags.DEFINE_boolean, "dry_run", False, "Print the manifest on stdout and do nothing else."),
    (flags.DEFINE_boolean, "yes", False, "Start the job with kubectl."),
]


def launch(arguments: list[str]) -> int:
    """Checks a job, writes its manifest and, with ``--yes``, starts it.

    Args:
        arguments: the experiment's module and its flags.

    Returns:
        The exit code.

    Raises:
        ValueError: a flag is wrong, or the experiment refuses its own; nothing was written or started.
    """
    if FLAGS.dry_run and FLAGS.yes:
        raise ValueError("--dry_run: got --yes too, expected one of them")
    if FLAGS.yes:
        check_program("kubectl", "without --yes the manifest is only written")
    command = read_command(arguments, elsewhere=True)
    job = _job(command)
    text = _one_job(job, command) if FLAGS.runs is None else _many_runs(job, command)
    if FLAGS.dry_run:
        print(text, end="")
        return 0
    file = command.folder / (MANIFEST if FLAGS.runs is None else DASK_MANIFEST)
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as stream:
        stream.write(text)
    return _start_and_tell(job, file)


def _one_job(job: Job, command: Command) -> str:
    """The manifest of a job that runs the experiment once, on all its nodes."""
    for name in ("workers", "isolate"):
        if FLAGS[name].present:
            raise ValueError(f"--{name}: got it without --runs, expected a file with a run on each line")
    if FLAGS.check:
        check_command(command, job.nodes.count * max(1, job.nodes.devices))
    return to_yaml(jobset(job))


def _many_runs(job: Job, command: Command) -> str:
    """The manifests of many runs, of which each has one node."""
    for name in ("queue", "max_restarts"):
        if FLAGS[name].present:
            raise ValueError(f"--{name}: got it with --runs, expected none: Dask's operator starts the pods")
    check_at_least("--workers", FLAGS.workers, 1)
    if job.nodes.count != 1:
        raise ValueError(f"--nodes: got {job.nodes.count} with --runs, expected 1: a worker has one node")
    if job.volume is None:
        raise ValueError(
            f"--volume: got none with --runs, expected {EXPECTED}: all pods write into one folder"
        )
    text = read_file(user_path("--runs", FLAGS.runs))
    series = plan_runs(command, FLAGS.runs)
    if FLAGS.check:
        check_first(series, max(1, job.nodes.devices))
    return dask_manifests(DaskJob(job, FLAGS.workers, text, FLAGS.isolate))


def _job(command: Command) -> Job:
    nodes = read_nodes(FLAGS)
    check_at_least("--max_restarts", FLAGS.max_restarts, 0)
    longest = LONGEST_NAME - len(str(nodes.count - 1)) if FLAGS.runs is None else LONGEST_DASK_NAME
    name = read_name(FLAGS.name, command, longest)
    check_label("--namespace", FLAGS.namespace, 63)
    if FLAGS.queue is not None:
        check_label("--queue", FLAGS.queue, 63)
    return Job(
        name=name,
        namespace=FLAGS.namespace,
        image=check_image(FLAGS.image),
        command=container_command(command),
        nodes=nodes,
        volume=read_volume(FLAGS.volume, command),
        queue=FLAGS.queue,
        max_restarts=FLAGS.max_restarts,
    )


def _start_and_tell(job: Job, file: Path) -> int:
    """Starts the job if ``--yes`` is given; prints the commands of its life."""
    commands = kubectl_commands(job, file)
    if FLAGS.yes:
        # The cluster checks the manifest as a whole before anything is created.
        for command in ([*commands["start"], "--dry-run=server"], commands["start"]):
            if subprocess.run(command, check=False).returncode:
                say(f"error: kubectl did not start the job, see its message above; the manifest is {file}")
                return FAILED
    print(f"manifest: {file}")
    for name, command in commands.items():
        print(f"{name}: {shlex.join(command)}")
    print(f"resume: {shlex.join(commands['cancel'])} && {shlex.join(commands['start'])}", flush=True)
    if not FLAGS.yes:
        say("nothing was started; the command above or --yes starts the job")
    return 0


def kubectl_commands(job: Job, file: Path) -> dict[str, list[str]]:
    """The commands that start, show, follow and cancel a job.

    Args:
        job: the job.
        file: its manifest.
    """
    kubectl = ["kubectl", f"--namespace={job.namespace}"]
    start = [*kubectl, "create", f"--filename={file}"]
    if file.name == DASK_MANIFEST:
        return {
            "start": start,
            "state": [*kubectl, "get", "daskjob", job.name],
            "follow": [*kubectl, "logs", "--follow", f"{job.name}-runner"],
            "cancel": [
                *kubectl,
                "delete",
                f"--filename={file}",
                "--cascade=foreground",
                "--ignore-not-found",
            ],
        }
    pods = f"--selector=jobset.sigs.k8s.io/jobset-name={job.name}"
    return {
        "start": start,
        "state": [*kubectl, "get", "jobset", job.name],
        "follow": [*kubectl, "logs", "--follow", "--prefix", f"--max-log-requests={job.nodes.count}", pods],
        # It returns when all pods are gone, so that a new job never writes beside them.
        "cancel": [*kubectl, "delete", "jobset", job.name, "--cascade=foreground", "--ignore-not-found"],
    }


if __name__ == "__main__":
    run_launcher(ROWS, launch)
