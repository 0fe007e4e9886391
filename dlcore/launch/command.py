"""The command that a launcher starts: an experiment's module with its flags, checked before anything is started."""

import importlib.util
import os
import pkgutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from absl import flags

from dlcore.cli.errors import read_error
from dlcore.config.settings import did_you_mean
from dlcore.utils.run_paths import choose_folder

INSPECT = ("--mode=inspect", "--nocompile")


@dataclass(frozen=True)
class Command:
    """An experiment with its flags.

    Attributes:
        module: the experiment's module, such as ``experiments.digits``.
        arguments: its flags, byte for byte as the user gave them; they name the run's folder.
        folder: the run's folder, an absolute path.
    """

    module: str
    arguments: tuple[str, ...]
    folder: Path

    @property
    def argv(self) -> list[str]:
        """The arguments of a Python interpreter that run it: ``-m MODULE FLAGS``."""
        return ["-m", self.module, *self.arguments]


def read_command(arguments: Sequence[str], *, elsewhere: bool = False) -> Command:
    """The command that stands after a launcher's own flags.

    A command without ``--run`` and ``--workdir`` gets a ``--workdir`` with the date and time, so that all processes
    of a job, and a job that is started again, have the same folder.

    Args:
        arguments: the experiment's module and its flags.
        elsewhere: True if the machines of the job have other folders than this one. The command then gets a ``--run``
            in place of a ``--workdir``.

    Raises:
        ValueError: there is no such module, or the flags name no folder that a run can have.
    """
    if not arguments:
        raise ValueError(
            "experiment: got none, expected a module such as experiments.digits after the launcher's flags"
        )
    module, *given = arguments
    check_module(module)
    (run, workdir), _ = split_flags(given, "run", "workdir")
    folder = choose_folder(run, workdir, module.split(".")[-1]).absolute()
    if (run, workdir) == (None, None):
        given.append(f"--run={folder.name}" if elsewhere else f"--workdir={folder}")
    return Command(module, tuple(given), folder)


def check_module(module: str) -> None:
    """Checks that Python finds a module; it imports the packages in which the module is, but not the module.

    Raises:
        ValueError: it does not; the message names a similar module if there is one.
    """
    package, _, name = module.rpartition(".")
    try:
        if importlib.util.find_spec(module) is not None:
            return
        found = importlib.util.find_spec(package) if package else None
    except (ImportError, ValueError):
        found = None
    paths = None if not package else list(found.submodule_search_locations or []) if found else []
    names = [entry.name for entry in pkgutil.iter_modules(paths)]
    raise ValueError(
        f"experiment: got {module!r}, expected a module that python -m finds in {os.getcwd()}, such as "
        f"experiments.digits{did_you_mean(name, names)}"
    )


def split_flags(arguments: Sequence[str], *names: str) -> tuple[tuple[str | None, ...], list[str]]:
    """Takes some flags out of those of an experiment.

    Args:
        arguments: the experiment's flags.
        names: the names of the flags to take, which have a value.

    Returns:
        The value of each named flag, None where it is not given; and the other arguments.

    Raises:
        ValueError: a named flag has no value.
    """
    values = flags.FlagValues()
    for name in names:
        flags.DEFINE_string(name, None, "", values)
    values.set_gnu_getopt(True)  # the value of an unknown flag does not end the flags
    try:
        _, *others = values(["experiment", *arguments], known_only=True)
    except flags.Error as error:
        raise ValueError(str(error)) from error
    return tuple(values[name].value for name in names), others


def check_command(command: Command, devices: int) -> None:
    """Builds the experiment in a process of its own: its flags, config, data, model and folder, on so many devices.

    Nothing is computed or written. The devices are described, so this machine needs no accelerator.

    Args:
        command: the command to check.
        devices: the number of devices of the job.

    Raises:
        ValueError: the experiment refuses its flags; the message is the experiment's own.
    """
    ended = subprocess.run(
        [sys.executable, *command.argv, *INSPECT, f"--target=cpu:{devices}"],
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        errors="backslashreplace",
        check=False,
    )
    if ended.returncode:
        raise ValueError(read_error(ended.stderr, ended.returncode))
