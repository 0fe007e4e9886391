"""The queue of Slurm: submits a script, and reads the states of jobs."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS = 60  # Slurm's programs try for long to reach a controller that is away
ENDED = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"),
    *("REVOKED", "TIMEOUT"),
}
UNKNOWN_JOB = "Invalid job id specified"


@dataclass(frozen=True)
class JobState:
    """What Slurm says of a job.

    Attributes:
        state: Slurm's word, such as PENDING or RUNNING.
        reason: why the job waits or ended, such as Resources; "None" if there is no reason.
        restarts: how often the job was queued again.
    """

    state: str
    reason: str
    restarts: int

    @property
    def is_alive(self) -> bool:
        """True if the job waits, runs, or will run again."""
        return self.state not in ENDED


def has_slurm() -> bool:
    """True if the programs of Slurm are on the ``PATH``."""
    return shutil.which("squeue") is not None


def read_states(jobs: Sequence[str]) -> dict[str, JobState]:
    """The states of jobs by their number; a job that Slurm has forgotten is not in the dict.

    Args:
        jobs: the numbers, such as ``"12"``, or ``"12_3"`` of a job in an array.

    Raises:
        ValueError: Slurm does not answer.
    """
    if not jobs:
        return {}
    columns = "JobArrayID:|,State:|,RestartCnt:|,Reason:|"
    ended = _call(
        ["squeue", "--noheader", "--array", "--states=all", f"--jobs={','.join(jobs)}", "-O", columns]
    )
    if ended.returncode and UNKNOWN_JOB not in ended.stderr:
        raise ValueError(f"squeue: {_last_words(ended)}")
    rows = (line.split("|") for line in ended.stdout.splitlines() if line.count("|") >= 4)
    return {row[0].strip(): JobState(row[1].strip(), row[3].strip(), int(row[2])) for row in rows}


def submit(script: str, folder: Path, log: Path | None = None) -> str:
    """Submits a batch script.

    Args:
        script: its text.
        folder: the folder in which the job starts.
        log: the file of its output, for a path in which Slurm would replace letters; None: the script names it.

    Returns:
        The number of the job.

    Raises:
        ValueError: Slurm refuses it, or does not answer.
    """
    output = [] if log is None else ["--output=" + re.sub(r"[\\%]", r"\\\g<0>", str(log))]
    ended = _call(["sbatch", "--parsable", f"--chdir={folder}", *output], os.fsencode(script))
    if ended.returncode:
        raise ValueError(f"sbatch: {_last_words(ended)}; nothing was submitted")
    return ended.stdout.strip().split(";")[0]


def cancel(jobs: Sequence[str]) -> None:
    """Takes jobs out of the queue, also those that run; nothing is said of those that have ended.

    Args:
        jobs: their numbers.
    """
    if jobs:
        _call(["scancel", "--quiet", *jobs])


def _call(command: list[str], given: bytes = b"") -> subprocess.CompletedProcess[str]:
    try:
        ended = subprocess.run(command, input=given, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise ValueError(
            f"{command[0]}: got no answer in {SECONDS} s, expected a controller of Slurm"
        ) from None
    texts = (stream.decode(errors="backslashreplace") for stream in (ended.stdout, ended.stderr))
    return subprocess.CompletedProcess(command, ended.returncode, *texts)


def _last_words(ended: subprocess.CompletedProcess[str]) -> str:
    """The last line of a program's errors, without the program's name."""
    lines = [line for line in ended.stderr.splitlines() if line.strip()] or [f"exit code {ended.returncode}"]
    return lines[-1].removeprefix(f"{ended.args[0]}: ").removeprefix("error: ")
