"""Several processes as one program, and compilations that outlive the process."""

import os
from pathlib import Path

import jax

COORDINATOR, COUNT, NUMBER = "DLCORE_COORDINATOR", "DLCORE_NUM_PROCESSES", "DLCORE_PROCESS_ID"
HEARTBEAT_SECONDS, SHUTDOWN_SECONDS = 30, 10


def initialise(mode: str) -> None:
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
    count, number = _numbers() if coordinator else (None, None)  # None: as JAX finds out
    jax.distributed.initialize(
        coordinator,
        count,
        number,
        heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        shutdown_timeout_seconds=SHUTDOWN_SECONDS,
    )


def _several() -> bool:
    sizes = (os.environ.get(name, "1") for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"))
    return COORDINATOR in os.environ or any(size.isdigit() and int(size) > 1 for size in sizes)


def _numbers() -> tuple[int, int]:
    try:
        count, number = (int(os.environ[name]) for name in (COUNT, NUMBER))
    except (KeyError, ValueError):
        count, number = 0, 0
    if not 0 <= number < count:
        said = ", ".join(f"{name}={os.environ.get(name)}" for name in (COUNT, NUMBER))
        raise ValueError(
            f"{COORDINATOR}: got {os.environ[COORDINATOR]} with {said}, expected the number of processes and "
            "this one's number, from 0"
        )
    return count, number


def keep_compilations() -> None:
    """A persistent compilation cache in the user's cache folder, unless JAX was told of another already."""
    if not jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(caches / "dlcore" / "jax"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
