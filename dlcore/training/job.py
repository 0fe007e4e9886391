"""The job of several processes that this process is a part of, as its environment describes it. Needs no JAX."""

import re
from collections.abc import Mapping

COORDINATOR, NUM_PROCESSES, PROCESS_ID = "DLCORE_COORDINATOR", "DLCORE_NUM_PROCESSES", "DLCORE_PROCESS_ID"

# The exit codes of a process besides 0: it failed; its command line is wrong; start it again; Ctrl-C stopped it.
FAILED, BAD_USAGE, PREEMPTED, INTERRUPTED = 1, 2, 75, 130


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
