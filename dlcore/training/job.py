"""The job of several processes that this process is a part of, as its environment describes it. Needs no JAX."""

import re
import signal
from collections.abc import Mapping

COORDINATOR, NUM_PROCESSES, PROCESS_ID = "DLCORE_COORDINATOR", "DLCORE_NUM_PROCESSES", "DLCORE_PROCESS_ID"

# The exit codes of a process besides 0: it failed; its command line is wrong; start it again; Ctrl-C stopped it; it was
# killed by SIGKILL, as a shell tells it.
FAILED, BAD_USAGE, PREEMPTED, INTERRUPTED, KILLED = 1, 2, 75, 130, 137

# Clusters announce the end of a job by the first three, the system the end of CPU time and of the terminal.
PREEMPTING = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU, signal.SIGHUP)


def is_in_job(environ: Mapping[str, str]) -> bool:
    """True if the environment says that this process is one of several.

    Args:
        environ: the environment variables.
    """
    sizes = (environ.get(name, "1") for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"))
    return COORDINATOR in environ or any(size.isdecimal() and int(size) > 1 for size in sizes)


def read_variables(environ: Mapping[str, str]) -> tuple[int, int]:
    """The number of processes and the index of this one, of which `COORDINATOR` and two more variables tell.

    Args:
        environ: the environment variables, `COORDINATOR` among them.

    Raises:
        ValueError: a variable is wrong.
    """
    coordinator = environ[COORDINATOR]
    port = re.fullmatch(r"(?:[\w.-]+|\[[0-9a-fA-F:.]+\]):([0-9]{1,5})", coordinator)
    if not port or not 0 < int(port[1]) < 2**16:
        raise ValueError(
            f"{COORDINATOR}: got {coordinator!r}, expected HOST:PORT of process 0, such as node1:1234"
        )
    texts = {name: environ.get(name, "") for name in (NUM_PROCESSES, PROCESS_ID)}
    if all(re.fullmatch("[0-9]{1,9}", value) for value in texts.values()):
        count, process = map(int, texts.values())
        if process < count:
            return count, process
    raise ValueError(
        f"{COORDINATOR}: got {coordinator} with {', '.join(f'{name}={value}' for name, value in texts.items())}, "
        "expected the number of processes and the index of this one, from 0"
    )


def of_the_job(process: int, host: str) -> str:
    """How the processes of a job name one of them in their errors; `named_process` finds it.

    Args:
        process: its index.
        host: the name of its machine.
    """
    return f"process {process} ({host}) of the job"


def named_process(line: str) -> int | None:
    """The index of the process that an error names as the one that ended first; None if it names none.

    >>> named_process(f"error: {of_the_job(3, 'node7')} died")
    3

    Args:
        line: a line of a process's stderr.
    """
    found = re.match(r"(?:error: )?process ([0-9]{1,9}) \(.*\) of the job", line)
    return int(found[1]) if found else None


def local_device_ids(environ: Mapping[str, str]) -> list[int] | None:
    """The GPUs that this process uses, for ``jax.distributed.initialize``.

    If the tasks of a node see the same GPUs, each one uses its share: one if there is a task for each GPU, all if there
    is one task. A task that the cluster shows its own GPUs alone uses these.

    Args:
        environ: the environment variables.

    Returns:
        The places of the GPUs among those that the process sees. An empty list means all. None leaves the choice to
        JAX, which reads ``JAX_LOCAL_DEVICE_IDS`` or gives each task one GPU.
    """
    if "JAX_LOCAL_DEVICE_IDS" in environ:
        return None
    tasks, local = _tasks_on_node(environ)
    if COORDINATOR in environ or tasks == 1:
        return []
    if "CUDA_VISIBLE_DEVICES" not in environ or not tasks:
        return None
    visible = environ["CUDA_VISIBLE_DEVICES"].count(",") + 1
    on_node = environ.get("SLURM_GPUS_ON_NODE", "")
    if visible == 1 or (on_node.isdecimal() and visible < int(on_node)):
        return []
    share = visible // tasks
    return list(range(local * share, (local + 1) * share)) if share else None


def _tasks_on_node(environ: Mapping[str, str]) -> tuple[int, int]:
    """The number of the job's tasks on this node and the index of this one among them; 0 and 0 if nothing tells it."""
    if "SLURM_GTIDS" in environ:  # the indices of the node's tasks in the whole job
        tasks = environ["SLURM_GTIDS"].split(",")
        return len(tasks), tasks.index(environ.get("SLURM_PROCID", tasks[0]))
    sizes = [environ.get(f"OMPI_COMM_WORLD_LOCAL_{name}", "0") for name in ("SIZE", "RANK")]
    size, rank = (int(text) if text.isdecimal() else 0 for text in sizes)
    return size, rank
