"""What the command lines of experiments and sweeps share: how flags are parsed and which folder a run gets."""

import contextlib
import inspect
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import app, flags

from dlcore.cli.errors import fail
from dlcore.config.flags import old_flags_given
from dlcore.config.renamed import RENAMED
from dlcore.config.settings import did_you_mean
from dlcore.runs.train import RUNS, new_folder
from dlcore.utils.checks import shown
from dlcore.utils.files import user_path
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
    """Parses flags as absl does, but ends the process after help (exit code 0) and after a mistake (2).

    One line on stderr names the mistake. Another line on stderr tells the new name of each flag that was given by its
    old name.

    Args:
        arguments: the program and its arguments, as ``absl.app.run(..., flags_parser=parse_flags)`` passes them.

    Returns:
        A list with the program alone, since every other argument must be a flag.
    """
    values = flags.FLAGS
    if not isinstance(arguments, list) or not arguments:
        raise TypeError(f"arguments: got {arguments!r}, expected the program and its arguments")
    if {"--help", "-help", "-h", "-?", "--helpshort", "--helpfull"} & set(arguments):
        _print_help(values.module_help(arguments[0]))
        sys.exit(0)
    try:
        # absl's default level, INFO, makes libraries print much; warnings are enough unless the user asks for more.
        rest = values([arguments[0], "--verbosity=-1", *arguments[1:]])
        if len(rest) > 1:
            fail(f"{rest[1]}: no such argument; flags are --name=value, see --help")
    except flags.UnrecognizedFlagError as error:
        known = set(values) - {f"config.{old}" for old in RENAMED}
        fail(f"--{error.flagname}: no such flag, see --help{did_you_mean(error.flagname, known)}")
    except UnicodeDecodeError as error:
        fail(f"--flagfile: {error}; expected a text file with one --name=value a line")
    except (flags.Error, ValueError) as error:  # absl's own flags raise ValueError
        fail(_reworded(str(error), arguments))
    for old, new in old_flags_given(values):
        say(f"note: {old} is now {new}")
    return rest


def _print_help(text: str) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # help has letters that not every terminal knows
    print(sys.modules["__main__"].__doc__ or "", text, sep="\n")


def _reworded(message: str, arguments: list[str]) -> str:
    """absl's message about a flag in dlcore's words, with the new name of a flag that was given by its old one."""
    message = re.sub(r"\('Non-boolean argument to boolean flag', .*\)", "expected true or false", message)
    message = re.sub(r"^ERROR:: Unable to open flagfile: \[Errno \d+\] ", "--flagfile: ", message)
    given = {argument.lstrip("-").split("=")[0] for argument in arguments}
    for old, new in RENAMED.items():
        if f"config.{old}" in given and message.startswith(f"flag --config.{new}="):
            message += f"; --config.{old} is now --config.{new}"
    return message


def check_config_class(config_class: Any, base: type, name: str) -> None:
    """Checks that a class of settings is a dataclass that is derived from another one.

    Args:
        config_class: the class to check.
        base: the class from which it must be derived.
        name: what error messages call ``base``.

    Raises:
        TypeError: it is not.
    """
    if not (isinstance(config_class, type) and issubclass(config_class, base)):
        raise TypeError(f"config_class: got {shown(config_class)}, expected a class derived from {name}")
    if inspect.get_annotations(config_class) and "__dataclass_fields__" not in vars(config_class):
        raise TypeError(
            f"config_class: got {config_class}, expected @dataclass above it, which makes its settings"
        )


def choose_folder(run: str | None, workdir: str | None) -> Path:
    """The path of a run's folder; it need not exist, and it is not made.

    Args:
        run: the run's name, for the folder ``runs/PROGRAM/NAME``; None means the date and time.
        workdir: the folder itself, in place of a name.

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
    spec = sys.modules["__main__"].__spec__
    program = (spec.name if spec else Path(sys.argv[0]).stem).split(".")[-1]
    if run is None:
        return new_folder(program)
    if not isinstance(run, str) or not re.fullmatch(r"\w[\w.-]*", run):
        raise ValueError(f"--run: got {run!r}, expected letters, digits and . _ -; a path is --workdir")
    return Path(RUNS) / program / run
