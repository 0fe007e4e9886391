"""TODO."""

import re
import sys
from datetime import datetime
from pathlib import Path

from absl import flags

from dlcore.cli.errors import fail
from dlcore.config.flags import old_flags_given


def parse_flags(arguments: list[str]) -> list[str]:
    """absl's parser, with help that exits 0 and mistakes in one line; for ``absl.app.run(..., flags_parser=parse)``."""
    values = flags.FLAGS
    if {"--help", "-help", "-h", "--helpshort"} & set(arguments):
        print(sys.modules["__main__"].__doc__ or "", values.module_help(arguments[0]), sep="\n")
        sys.exit(0)
    try:
        # Warnings only unless the user asks: at absl's own default, INFO, libraries say much.
        rest = values([arguments[0], "--verbosity=-1", *arguments[1:]])
        if len(rest) > 1:
            fail(f"{rest[1]}: no such argument; flags are --name=value, see --help")
    except flags.Error as error:
        fail(str(error))
    for old, new in old_flags_given(values):
        print(f"note: {old} is now {new}", file=sys.stderr)
    return rest


def choose_folder(run: str | None, workdir: str | None) -> Path:
    """``workdir`` itself, or ``runs/PROGRAM/NAME`` of the name ``run``, in whose place the time of day stands.

    Raises:
        ValueError: both are given, or a name that is none.
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
