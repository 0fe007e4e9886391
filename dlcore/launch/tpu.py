"""Runs an experiment on TPU VMs of Google Cloud, in a queued resource:
    launch/tpu --tpu=v5e:4x4 --zone=ZONE --image=IMAGE --volume=HOST:/PATH experiments.digits [--flags]
It prints the commands of gcloud that do this. With --yes it calls them: it creates the slice, starts the experiment on
all workers, follows it, and deletes the slice at its end. If spot capacity is taken away, it asks for it again, and the
run goes on.
"""

import re
import shlex

from absl import flags

from dlcore.cli.errors import print_error
from dlcore.launch.command import Command, check_command, read_command
from dlcore.launch.image import check_image, container_command
from dlcore.launch.launcher import FLAGS, FlagRow, check_at_least, check_program, run_launcher
from dlcore.launch.names import read_name
from dlcore.launch.queued_resource import QueuedResource
from dlcore.launch.supervision import Supervisor
from dlcore.launch.tpu_topology import Slice, read_slice
from dlcore.launch.volume import Volume, read_volume
from dlcore.launch.worker import Worker
from dlcore.training.job import FAILED, INTERRUPTED
from dlcore.utils.streams import say

LONGEST_NAME = 63

ROWS: list[FlagRow] = [
    (flags.DEFINE_string, "tpu", None, "The TPU slice: its generation and topology, such as v5e:4x4."),
    (flags.DEFINE_string, "zone", None, "Zone of Google Cloud, such as us-west4-a."),
    (flags.DEFINE_string, "project", None, "Project of Google Cloud. The default is gcloud's own."),
    (flags.DEFINE_string, "image", None, "Container image with the experiments, see launch/Dockerfile."),
    (flags.DEFINE_string, "volume", None, "What keeps runs/: HOST:/PATH of NFS, or /PATH on every worker."),
    (
        flags.DEFINE_string,
        "name",
        None,
        "Name of the slice. The default has the experiment's and the run's name.",
    ),
    (flags.DEFINE_string, "runtime_version", None, "Image of the TPU VMs. The default fits the generation."),
    (flags.DEFINE_boolean, "spot", False, "Use capacity that costs less and may be taken away."),
    (
        flags.DEFINE_boolean,
        "keep",
        False,
        "Do not delete the slice when the job has ended; it costs as before.",
    ),
    (flags.DEFINE_integer, "max_restarts", 10, "How often the job starts again after a process was killed."),
    (flags.DEFINE_boolean, "check", True, "Build the experiment here first, for the chips of the slice."),
    (flags.DEFINE_boolean, "yes", False, "Create the slice and run the job."),
]


def launch(arguments: list[str]) -> int:
    """Checks a job, prints the commands that run it and, with ``--yes``, runs it to its end.

    Args:
        arguments: the experiment's module and its flags.

    Returns:
        The exit code.

    Raises:
        ValueError: a flag is wrong, or the experiment refuses its own; nothing was created.
    """
    if FLAGS.yes:
        check_program("gcloud", "without --yes the commands are only printed")
    command = read_command(arguments, elsewhere=True)
    if FLAGS.tpu is None:
        raise ValueError("--tpu: got none, expected a generation and a topology, such as v5e:4x4")
    tpu = read_slice(FLAGS.tpu)
    check_at_least("--max_restarts", FLAGS.max_restarts, 0)
    name = read_name(FLAGS.name, command, LONGEST_NAME)
    resource = _resource(name, tpu)
    program, *python = container_command(command)
    # Several workers find each other through JAX; a --distributed of the user stands after this one, and counts.
    python[2:2] = ["--distributed=on"] if tpu.hosts > 1 else []
    worker = Worker(name, check_image(FLAGS.image), [program, *python], _volume(command))
    if FLAGS.check:
        check_command(command, tpu.chips)
    for step, argv in commands(resource, worker).items():
        print(f"{step}: {argv}", flush=True)
    if not FLAGS.yes:
        say(
            "nothing was created; the commands above or --yes create the slice, which costs until it is deleted"
        )
        return 0
    return _run(Supervisor(resource, worker, FLAGS.max_restarts), resource, command.folder.name)


def _resource(name: str, tpu: Slice) -> QueuedResource:
    for flag, value, pattern, example in (
        ("--zone", FLAGS.zone, "[a-z]+-[a-z]+[0-9]+-[a-z]", "us-west4-a"),
        ("--project", FLAGS.project or "p", "[a-z][-a-z0-9.:]*", "my-project"),
        (
            "--runtime_version",
            FLAGS.runtime_version or "v",
            "[a-z][-a-z0-9.]*",
            tpu.generation.runtime_version,
        ),
    ):
        if value is None or not re.fullmatch(pattern, value):
            raise ValueError(
                f"{flag}: got {'none' if value is None else repr(value)}, expected one such as {example}"
            )
    version = FLAGS.runtime_version or tpu.generation.runtime_version
    return QueuedResource(name, tpu, FLAGS.zone, FLAGS.project, version, FLAGS.spot)


def _volume(command: Command) -> Volume | None:
    volume = read_volume(FLAGS.volume, command)
    if volume is not None and volume.claim:
        raise ValueError(f"--volume: got {FLAGS.volume!r}, expected HOST:/PATH of an NFS share, or /PATH")
    return volume


def commands(resource: QueuedResource, worker: Worker) -> dict[str, str]:
    """The commands of a job's life for a shell: create, state, start, follow, resume, cancel.

    Args:
        resource: the queued resource.
        worker: what each worker runs.
    """
    return {
        "create": shlex.join(resource.create),
        "state": shlex.join(resource.describe),
        "start": shlex.join(resource.ssh(worker.start)),
        "follow": shlex.join(resource.ssh(worker.follow)),
        "resume": shlex.join(resource.ssh(worker.restart)),
        "cancel": shlex.join(resource.delete),
    }


def _run(supervisor: Supervisor, resource: QueuedResource, run: str) -> int:
    try:
        code = supervisor.run()
        if not FLAGS.keep:
            supervisor.delete()
    except KeyboardInterrupt:
        say(f"{resource.name}: the job goes on; the same command with --run={run} follows it, cancel ends it")
        return INTERRUPTED
    except OSError as error:
        print_error(f"{error}; what there is costs until it is deleted, see cancel above")
        return FAILED
    if FLAGS.keep:
        say(f"{resource.name}: the slice costs until it is deleted, see cancel above")
    return code


if __name__ == "__main__":
    run_launcher(ROWS, launch)
