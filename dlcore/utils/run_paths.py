"""Where a run's folder is, ``runs/PROGRAM/NAME`` or the folder that the user names, and what its parts are called."""

import re
import sys
from datetime import datetime
from pathlib import Path

from dlcore.utils.files import user_path

RUNS = "runs"
CONFIG, RESULT, LOCK, TABLE = "config.json", "result.json", ".lock", "metrics.csv"  # files in a run's folder
CHECKPOINTS, LAUNCH = "checkpoints", "launch"  # folders in it
EVENTS = "events"  # the names of TensorBoard's files in it begin so


def program_name() -> str:
    """The name of the program that runs in this process, such as ``digits`` for ``python -m experiments.digits``."""
    spec = sys.modules["__main__"].__spec__
    return (spec.name if spec else Path(sys.argv[0]).stem).split(".")[-1]


def choose_folder(run: str | None, workdir: str | None, program: str) -> Path:
    """The path of a run's folder; it need not exist, and it is not made.

    Args:
        run: the run's name, for the folder ``runs/PROGRAM/NAME``; None means the date and time.
        workdir: the folder itself, in place of a name.
        program: the name of the experiment or sweep, see `program_name`.

    Raises:
        TypeError: the folder is no path.
        ValueError: both are given; the name is empty, begins with ``.`` or ``-``, or has other characters than
            letters, digits and ``. _ -``; or the folder is empty, a URL, no UTF-8, or in the home folder of an unknown
            user.
    """
    if run is not None and workdir is not None:
        raise ValueError("--run: got a --workdir too, expected one of them; --workdir is the folder itself")
    if workdir is not None:
        return user_path("--workdir", workdir)
    if run is None:
        return new_folder(program)
    if not isinstance(run, str) or not re.fullmatch(r"\w[\w.-]*", run):
        raise ValueError(f"--run: got {run!r}, expected letters, digits and . _ -; a path is --workdir")
    return Path(RUNS) / program / run


def new_folder(name: str) -> Path:
    """``runs/NAME/DATE_TIME``, with a number at its end if there is such a folder already; it is not made."""
    folder = Path(RUNS) / name / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    numbered = (folder.with_name(f"{folder.name}_{number}") for number in range(2, 10**9))
    return folder if not folder.exists() else next(path for path in numbered if not path.exists())
