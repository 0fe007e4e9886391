"""How the command lines parse their flags: as absl does, with one line on stderr for a mistake."""

import contextlib
import io
import itertools
import re
import sys
from collections.abc import Iterator, Sequence

from absl import app, flags

from dlcore.cli.errors import fail
from dlcore.config.flags import old_flags_given
from dlcore.config.renamed import RENAMED
from dlcore.config.settings import did_you_mean
from dlcore.utils.streams import say


@contextlib.contextmanager
def own_flags(values: flags.FlagValues) -> Iterator[None]:
    """A context manager after which the flags that its block defined are gone, so that a process can define them again.

    Args:
        values: the place where the flags are defined, usually ``absl.flags.FLAGS``.
    """
    app.define_help_flags()  # absl defines these once in a process
    others = set(values)
    try:
        yield
    finally:
        for name in set(values) - others:
            delattr(values, name)


def parse_flags(arguments: list[str]) -> list[str]:
    """Parses flags as `parse_leading_flags` does; every argument must be a flag.

    Args:
        arguments: the program and its arguments, as ``absl.app.run(..., flags_parser=parse_flags)`` passes them.

    Returns:
        A list with the program alone.
    """
    _check_arguments(arguments)
    _help_if_asked(arguments)
    rest = parse_leading_flags(arguments)
    if len(rest) > 1:
        fail(f"{rest[1]}: no such argument; flags are --name=value, see --help")
    return rest


def parse_leading_flags(arguments: list[str]) -> list[str]:
    """Parses flags as absl does, but ends the process after help (exit code 0) and after a mistake (2).

    One line on stderr names the mistake. Another line on stderr tells the new name of each flag that was given by its
    old name.

    Args:
        arguments: the program and its arguments. The first one that is no flag, and all after it or after ``--``, are
            not parsed, since they may be the command of another program.

    Returns:
        A list of the program and the arguments that were not parsed.
    """
    values = flags.FLAGS
    _check_arguments(arguments)
    _help_if_asked(_leading(arguments))
    try:
        # absl's default level, INFO, makes libraries print much; warnings are enough unless the user asks for more.
        rest = read_flags(values, [arguments[0], "--verbosity=-1", *arguments[1:]])
    except ValueError as error:
        fail(str(error))
    for old, new in old_flags_given(values):
        say(f"note: {old} is now {new}")
    return rest


def read_flags(values: flags.FlagValues, arguments: Sequence[str]) -> list[str]:
    """Parses flags as absl does; an error says in dlcore's words what is wrong.

    Args:
        values: the flags, which get the values.
        arguments: the program and its arguments. The first one that is no flag ends the flags.

    Returns:
        A list of the program and the arguments that were not parsed.

    Raises:
        ValueError: there is no such flag, or its value has another type or is out of bounds.
    """
    values.set_gnu_getopt(False)
    try:
        return values(arguments)
    except flags.UnrecognizedFlagError as error:
        known = set(values) - {f"config.{old}" for old in RENAMED}
        similar = did_you_mean(error.flagname, known)
        raise ValueError(f"--{error.flagname}: no such flag, see --help{similar}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"--flagfile: {error}; expected a text file with one --name=value a line") from error
    except (flags.Error, ValueError) as error:  # absl's own flags raise ValueError
        raise ValueError(_reworded(str(error), arguments)) from error


def _check_arguments(arguments: list[str]) -> None:
    if not isinstance(arguments, list) or not arguments:
        raise TypeError(f"arguments: got {arguments!r}, expected the program and its arguments")


def _help_if_asked(arguments: list[str]) -> None:
    """Prints help and ends the process if one of the arguments asks for it."""
    if not {"--help", "-help", "-h", "-?", "--helpshort", "--helpfull"} & set(arguments):
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # help has letters that not every terminal knows
    print(sys.modules["__main__"].__doc__ or "", flags.FLAGS.module_help(arguments[0]), sep="\n")
    sys.exit(0)


def _reworded(message: str, arguments: Sequence[str]) -> str:
    """absl's message about a flag in dlcore's words, with the new name of a flag that was given by its old one."""
    message = re.sub(r"\('Non-boolean argument to boolean flag', .*\)", "expected true or false", message)
    message = re.sub(r"^ERROR:: Unable to open flagfile: \[Errno \d+\] ", "--flagfile: ", message)
    given = {argument.lstrip("-").split("=")[0] for argument in arguments}
    for old, new in RENAMED.items():
        if f"config.{old}" in given and message.startswith(f"flag --config.{new}="):
            message += f"; --config.{old} is now --config.{new}"
    return message


def _leading(arguments: list[str]) -> list[str]:
    """The program and the arguments before ``--`` and before the first that is no flag, as ``experiments.digits``."""
    is_flag = lambda argument: argument.startswith("-") and argument != "--"
    return [arguments[0], *itertools.takewhile(is_flag, arguments[1:])]
