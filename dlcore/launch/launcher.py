"""The command line of a launcher: its own flags, then the experiment's module with the experiment's flags."""

import shutil
import sys
from collections.abc import Callable
from typing import Any

from absl import app, flags

from dlcore.cli.errors import explain, fail
from dlcore.cli.parsing import own_flags, parse_leading_flags
from dlcore.utils.streams import open_missing

FLAGS = flags.FLAGS
FlagRow = tuple[Callable[..., Any], str, Any, str]


def run_launcher(rows: list[FlagRow], launch: Callable[[list[str]], int]) -> None:
    """Runs a launcher from its command line and ends the process; a mistake is one line on stderr and exit code 2.

    Args:
        rows: the launcher's flags: absl's function that defines one, its name, its default and its meaning.
        launch: gets the arguments after the launcher's own flags and returns the exit code. It raises ValueError or
            OSError for a mistake.
    """

    def main(arguments: list[str]) -> int:
        try:
            return launch(arguments[1:])
        except (ValueError, OSError) as error:
            fail(explain(error))

    open_missing()
    with own_flags(FLAGS):
        for define, name, default, meaning in rows:
            define(name, default, meaning, flag_values=FLAGS, module_name=sys.argv[0])
        app.run(main, flags_parser=parse_leading_flags)


def check_program(program: str, mend: str) -> None:
    """Checks that a program is on the ``PATH``.

    Args:
        program: its name.
        mend: what can be done without it.

    Raises:
        ValueError: it is not.
    """
    if shutil.which(program) is None:
        raise ValueError(f"--yes: got no {program} on the PATH, expected it to be installed; {mend}")


def check_at_least(flag: str, value: int | None, least: int) -> int:
    """The number that a flag gives, checked.

    Args:
        flag: the flag.
        value: its value; None if it is not given.
        least: the smallest value.

    Raises:
        ValueError: the value is smaller or missing.
    """
    if value is None or value < least:
        raise ValueError(f"{flag}: got {value}, expected a number >= {least}")
    return value
