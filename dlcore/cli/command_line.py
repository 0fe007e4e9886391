"""What the command lines of experiments and sweeps share: how flags are parsed and which folder a run gets."""

import re
import sys
from datetime import datetime
from pathlib import Path

from absl import flags

from dlcore.cli.errors import fail
from dlcore.config.flags import old_flags_given
from dlcore.config.renamed import RENAMED
from dlcore.config.settings import did_you_mean


def parse_flags(arguments: list[str]) -> list[str]:
    """Parses flags as absl does, but ends the process after help (exit code 0) and after a mistake (2).

    One line on stderr names the mistake. Another line on stderr tells the new name of each flag that was given by its
    old name.

    Args:
        arguments: the program and its arguments, as ``absl.app.run(..., flags_parser=parse_flags)`` passes them.

    Returns:
        A list with the program alone, since every other argument must be a flag.
    """
    values = flags.FLAGS
    if {"--help", "-help", "-h", "--helpshort"} & set(arguments):
        print(sys.modules["__main__"].__doc__ or "", values.module_help(arguments[0]), sep="\n")
        sys.exit(0)
    try:
        # absl's default level, INFO, makes libraries print much; warnings are enough unless the user asks for more.
        rest = values([arguments[0], "--verbosity=-1", *arguments[1:]])
        if len(rest) > 1:
            fail(f"{rest[1]}: no such argument; flags are --name=value, see --help")
    except flags.UnrecognizedFlagError as error:
        known = set(values) - {f"config.{old}" for old in RENAMED}
        fail(f"--{error.flagname}: no such flag, see --help{did_you_mean(error.flagname, known)}")
    except flags.Error as error:
        fail(str(error))
    for old, new in old_flags_given(values):
        print(f"note: {old} is now {new}", file=sys.stderr)
    return rest


def choose_folder(run: str | None, workdir: str | None) -> Path:
    """The path of a run's folder; it need not exist, and it is not made.

    Args:
        run: the run's name, for the folder ``runs/PROGRAM/NAME``; None means the date and time.
        workdir: the folder itself, in place of a name.

    Raises:
        ValueError: both are given; or the name is empty, begins with ``.`` or ``-``, or has other characters than
            letters, digits and ``. _ -``.
    """
    if run and workdir:
        raise ValueError("--run: got a --workdir too, expected one of them; --workdir is the folder itself")
    if workdir:
        return Path(workdir).expanduser()
    name = datetime.now().strftime("%Y-%m-%d_%H-%M-%S") if run is None else run
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise ValueError(f"--run: got {run!r}, expected letters, digits and . _ -; a path is --workdir")
    spec = sys.modules["__main__"].__spec__
    return Path("runs") / (spec.name if spec else Path(sys.argv[0]).stem).split(".")[-1] / name
