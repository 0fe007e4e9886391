"""What a Slurm job asks for: its settings, each with its check, and the lines ``#SBATCH`` of its script.

Slurm reads these lines itself, and no shell quotes them. So their values have no blank, quote, ``#`` or line break.
"""

import re
from dataclasses import dataclass

from dlcore.config.settings import Settings, setting

SECONDS_PER_DAY, SECONDS_PER_HOUR, SECONDS_PER_MINUTE = 86400, 3600, 60
CONTAINERS = ("apptainer", "enroot")


class TimeLimit(str):
    """A time in one of the forms of Slurm: M, M:S, H:M:S, D-H, D-H:M or D-H:M:S.

    Attributes:
        seconds: the time in seconds.

    >>> TimeLimit("90").seconds, TimeLimit("1:30").seconds, TimeLimit("4:00:00").seconds, TimeLimit("1-12").seconds
    (5400, 90, 14400, 129600)
    >>> TimeLimit("4h")
    Traceback (most recent call last):
        ...
    ValueError: time: got '4h', expected a time as M, M:S, H:M:S, D-H, D-H:M or D-H:M:S, such as 4:00:00
    """

    expected = "a time as M, M:S, H:M:S, D-H, D-H:M or D-H:M:S, such as 4:00:00"

    seconds: int

    def __new__(cls, text: str) -> "TimeLimit":
        form = re.fullmatch("(?:([0-9]{1,4})-)?([0-9]{1,6}(?::[0-9]{1,2}){0,2})", text)
        if not form:
            raise ValueError(f"time: got {text!r}, expected {cls.expected}")
        days, numbers = form[1], [int(number) for number in form[2].split(":")]
        # After days the first number is of hours; else the last one is of seconds, and a number alone is of minutes.
        units = [SECONDS_PER_HOUR, SECONDS_PER_MINUTE, 1]
        if days is None:
            units = units[-len(numbers) :] if len(numbers) > 1 else [SECONDS_PER_MINUTE]
        limit = super().__new__(cls, text)
        limit.seconds = int(days or 0) * SECONDS_PER_DAY
        limit.seconds += sum(number * unit for number, unit in zip(numbers, units, strict=False))
        if not limit.seconds:  # which Slurm takes as no limit at all
            raise ValueError(f"time: got {text!r}, expected a time > 0")
        return limit


class HeaderText(str):
    """The value of an option in a line ``#SBATCH``, for instance the name of a partition."""

    expected = "printable text without blanks, quotes, backslashes and #"

    def __new__(cls, text: str) -> "HeaderText":
        if not text or not text.isprintable() or re.search(r"[\s\"'\\#]", text):
            raise ValueError(f"text: got {text!r}, expected {cls.expected}")
        return super().__new__(cls, text)


class Container(str):
    """A container's image as ``apptainer:IMAGE`` or ``enroot:IMAGE``.

    Attributes:
        engine: the program that runs it.
        image: the image, as this program names it.
    """

    expected = "apptainer:IMAGE or enroot:IMAGE"

    engine: str
    image: str

    def __new__(cls, text: str) -> "Container":
        engine, _, image = text.partition(":")
        if engine not in CONTAINERS or not image:
            raise ValueError(f"container: got {text!r}, expected {cls.expected}")
        container = super().__new__(cls, text)
        container.engine, container.image = engine, image
        return container


@dataclass(frozen=True)
class SlurmJob(Settings):
    """The settings of a Slurm job. Each is a flag of ``launch/slurm``; ``setup`` and ``sbatch`` may be given often."""

    nodes: int = setting(1, "Number of nodes.", minimum=1)
    tasks_per_node: int = setting(
        1, "Processes on each node: one a GPU, or one that has all of them.", minimum=1
    )
    gpus_per_task: int = setting(0, "GPUs of each process; 0 trains on the CPU.", minimum=0)
    cpus_per_task: int | None = setting(None, "CPU cores of each process.", minimum=1)
    memory: HeaderText | None = setting(None, "Memory of each node, such as 64G.")
    time: TimeLimit | None = setting(
        None, "The time limit, such as 4:00:00; at its end the job is queued again."
    )
    partition: HeaderText | None = setting(None, "The partition, or several as a,b.")
    account: HeaderText | None = setting(None, "The account that pays.")
    qos: HeaderText | None = setting(None, "The quality of service.")
    constraint: HeaderText | None = setting(None, "Features that the nodes must have, such as a100|h100.")
    job_name: HeaderText | None = setting(
        None, "The job's name; none: those of the experiment and of the folder."
    )
    signal_seconds: int = setting(
        120, "Seconds before the time limit at which the run is told to save.", minimum=0, maximum=65535
    )
    max_restarts: int = setting(20, "How often the job may be queued again.", minimum=0)
    container: Container | None = setting(
        None, "Run in a container: apptainer:IMAGE or enroot:IMAGE (pyxis)."
    )
    python: str | None = setting(None, "The Python of the job; none: this one, or python3 in a container.")
    setup: tuple[str, ...] = ()
    sbatch: tuple[str, ...] = ()

    @property
    def devices(self) -> int:
        """The number of devices of the whole job; a process without GPUs has the CPU as one device."""
        return self.nodes * self.tasks_per_node * max(self.gpus_per_task, 1)


def check_job(job: SlurmJob) -> None:
    """Checks the settings of a job against each other, and the free options.

    Raises:
        ValueError: the run would be told to save before it starts; or an option is none, or is set already.
    """
    if job.time is not None and job.signal_seconds >= job.time.seconds:
        raise ValueError(
            f"--signal_seconds: got {job.signal_seconds} with --time={job.time}, expected less than the time limit, "
            f"which is {job.time.seconds} s"
        )
    own = {line.split("=")[0] for line in [*_own_options(job, "", ""), "--array", "--chdir", "--error"]}
    for option in job.sbatch:
        if not option.startswith("-") or not option.isprintable():
            raise ValueError(
                f"--sbatch: got {option!r}, expected an option of sbatch, such as --licenses=matlab"
            )
        if option.split("=")[0] in own:
            raise ValueError(f"--sbatch: got {option!r}, but launch/slurm sets {option.split('=')[0]} itself")


def header(job: SlurmJob, name: str, array: str) -> list[str]:
    """The options of a job's lines ``#SBATCH``, with the free ones.

    Args:
        job: the job.
        name: its name if it gives none.
        array: the indices of an array of jobs, such as ``0-3%2``; empty for one job.
    """
    return [*_own_options(job, name, array), *job.sbatch]


def _own_options(job: SlurmJob, name: str, array: str) -> list[str]:
    gpus = job.tasks_per_node * job.gpus_per_task
    values = {
        "job-name": job.job_name or name,
        "nodes": job.nodes,
        "ntasks-per-node": job.tasks_per_node,
        "cpus-per-task": job.cpus_per_task,
        # Not --gpus-per-task: then no process could reach the memory of the others' GPUs, which NCCL uses.
        "gpus-per-node": gpus or None,
        "mem": job.memory,
        "time": job.time,
        "partition": job.partition,
        "account": job.account,
        "qos": job.qos,
        "constraint": job.constraint,
        "array": array or None,
        "output": "slurm-%a.log" if array else "slurm.log",
        "open-mode": "append",
        "signal": f"USR1@{job.signal_seconds}" if job.signal_seconds else None,
    }
    lines = [f"--{option}={value}" for option, value in values.items() if value is not None]
    return [*lines, "--requeue"]
