"""Submits an experiment as a Slurm job, which goes on by itself after a preemption and after its time limit:

    launch/slurm --nodes=2 --tasks_per_node=4 --gpus_per_task=1 --time=4:00:00 -- experiments.adding [--flags]

The flags before -- describe the job, those after the experiment are its own. With --sweep=FILE, each line of the file
has the flags of one run of an array of jobs. With --runs=FILE --workers=20, it is the flags of one of many small runs,
which workers do one after the other; the job is that of a worker.
"""

import contextlib
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from dlcore.config import settings
from dlcore.launch import slurm_workers
from dlcore.launch.command import Command, check_command, read_command, split_flags
from dlcore.launch.launcher import FLAGS, FlagRow, check_at_least, run_launcher
from dlcore.launch.run_state import is_finished, read_job, write_job
from dlcore.launch.runs_file import read_runs
from dlcore.launch.series.job import FLAG_ROWS, check_first, do_runs, plan_runs
from dlcore.launch.slurm_job import SlurmJob, check_job
from dlcore.launch.slurm_queue import has_slurm, read_states, submit
from dlcore.launch.slurm_script import quote, quote_all, render_script
from dlcore.utils.files import atomic_write, user_path
from dlcore.utils.locks import is_locked
from dlcore.utils.run_paths import CONFIG, LAUNCH, LOCK
from dlcore.utils.streams import say

SCRIPT, LOG = "slurm.sh", "slurm.log"
REPLACED = re.compile(r"[%\\]")  # Slurm replaces these in the path of a log
OWN = ("setup", "sbatch")  # settings whose flag may be given several times
TRAIN = "train"  # the default mode of an experiment


def flag_rows() -> list[FlagRow]:
    """The flags of the command line: the settings of a `SlurmJob`, the sweep and ``--dry_run``."""
    leaves = [leaf for leaf in settings.leaves(SlurmJob()) if leaf.path not in OWN]
    return [
        *((flags.DEFINE_string, leaf.path, leaf.text, leaf.help) for leaf in leaves),
        (
            flags.DEFINE_multi_string,
            "setup",
            [],
            "A line of shell before the run, such as 'module load cuda'.",
        ),
        (flags.DEFINE_multi_string, "sbatch", [], "Another option of sbatch, such as --licenses=matlab."),
        (
            flags.DEFINE_string,
            "sweep",
            None,
            "A file with the flags of one run on each line: an array of jobs.",
        ),
        (
            flags.DEFINE_integer,
            "sweep_parallel",
            None,
            "How many runs of the sweep may run at the same time.",
        ),
        (
            flags.DEFINE_boolean,
            "dry_run",
            False,
            "Check all, print the script, and submit and write nothing.",
        ),
        *FLAG_ROWS,
        *slurm_workers.ROWS,
    ]


def launch(arguments: list[str]) -> int:
    """Checks, renders and submits the job that the parsed flags describe.

    Args:
        arguments: the experiment's module and its flags.

    Returns:
        The exit code 0.

    Raises:
        ValueError, OSError: a flag, the experiment or a folder is wrong, or Slurm refuses the job; then nothing was
            submitted or written.
    """
    job = _read_job()
    check_job(job)
    command = read_command(arguments)
    if not FLAGS.dry_run and not shutil.which("sbatch"):
        raise ValueError(
            "sbatch: not on the PATH; call launch/slurm on a login node of the cluster, or --dry_run"
        )
    if FLAGS.runs is not None:
        return _do_runs(job, command)
    base, runs = _read_sweep(command)
    _check_folders(command, runs)
    todo = _unfinished(command, runs)
    script = render_script(
        job,
        base,
        todo,
        parallel=FLAGS.sweep_parallel,
        project=Path.cwd(),
        python_path=os.environ.get("PYTHONPATH", ""),
    )
    _check_commands(base, list(todo.values()), job.devices)
    if FLAGS.dry_run:
        sys.stdout.buffer.write(os.fsencode(script))
        return 0
    number = _submit(script, command.folder, todo)
    _print_commands(number, command, bool(todo), arguments)
    return 0


def _do_runs(job: SlurmJob, command: Command) -> int:
    """Does many runs on workers that Slurm starts; returns the exit code."""
    if FLAGS.sweep is not None:
        raise ValueError("--sweep: got --runs too, expected one of them")
    workers = slurm_workers.check_workers(job, FLAGS.workers)
    series = plan_runs(command, FLAGS.runs)
    check_first(series, job.devices)
    if FLAGS.dry_run:
        script = slurm_workers.render_workers(job, command.folder, range(workers))
        sys.stdout.buffer.write(os.fsencode(script))
        return 0
    options = {"adaptive": FLAGS.adaptive, "host": FLAGS.host}
    open_cluster = lambda missing: slurm_workers.slurm_cluster(
        job, min(workers, missing), command.folder, **options
    )
    return do_runs(series, open_cluster, isolate=FLAGS.isolate)


def _read_job() -> SlurmJob:
    given: dict[str, Any] = {}
    for leaf in settings.leaves(SlurmJob()):
        value: Any = FLAGS[leaf.path].value
        try:
            given[leaf.path] = tuple(value) if leaf.path in OWN else leaf.read(value)
        except ValueError as error:
            raise ValueError(f"--{leaf.path}: got {value!r}, {error}") from None
    return settings.replace(SlurmJob(), given)


def _read_sweep(command: Command) -> tuple[Command, dict[int, list[str]]]:
    """The flags that all runs share, and what each run of a sweep adds to them by its index; no run without a sweep."""
    parallel = FLAGS.sweep_parallel
    if FLAGS.sweep is None:
        if parallel is not None:
            raise ValueError(f"--sweep_parallel: got {parallel} without a --sweep, expected a file of runs")
        return command, {}
    if parallel is not None:
        check_at_least("--sweep_parallel", parallel, 1)
    if (command.folder / CONFIG).exists():
        raise ValueError(
            f"{command.folder}: holds a run; a sweep needs a folder of its own, choose another --run"
        )
    if REPLACED.search(str(command.folder)):
        raise ValueError(f"{command.folder}: got % or a backslash in the folder of a sweep, expected none")
    _, shared = split_flags(command.arguments, "run", "workdir")
    lines = read_runs("--sweep", user_path("--sweep", FLAGS.sweep))
    runs = {index: [*line, f"--workdir={_run_folder(command, index)}"] for index, line in enumerate(lines)}
    return Command(command.module, tuple(shared), command.folder), runs


def _run_folder(command: Command, index: int) -> Path:
    """The folder of one run of a sweep."""
    return command.folder / str(index)


def _run_folders(command: Command, runs: Iterable[int]) -> list[Path]:
    """The folders of the runs of a sweep, or of the only run."""
    return [_run_folder(command, index) for index in runs] or [command.folder]


def _check_folders(command: Command, runs: Iterable[int]) -> None:
    """Raises ValueError if a run is queued or trains."""
    folders = _run_folders(command, runs)
    jobs = {job: folder for folder in folders if (job := read_job(folder)) is not None}
    states = read_states(list(jobs)) if has_slurm() else {}
    for job, folder in jobs.items():
        if job in states and states[job].is_alive:
            raise ValueError(f"{folder}: job {job} is {states[job].state}; wait for it, or scancel {job}")
    for folder in folders:
        if is_locked(folder / LOCK):
            raise ValueError(f"{folder}: a process trains in it; wait until it ends, or choose another --run")


def _unfinished(command: Command, runs: Mapping[int, list[str]]) -> dict[int, list[str]]:
    """The runs of a sweep that are not finished yet; all of them if they do something else, or train on.

    Raises:
        ValueError: all runs, or the only one, are finished.
    """
    (mode, steps), _ = split_flags(command.arguments, "mode", "config.train.steps")
    if mode not in (None, TRAIN) or steps is not None:
        return dict(runs)
    if all(map(is_finished, _run_folders(command, runs))):
        raise ValueError(
            f"{command.folder}: is finished; choose another --run, or train on with more --config.train.steps"
        )
    return {index: added for index, added in runs.items() if not is_finished(_run_folder(command, index))}


def _check_commands(base: Command, added: Sequence[Sequence[str]], devices: int) -> None:
    """Checks the command; of a sweep, one run of each set of flags."""
    say(f"checking {base.module} on {devices} devices")
    if not added:
        check_command(base, devices)
    kinds = {tuple(word.split("=")[0] for word in line if word.startswith("-")): line for line in added}
    for line in kinds.values():
        check_command(Command(base.module, (*base.arguments, *line), base.folder), devices)


def _submit(script: str, folder: Path, todo: Mapping[int, Sequence[str]]) -> str:
    """Submits the script and returns the number of its job; the script stays in the folder ``launch``."""
    place = folder / LAUNCH
    with _made_folder(place):
        number = submit(script, place, place / LOG if REPLACED.search(str(place)) else None)
    with atomic_write(place / SCRIPT) as file:
        file.buffer.write(os.fsencode(script))
    for index in todo:
        write_job(folder / str(index), f"{number}_{index}", place / f"slurm-{index}.log")
    if not todo:
        write_job(folder, number, place / LOG)
    return number


@contextlib.contextmanager
def _made_folder(folder: Path) -> Iterator[None]:
    """A context manager that makes a folder and those above it; if the block raises, it takes them away again."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


def _print_commands(number: str, command: Command, is_sweep: bool, rest: Sequence[str]) -> None:
    """Prints the job and the commands that follow, show, cancel and resume it, each ready for a shell."""
    place = command.folder / LAUNCH
    own = [word for word in sys.argv[1 : len(sys.argv) - len(rest)] if word != "--"]
    print(f"job {number}: {place / SCRIPT}")
    print("follow: tail -F", quote(str(place)) + ("/slurm-*.log" if is_sweep else f"/{LOG}"))
    print("state:  launch/status", quote(str(command.folder)))
    print("cancel: scancel", number)
    print("resume: launch/slurm", quote_all([*own, "--", command.module, *command.arguments]), flush=True)


if __name__ == "__main__":
    run_launcher(flag_rows(), launch)
