"""A real Slurm of two nodes on this machine, which tests start and stop.

python -m tests.helpers.slurm_cluster    # starts it until Ctrl-C, and prints how to use it
"""

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

TEMPLATE = Path(__file__).with_name("slurm.conf")
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "scancel", "sinfo")
NODES = ("n1", "n2")


def missing_programs() -> list[str]:
    """The programs of Slurm that this machine lacks."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


@contextlib.contextmanager
def running_cluster() -> Iterator[Path]:
    """A context manager that starts the cluster, yields its ``slurm.conf`` and stops it."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    for name in ("state", "run", "log", *(f"spool/{node}" for node in NODES)):
        (folder / name).mkdir(parents=True)
    conf = folder / "slurm.conf"
    conf.write_text(_configuration(folder))
    environment = {**os.environ, "SLURM_CONF": str(conf)}
    try:
        subprocess.run(["slurmctld", "-c"], env=environment, check=True)
        for node in NODES:
            subprocess.run(["slurmd", "-N", node], env=environment, check=True)
        _wait_until_idle(environment, folder)
        yield conf
    finally:
        _stop(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _configuration(folder: Path) -> str:
    text = TEMPLATE.read_text().replace("@FOLDER@", str(folder)).replace("@USER@", getpass.getuser())
    with contextlib.ExitStack() as stack:
        for name in ("CONTROL_PORT", "PORT_1", "PORT_2"):
            listening = stack.enter_context(socket.socket())
            listening.bind(("127.0.0.1", 0))
            text = text.replace(f"@{name}@", str(listening.getsockname()[1]))
    return text


def _wait_until_idle(environment: dict[str, str], folder: Path) -> None:
    deadline = time.monotonic() + 30
    command = ["sinfo", "-h", "-p", "main", "-o", "%T %D"]
    while subprocess.run(command, env=environment, capture_output=True, text=True).stdout.split() != [
        "idle",
        "2",
    ]:
        assert time.monotonic() < deadline, [path.read_text() for path in (folder / "log").iterdir()]
        time.sleep(0.1)


def _stop(folder: Path) -> None:
    """Ends the daemons; slurmd ends the jobs that still run."""
    pids = [int(path.read_text()) for path in (folder / "run").glob("*.pid")]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)


if __name__ == "__main__":
    with running_cluster() as path:
        print(f"export SLURM_CONF={path}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.sigwait({signal.SIGINT, signal.SIGTERM})
