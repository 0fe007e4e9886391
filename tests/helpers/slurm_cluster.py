"""A real Slurm of two nodes on this machine, which tests start and stop.

python -m tests.helpers.slurm_cluster    # starts it until Ctrl-C, and prints how to use it
"""

import contextlib
import getpass
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.helpers.launched import is_gone

TEMPLATE = Path(__file__).with_name("slurm.conf")
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "scancel", "sinfo")
NODES = ("n1", "n2")


def missing_programs() -> list[str]:
    """The programs of Slurm that this machine lacks."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


@contextlib.contextmanager
def running_cluster() -> Iterator[Path]:
    """A context manager that starts the cluster, yields its ``slurm.conf``, and stops it with all of its jobs."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    for name in ("state", "run", "log", *(f"spool/{node}" for node in NODES)):
        (folder / name).mkdir(parents=True)
    conf = folder / "slurm.conf"
    conf.write_text(_configuration(folder))
    environment = {**os.environ, "SLURM_CONF": str(conf)}

    def call(*command: str) -> str:
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    try:
        call("slurmctld", "-c")
        for node in NODES:
            call("slurmd", "-N", node)
        wait_until(lambda: call("sinfo", "-h", "-p", "main", "-o", "%T %D").split() == ["idle", "2"], 30)
        yield conf
    finally:
        with contextlib.suppress(subprocess.CalledProcessError, AssertionError):
            call("scancel", "--user", getpass.getuser())
            wait_until(lambda: not call("squeue", "-h"), 30)
        _stop(folder)
        shutil.rmtree(folder, ignore_errors=True)


def wait_until(condition: Callable[[], bool], seconds: float, text: Callable[[], str] = str) -> None:
    """Waits until something is true; AssertionError with a text after too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, text()
        time.sleep(0.1)


def _configuration(folder: Path) -> str:
    text = TEMPLATE.read_text().replace("@FOLDER@", str(folder)).replace("@USER@", getpass.getuser())
    text = text.replace("@FIRST_JOB@", str(random.randrange(1, 10**6)))
    with contextlib.ExitStack() as stack:
        for name in ("CONTROL_PORT", "PORT_1", "PORT_2"):
            listening = stack.enter_context(socket.socket())
            listening.bind(("127.0.0.1", 0))
            text = text.replace(f"@{name}@", str(listening.getsockname()[1]))
    return text


def _stop(folder: Path) -> None:
    """Ends the daemons."""
    pids = [int(path.read_text()) for path in (folder / "run").glob("*.pid")]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    for pid in pids:
        is_gone(pid)  # waits for it


if __name__ == "__main__":
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    with running_cluster() as path:
        print(f"export SLURM_CONF={path}", flush=True)
        signal.sigwait(signals)
