"""Many runs of one experiment: what each line of a file means, checked before anything starts."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dlcore.cli.command_line import CommandLine, load_command_line
from dlcore.config import settings
from dlcore.config.text import to_text
from dlcore.launch.command import Command, split_flags
from dlcore.launch.runs_file import read_each
from dlcore.training.config import Config

DIGITS = 16  # of a name: 2^64 names


@dataclass(frozen=True)
class PlannedRun:
    """A run that a line describes.

    Attributes:
        name: what its folder and its result are called, see `run_name`.
        arguments: its flags: those that all runs have, and then its own.
        config: its settings.
    """

    name: str
    arguments: tuple[str, ...]
    config: Config


@dataclass(frozen=True)
class Series:
    """Many runs of one experiment.

    Attributes:
        module: the experiment's module.
        mode: what each run does, as the flag ``--mode`` says.
        folder: the folder of all runs.
        runs: the runs, in the order of the file.
    """

    module: str
    mode: str
    folder: Path
    runs: Sequence[PlannedRun]


def plan_series(command: Command, path: Path) -> Series:
    """Reads a file of runs and checks every line.

    Args:
        command: the experiment with the flags that all runs have.
        path: the file.

    Raises:
        ValueError: the file describes no run, or some line is wrong: a flag that does not exist, a value that does not
            fit, or what an earlier line has, too: the same configuration, or the same folder for checkpoints.
        OSError: the file cannot be read.
        ImportError, Exception: as in `load_command_line`.
    """
    _, arguments = split_flags(command.arguments, "run", "workdir")
    (mode,), common = split_flags(arguments, "mode")
    planner = _Planner(load_command_line(command.module), command.module, mode or "train", common)
    runs = read_each("--runs", path, planner.plan)
    return Series(command.module, planner.mode, command.folder, runs)


class _Planner:
    """Plans runs one after the other, each of which must differ from those before.

    Args:
        command_line: that of the experiment.
        module: the experiment's module.
        mode: the mode of all runs.
        common: the flags of all runs.

    Raises:
        ValueError, FileNotFoundError: the flags of all runs are wrong.
    """

    def __init__(self, command_line: CommandLine, module: str, mode: str, common: list[str]):
        self.mode = mode
        self._command_line, self._module, self._common = command_line, module, common
        self._lines: dict[str, int] = {}
        command_line.config(common)  # a mistake in these flags is said once, and not of every line

    def plan(self, number: int, arguments: list[str]) -> PlannedRun:
        """The run that the flags in a line describe.

        Args:
            number: the number of the line.
            arguments: the flags.
        """
        given = [*self._common, *arguments]
        config = self._command_line.config(given)
        name = run_name(self._module, self.mode, config)
        self._check_first("the configuration", name, number)
        if config.checkpoint.folder is not None:
            self._check_first("--config.checkpoint.folder", str(config.checkpoint.folder), number)
        return PlannedRun(name, tuple(given), config)

    def _check_first(self, what: str, value: str, number: int) -> None:
        first = self._lines.setdefault(value, number)
        if first != number:
            raise ValueError(f"{what} is that of line {first}, expected another one for each run")


def run_name(module: str, mode: str, config: Config) -> str:
    """The name of a run: a hash of its experiment's module, its mode, and the settings that change what it computes.

    Settings that may change when a run goes on, such as ``train.prefetch``, do not count, and neither do the folder and
    the versions of the code and the libraries: as for a single run, what is finished stays finished. A new setting of
    the config class changes all names.

    Args:
        module: the module's name.
        mode: the mode.
        config: the run's config.
    """
    known = {leaf.path: canonical_text(leaf) for leaf in settings.leaves(config) if not leaf.may_change}
    text = json.dumps({"module": module, "mode": mode, "settings": known}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def canonical_text(leaf: settings.Leaf) -> str:
    """The text of a setting's value; equal values, such as 1 and 1.0 of a number, have equal texts."""
    may_be_float = isinstance(leaf.value, int | tuple)
    return to_text(leaf.read(leaf.text)) if may_be_float else leaf.text
