"""The batch script of a Slurm job: the template ``slurm.sh`` with a job's settings, its command and its runs."""

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from dlcore.launch.command import Command
from dlcore.launch.slurm_job import SlurmJob, header

PLACE = re.compile(r"#SBATCH @option@|# @(?P<line>\w+)@|@(?P<word>\w+)@")


def render_script(
    job: SlurmJob,
    command: Command,
    runs: Mapping[int, Sequence[str]],
    *,
    parallel: int | None,
    project: Path,
    python_path: str,
) -> str:
    """The text of the batch script; no value of it can become a command or another argument.

    Args:
        job: the job's settings.
        command: the command of the job's only run, or the part that all runs of an array have.
        runs: the flags that each run of an array adds to it, by the run's index; empty for one run.
        parallel: how many runs of the array may run at the same time; None: as many as Slurm allows.
        project: the folder in which the runs start.
        python_path: their ``PYTHONPATH``.
    """
    limit = f"%{parallel}" if parallel else ""
    array = _index_ranges(sorted(runs)) + limit if runs else ""
    name = re.sub(r"[^\w.-]", "_", f"{command.module.split('.')[-1]}/{command.folder.name}")
    engine, options = container_words(job, [project, command.folder, *python_path.split(":")])
    python = job.python or (sys.executable if job.container is None else "python3")
    words = {
        "processes": str(job.nodes * job.tasks_per_node),
        "gpus_per_task": str(job.gpus_per_task),
        "max_restarts": str(job.max_restarts),
        "command": quote_all([*engine, python, *command.argv]),
        "project": quote(str(project)),
        "python_path": quote(python_path),
    }
    lines = {
        "run": _choice(runs),
        "setup": "\n".join(job.setup),
        "container": f"options+=({quote_all(options)})" if options else "",
    }
    return _fill(_template(), header(job, name, array), words, lines)


def _template() -> str:
    return files("dlcore.launch").joinpath("slurm.sh").read_text()


def _fill(template: str, options: Sequence[str], words: Mapping[str, str], lines: Mapping[str, str]) -> str:
    """The template with values in its places; what a value holds is no place. A line without a value is left out."""
    filled = []
    for line in template.splitlines():
        place = PLACE.fullmatch(line)
        if place and place["line"]:
            filled += [lines[place["line"]]] * bool(lines[place["line"]])
        elif place:
            filled += [f"#SBATCH {option}" for option in options]
        else:
            filled.append(PLACE.sub(lambda found: words[found["word"]], line))
    return "\n".join(filled) + "\n"


def _choice(runs: Mapping[int, Sequence[str]]) -> str:
    """The shell's choice of the flags of one run of an array; empty if no run adds any."""
    if not any(runs.values()):
        return ""
    cases = [f"{index}) command+=({quote_all(added)}) ;;" for index, added in sorted(runs.items())]
    return "\n".join(["case $SLURM_ARRAY_TASK_ID in", *cases, "esac"])


def _index_ranges(indices: Sequence[int]) -> str:
    """Sorted numbers as Slurm writes them.

    >>> _index_ranges([0, 1, 2, 5, 7, 8])
    '0-2,5,7-8'
    """
    ranges: list[list[int]] = []
    for index in indices:
        if ranges and ranges[-1][-1] == index - 1:
            ranges[-1] = [ranges[-1][0], index]
        else:
            ranges.append([index])
    return ",".join("-".join(map(str, ends)) for ends in ranges)


def container_words(job: SlurmJob, paths: Sequence[Path | str]) -> tuple[list[str], list[str]]:
    """The words before the Python in a container, and the options of ``srun`` for it; empty without a container.

    Args:
        job: the job.
        paths: the working folder, and what else the container sees under its own name; what is in an earlier one is
            seen with it.

    Raises:
        ValueError: a path has a ``:`` or a comma, which separate paths in the options of the container.
    """
    if job.container is None:
        return [], []
    given = [Path(path) for path in paths if str(path)]
    seen = [str(path) for i, path in enumerate(given) if not any(map(path.is_relative_to, given[:i]))]
    for path in seen:
        if re.search("[:,]", path):
            raise ValueError(
                f"--container: got the path {path!r} to show in it, expected none with : or a comma"
            )
    if job.container.engine == "enroot":
        mounts = ",".join(f"{path}:{path}" for path in seen)
        return [], [
            f"--container-image={job.container.image}",
            f"--container-mounts={mounts}",
            f"--container-workdir={seen[0]}",
        ]
    gpu = ["--nv"] if job.gpus_per_task else []
    binds = [f"--bind={path}" for path in seen]
    return ["apptainer", "exec", *gpu, *binds, f"--pwd={seen[0]}", job.container.image], []


def quote(word: str) -> str:
    """A word for bash, on one line; Slurm refuses scripts with the line ends of DOS.

    >>> quote("a b"), quote("$(x)"), quote("two\\nlines'")
    ("'a b'", "'$(x)'", "$'two\\\\nlines\\\\''")
    """
    if not re.search(r"[\x00-\x1f\x7f]", word):
        quoted = shlex.quote(word)
        # shellcheck asks about a bare comma
        return f"'{quoted}'" if quoted == word and "," in word else quoted
    escaped = re.sub(r"[\\']", r"\\\g<0>", word).replace("\n", r"\n")
    return "$'" + re.sub(r"[\x00-\x1f\x7f]", lambda found: rf"\{ord(found[0]):03o}", escaped) + "'"


def quote_all(words: Sequence[str]) -> str:
    """Words for bash, separated by blanks."""
    return " ".join(map(quote, words))
