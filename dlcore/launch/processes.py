"""An experiment as one job of several processes on this machine, for instance to debug what several hosts will run."""

import contextlib
import os
import socket
import sys
from collections.abc import Mapping, Sequence

from dlcore.cli.errors import print_error
from dlcore.launch.command import Command
from dlcore.launch.gang import Ended, Gang
from dlcore.launch.output import STDERR, Output
from dlcore.training.job import COORDINATOR, INTERRUPTED, NUM_PROCESSES, PREEMPTED, PROCESS_ID

HOST = "127.0.0.1"
GRACE_SECONDS = 15  # the others end by themselves sooner, unless they hang


def run_processes(command: Command, processes: int, devices: int | None = None) -> int:
    """Runs a command in several processes that form one job, and prints their output.

    If stderr is a terminal, process 0 writes to it itself, so that its progress bar works as without a launcher.
    The last that is printed is the error of the process that failed first.

    Args:
        command: the experiment with its flags, which all processes get.
        processes: the number of processes.
        devices: the number of devices of each process; None means one, or what ``JAX_NUM_CPU_DEVICES`` says.

    Returns:
        The exit code of the job, see `exit_code`.

    Raises:
        OSError: the system starts no more processes or has no free port.
    """
    coordinator, terminal = f"{HOST}:{free_port()}", os.isatty(STDERR)
    argv = [sys.executable, *command.argv]
    with contextlib.closing(Output(bar=terminal)) as output:
        with Gang(output, GRACE_SECONDS) as gang:
            for process in range(processes):
                variables = job_variables(os.environ, coordinator, processes, process, devices)
                gang.start(process, argv, {**os.environ, **variables}, terminal and process == 0)
            ended = gang.wait()
        failed = first_failure(ended, output.named)
        if failed and not (output.repeat_last_words(failed.process) and failed.code > 0):
            print_error(failed.text)
    return exit_code(ended, failed)


def job_variables(
    environ: Mapping[str, str], coordinator: str, processes: int, process: int, devices: int | None
) -> dict[str, str]:
    """The environment variables of one process of the job.

    The devices are those of the CPU, unless ``JAX_PLATFORMS`` names another platform: then each process gets its share
    of this machine's devices.

    Args:
        environ: the environment variables of this process.
        coordinator: ``HOST:PORT`` of process 0.
        processes: the number of processes.
        process: the index of the process.
        devices: the number of its devices; None means one, or what ``JAX_NUM_CPU_DEVICES`` says.
    """
    variables = {
        COORDINATOR: coordinator,
        "JAX_COORDINATOR_BIND_ADDRESS": coordinator,  # JAX's own choice would listen to other machines, too
        NUM_PROCESSES: str(processes),
        PROCESS_ID: str(process),
        "PYTHONUNBUFFERED": "1",
    }
    platform = environ.get("JAX_PLATFORMS") or "cpu"
    if platform == "cpu":
        count = environ.get("JAX_NUM_CPU_DEVICES", "1") if devices is None else str(devices)
        return {**variables, "JAX_PLATFORMS": platform, "JAX_NUM_CPU_DEVICES": count}
    share = devices or 1
    own = range(process * share, (process + 1) * share)
    return {**variables, "JAX_LOCAL_DEVICE_IDS": ",".join(map(str, own))}


def free_port() -> int:
    """A port of this machine that nothing uses now.

    Raises:
        OSError: there is none.
    """
    with socket.socket() as listening:
        listening.bind((HOST, 0))
        return int(listening.getsockname()[1])


def first_failure(ended: Sequence[Ended], named: int | None = None) -> Ended | None:
    """The process that failed by itself; None if all did their work or were stopped by a signal that they caught.

    Args:
        ended: how the processes ended, in this order.
        named: the process that the others name as the first that ended; None: the order counts.
    """
    well = (0, PREEMPTED, INTERRUPTED)
    failed = [one for one in ended if not one.killed and one.exit_code not in well]
    return min(failed, key=lambda one: one.process != named, default=None)


def exit_code(ended: Sequence[Ended], failed: Ended | None) -> int:
    """The exit code of a job: that of the process that failed; else 130 after Ctrl-C, 75 after preemption, or 0.

    >>> exit_code([Ended(1, 75), Ended(0, 0)], None), exit_code([Ended(1, 75), Ended(0, -9)], Ended(0, -9))
    (75, 137)

    Args:
        ended: how the processes ended.
        failed: what `first_failure` says of them.
    """
    if failed:
        return failed.exit_code
    codes = {one.exit_code for one in ended if not one.killed}
    return next((code for code in (INTERRUPTED, PREEMPTED) if code in codes), 0)
