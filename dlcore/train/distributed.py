"""Several processes as one program, and compilations that outlive the process."""

import contextlib
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

COORDINATOR, COUNT, NUMBER = "DLCORE_COORDINATOR", "DLCORE_NUM_PROCESSES", "DLCORE_PROCESS_ID"
HEARTBEAT_SECONDS, SHUTDOWN_SECONDS = 30, 10
SAY_SECONDS, WAIT_SECONDS = 5, 300  # for the other processes to start: when that is said, when it is given up
FAILED = 1


def initialize(mode: str) -> None:
    """Joins the other processes of the job; to be called before JAX sees a device.

    Args:
        mode: ``off``; ``on``, which joins by the three variables ``DLCORE_COORDINATOR=HOST:PORT``,
            ``DLCORE_NUM_PROCESSES`` and ``DLCORE_PROCESS_ID``, or as JAX finds out itself (Slurm, Open MPI,
            Kubernetes, TPU VMs); ``auto``, which is ``on`` where those variables or a step of several tasks are.

    Raises:
        ValueError: an unknown mode, or variables that say nothing useful.
    """
    if mode not in ("auto", "on", "off"):
        raise ValueError(f"--distributed: got {mode!r}, expected auto, on or off")
    if mode == "off" or (mode == "auto" and not _several()):
        return
    coordinator = os.environ.get(COORDINATOR)
    count, number = (
        _numbers(coordinator) if coordinator is not None else (None, None)
    )  # None: as JAX finds out
    others = f"all {count} processes at {coordinator}" if coordinator else "the job's other processes"
    with _patience(f"{'' if number is None else f'process {number}: '}waiting for {others}"):
        jax.distributed.initialize(
            coordinator,
            count,
            number,
            initialization_timeout=WAIT_SECONDS + 60,  # JAX would end this process by SIGABRT
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=SHUTDOWN_SECONDS,
        )


@contextlib.contextmanager
def _patience(waiting: str) -> Iterator[None]:
    """Says what is waited for where it takes long, and ends the process where it takes too long."""

    def give_up() -> None:
        print(
            f"error: {waiting}: some are missing after {WAIT_SECONDS} s; start all of them, and look whether one of "
            "them failed",
            file=sys.stderr,
            flush=True,
        )
        os._exit(FAILED)

    timers = (
        threading.Timer(SAY_SECONDS, lambda: print(waiting, file=sys.stderr, flush=True)),
        threading.Timer(WAIT_SECONDS, give_up),
    )
    for timer in timers:
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()


def check_same_settings(settings: Mapping[str, str]) -> None:
    """Raises ValueError in every process of a job unless all of them have the same settings, given by flag."""
    texts = [f"{flag}={value}" for flag, value in settings.items()]
    first, *others = (text.split("\0") for text in _gathered("\0".join(texts)))
    for number, found in enumerate(others, 1):
        if found != first:
            mine, theirs = (sorted(set(a) - set(b)) for a, b in ((first, found), (found, first)))
            raise ValueError(
                f"{', '.join(theirs)}: got it in process {number}, but {', '.join(mine)} in process 0; expected the "
                "same flags in every process"
            )


def _gathered(text: str) -> list[str]:
    """What each of the processes has there, in their order."""
    if jax.process_count() == 1:
        return [text]
    letters = np.frombuffer(text.encode(), np.uint8)
    lengths = multihost_utils.process_allgather(np.int32(letters.size))
    filled = np.zeros(lengths.max(), np.uint8)
    filled[: letters.size] = letters
    rows = multihost_utils.process_allgather(filled)
    return [row[:length].tobytes().decode() for row, length in zip(rows, lengths, strict=True)]


def _several() -> bool:
    sizes = (os.environ.get(name, "1") for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"))
    return COORDINATOR in os.environ or any(size.isdigit() and int(size) > 1 for size in sizes)


def _numbers(coordinator: str) -> tuple[int, int]:
    """The number of processes and this one's, of variables that are all as they should be."""
    port = re.fullmatch(r"(?:[\w.-]+|\[[0-9a-fA-F:.]+\]):([0-9]{1,5})", coordinator)
    if not port or not 0 < int(port[1]) < 2**16:
        raise ValueError(
            f"{COORDINATOR}: got {coordinator!r}, expected HOST:PORT of process 0, such as node1:1234"
        )
    said = {name: os.environ.get(name, "") for name in (COUNT, NUMBER)}
    if all(re.fullmatch("[0-9]+", value) for value in said.values()):
        count, number = map(int, said.values())
        if number < count:
            return count, number
    raise ValueError(
        f"{COORDINATOR}: got {coordinator} with {', '.join(f'{name}={value}' for name, value in said.items())}, "
        "expected the number of processes and this one's number, from 0"
    )


def enable_compilation_cache() -> None:
    """A persistent compilation cache in the user's cache folder, unless JAX was told of another already."""
    if not jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(caches / "dlcore" / "jax"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
