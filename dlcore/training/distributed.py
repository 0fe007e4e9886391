"""Several processes as one job, and a compilation cache on disk that later processes use."""

import contextlib
import os
import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import jax
import numpy as np
from jax._src import distributed as jax_distributed
from jax.experimental import multihost_utils

from dlcore.training.faults.links import Listener, dial
from dlcore.training.faults.peers import Peers
from dlcore.training.job import (
    COORDINATOR,
    FAILED,
    NUM_PROCESSES,
    PROCESS_ID,
    is_in_job,
    local_device_ids,
    read_variables,
)
from dlcore.utils.streams import say

# JAX's own threads send heartbeats, also while Python compiles or waits. A machine without power, or a process that is
# stopped, is noticed by heartbeats that are missing; `Peers` notices a process that has ended at once.
HEARTBEAT_SECONDS, SHUTDOWN_SECONDS = 30, 10
ANNOUNCE_SECONDS = 5  # wait for the other processes so long before a line says it
GIVE_UP_SECONDS = 300  # and so long before the process ends

ADDRESS = "dlcore/peers"
_peers: Peers | None = None  # a process is in one job at most, as in JAX's own state


def initialize(mode: str) -> None:
    """Joins the other processes of the job; it must be called before JAX sees a device.

    If other processes are missing after 300 s, it prints an error and ends this process.

    Args:
        mode: ``off``: does nothing. ``on``: joins with the variables ``DLCORE_COORDINATOR=HOST:PORT``,
            ``DLCORE_NUM_PROCESSES`` and ``DLCORE_PROCESS_ID``; without them JAX finds the job itself (Slurm,
            Open MPI, Kubernetes, TPU VMs). ``auto``: ``on`` if these variables are set or a Slurm or Open MPI job has
            several tasks; else ``off``.

    Raises:
        ValueError: the mode is unknown, the variables do not describe a job, there is no job, or JAX cannot join it,
            for instance since the coordinator's port is in use.
    """
    check_mode(mode)
    if mode == "off" or (mode == "auto" and not is_in_job(os.environ)):
        return
    coordinator = os.environ.get(COORDINATOR)
    count, process = None, None  # None: JAX finds both
    if coordinator is not None:
        count, process = read_variables(os.environ)
    others = f"all {count} processes at {coordinator}" if coordinator else "the job's other processes"
    waiting = f"{'' if process is None else f'process {process}: '}waiting for {others}"
    with _limited_wait(waiting), _join_errors(mode, coordinator):
        jax.distributed.initialize(
            coordinator,
            count,
            process,
            local_device_ids(os.environ),
            # JAX would end this process by SIGABRT: the wait is limited here before JAX does that.
            initialization_timeout=GIVE_UP_SECONDS + 60,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=SHUTDOWN_SECONDS,
        )
        _watch_peers()


def check_mode(mode: str) -> None:
    """Raises ValueError if the mode of `initialize` is unknown."""
    if mode not in ("auto", "on", "off"):
        raise ValueError(f"--distributed: got {mode!r}, expected auto, on or off")


@contextlib.contextmanager
def _join_errors(mode: str, coordinator: str | None) -> Iterator[None]:
    """Raises ValueError in place of the error with which JAX does not join a job."""
    try:
        yield
    except (ValueError, RuntimeError, KeyError, OSError) as error:
        why = " ".join(str(error).split())
        if coordinator is not None:
            raise ValueError(
                f"{COORDINATOR}: got {coordinator}, but JAX cannot join the job ({why}); expected a host that this "
                "process reaches, and a port that nothing else uses"
            ) from error
        raise ValueError(
            f"--distributed: got {mode}, but JAX finds no job to join ({why}); start processes with srun or mpirun, "
            f"or set {COORDINATOR}, {NUM_PROCESSES} and {PROCESS_ID}; --distributed=off trains alone"
        ) from error


def check_devices() -> None:
    """Makes JAX find its devices.

    Raises:
        ValueError: there are none, for instance since ``JAX_PLATFORMS`` is wrong, or ``JAX_NUM_CPU_DEVICES`` is no
            number >= 1.
    """
    count = os.environ.get("JAX_NUM_CPU_DEVICES", "1")
    if not re.fullmatch("0*[1-9][0-9]*", count):  # JAX takes a negative number as none
        raise ValueError(f"JAX_NUM_CPU_DEVICES: got {count!r}, expected a number >= 1")
    try:
        jax.devices()
    except (RuntimeError, ValueError, AssertionError) as error:
        names = ("JAX_PLATFORMS", "CUDA_VISIBLE_DEVICES")
        given = ", ".join(f"{name}={os.environ[name]!r}" for name in names if name in os.environ)
        why = " ".join(str(error).split()) or "the platform is not there"
        raise ValueError(
            f"JAX finds no devices with {given or 'this environment'}: {why}; JAX_PLATFORMS=cpu uses the CPU"
        ) from error


def _watch_peers() -> None:
    """Lets every process of the job notice it at once if another one ends, see `Peers`."""
    global _peers
    state = jax_distributed.global_state  # the store of the job has no public name; Orbax uses this one, too
    if state.client is None or state.num_processes == 1:
        return
    if state.process_id == 0:
        with Listener(_host(os.environ.get("JAX_COORDINATOR_BIND_ADDRESS", ""))) as listener:
            state.client.key_value_set(ADDRESS, listener.address())
            links = listener.accept(state.num_processes - 1)
        missing = len(links) < state.num_processes - 1
    else:
        address = state.client.blocking_key_value_get(ADDRESS, 1000 * GIVE_UP_SECONDS)
        links = dial(address, state.process_id, [_host(str(state.coordinator_address))])
        missing = not links
    if missing:
        say(f"process {state.process_id}: no connection to some processes; if one dies, this one ends later")
    _peers = Peers(state.process_id, links)


def _host(address: str) -> str:
    """The host of an address HOST:PORT."""
    return address.rpartition(":")[0].strip("[]")


def tell(code: int, why: str) -> bool:
    """Tells the job's other processes, if any, that this one ends before the work is done, see `Peers.tell`."""
    return _peers is not None and _peers.tell(code, why)


def fail(code: int, why: str) -> None:
    """Tells the job's other processes of an error, and returns when it is to be printed, see `Peers.fail`."""
    if _peers is not None:
        _peers.fail(code, why)


def leave() -> None:
    """Waits until the work of all processes of the job is done, and leaves the job; after `tell` it does nothing.

    JAX would abort the job if one process took some seconds longer than another one, for instance to draw figures.
    """
    if _peers is not None and _peers.leave():
        jax.distributed.shutdown()


@contextlib.contextmanager
def _limited_wait(waiting: str) -> Iterator[None]:
    """Prints the text ``waiting`` if the block takes long, and ends the process if it takes too long."""

    def give_up() -> None:
        say(
            f"error: {waiting}: some are missing after {GIVE_UP_SECONDS} s; start all of them, and check whether one "
            "of them failed"
        )
        os._exit(FAILED)

    timers = (
        threading.Timer(ANNOUNCE_SECONDS, lambda: say(waiting)),
        threading.Timer(GIVE_UP_SECONDS, give_up),
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
    """Checks that all processes of a job have the same settings; every process must call it.

    Args:
        settings: the text of each setting by its flag.

    Raises:
        ValueError: the settings differ; every process raises it.
    """
    texts = [f"{flag}={value}" for flag, value in settings.items()]
    first, *others = (text.split("\0") for text in gather_texts("\0".join(texts)))
    for process, found in enumerate(others, 1):
        if found != first:
            in_first, in_other = (sorted(set(a) - set(b)) for a, b in ((first, found), (found, first)))
            raise ValueError(
                f"{', '.join(in_other)}: got it in process {process}, but {', '.join(in_first)} in process 0; expected "
                "the same flags in every process"
            )


def gather_texts(text: str) -> list[str]:
    """The ``text`` that each process passes, ordered by process; every process of a job must call it."""
    if jax.process_count() == 1:
        return [text]
    letters = np.frombuffer(text.encode(), np.uint8)
    lengths = multihost_utils.process_allgather(np.int32(letters.size))
    padded = np.zeros(lengths.max(), np.uint8)
    padded[: letters.size] = letters
    rows = multihost_utils.process_allgather(padded)
    return [row[:length].tobytes().decode() for row, length in zip(rows, lengths, strict=True)]


def enable_compilation_cache() -> None:
    """Keeps compiled programs in ``dlcore/jax`` in the user's cache folder, unless JAX has a cache folder already.

    A user without a home folder, as in some containers, has no such folder.
    """
    if jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
        return
    with contextlib.suppress(RuntimeError):
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(caches / "dlcore" / "jax"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def say_once(text: str) -> None:
    """Prints a line on stderr; only the first process of a job does."""
    if jax.process_index() == 0:
        say(text)
