"""Shows runs as a table: whether each waits, trains, is finished or stopped; its step, loss and time left:

    launch/status [RUN...]

RUN is a run's folder or the folder of a sweep, also with * and ?, or the name of a run, as in --run. Without one it is
every folder runs/*/*.
"""

import glob
from collections.abc import Iterator, Mapping
from pathlib import Path

from dlcore.launch.launcher import run_launcher
from dlcore.launch.run_state import RunState, read_job, read_state
from dlcore.launch.slurm_queue import JobState, has_slurm, read_states
from dlcore.utils.run_paths import CONFIG, LAUNCH, RUNS
from dlcore.utils.text import columns

COLUMNS = ("run", "state", "job", "restarts", "step", "loss", "left", "note")
NONE = "-"
SECONDS_PER_MINUTE, SECONDS_PER_HOUR = 60, 3600


def show(names: list[str]) -> int:
    """Prints the table of the named runs.

    Args:
        names: folders, patterns or names of runs; none means every run.

    Returns:
        The exit code 0.

    Raises:
        ValueError: a name is that of no run, or Slurm does not answer.
    """
    folders = list(dict.fromkeys(folder for name in names for folder in find_runs(name)))
    if not names:
        folders = [run for folder in sorted(Path(RUNS).glob("*/*")) for run in _runs_in(folder)]
    jobs = {folder: job for folder in folders if (job := read_job(folder)) is not None}
    states = read_states(list(jobs.values())) if has_slurm() else None
    rows = [row_of(read_state(folder), jobs.get(folder), states) for folder in folders]
    print(*columns([COLUMNS, *rows], left=len(COLUMNS)), sep="\n")
    return 0


def find_runs(name: str) -> list[Path]:
    """The folders of the runs that a name means, sorted.

    Args:
        name: a folder or a pattern of folders; or the name of a run, which stands for ``runs/*/NAME``.

    Raises:
        ValueError: there is no such run.
    """
    found = [Path(path) for path in (glob.glob(name) or glob.glob(f"{RUNS}/*/{glob.escape(name)}"))]
    if Path(name).exists():  # also one whose name has * or ?
        found = [Path(name)]
    runs = [run for folder in sorted(found, key=_in_order) for run in _runs_in(folder)]
    if not runs:
        raise ValueError(
            f"{name}: got no run, expected a run's folder, a pattern such as 'runs/*/*', or a run's name"
        )
    return runs


def _runs_in(folder: Path) -> Iterator[Path]:
    """The folder itself if it is a run's; the runs in it if it is a sweep's."""
    if (folder / CONFIG).is_file() or read_job(folder) is not None:
        yield folder
    elif (folder / LAUNCH).is_dir():
        inner = (path for path in folder.iterdir() if path.name != LAUNCH and path.is_dir())
        for path in sorted(inner, key=_in_order):
            yield from _runs_in(path)


def _in_order(path: Path) -> tuple[str, int, str]:
    """The key that sorts numbers as numbers."""
    return str(path.parent), int(path.name) if path.name.isdecimal() else -1, path.name


def row_of(run: RunState, job: str | None, states: Mapping[str, JobState] | None) -> tuple[str, ...]:
    """The row of a run in the table.

    Args:
        run: the state of the run by its folder.
        job: the number of its job; None if it has none.
        states: the states of Slurm's jobs by number; None where Slurm is not installed.
    """
    queued = (states or {}).get(job or "")
    alive = queued is not None and queued.is_alive
    note = ""
    if run.finished and not alive:
        state = "finished"
    elif queued is not None:
        state = queued.state.lower()
        note = "" if queued.reason == "None" else queued.reason
    elif run.trains:
        state = "running"
    else:
        state = "stopped"
        if job is not None:
            note = "the job is gone" if states is not None else "Slurm is not on this machine"
    steps = NONE if run.steps is None else f"{run.step}/{run.steps}"
    left = run.seconds_left if state == "running" else None
    restarts = NONE if queued is None else str(queued.restarts)
    loss = NONE if run.loss is None else f"{run.loss:.4g}"
    return str(run.folder), state, job or NONE, restarts, steps, loss, _duration(left), note


def _duration(seconds: float | None) -> str:
    """A time for people.

    >>> _duration(None), _duration(40), _duration(600), _duration(10_000)
    ('-', '40 s', '10 min', '2.8 h')
    """
    if seconds is None:
        return NONE
    if seconds < 2 * SECONDS_PER_MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * SECONDS_PER_HOUR:
        return f"{seconds / SECONDS_PER_MINUTE:.0f} min"
    return f"{seconds / SECONDS_PER_HOUR:.1f} h"


if __name__ == "__main__":
    run_launcher([], show)
