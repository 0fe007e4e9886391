"""Every leaf of a Config as an absl flag, and the way back from presets, files and flags to a Config."""

import contextlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from absl import flags, logging

from dlcore import config as configs

C = TypeVar("C")

BAD_USAGE = 2


class LeafParser(flags.ArgumentParser):
    """Reads a leaf's text by its type and bounds, which also stand in its line of ``--help``."""

    def __init__(self, leaf: configs.Leaf):
        self.leaf = leaf
        self.syntactic_help = leaf.expected

    def parse(self, argument: Any) -> Any:
        return self.leaf.read(argument) if isinstance(argument, str) else argument

    def flag_type(self) -> str:
        return "setting"


class LeafSerializer(flags.ArgumentSerializer):
    """Writes a leaf's value as the text that `LeafParser` reads."""

    def serialize(self, value: Any) -> str:
        return configs.to_text(value)


def define(config: Any, module: str, values: flags.FlagValues) -> None:
    """Defines ``--config.PATH`` for every leaf of ``config``, whose values are the defaults.

    Args:
        config: a nested dataclass of `config.setting` leaves.
        module: the program, under whose name ``--help`` lists the flags.
        values: where the flags are defined, usually ``absl.flags.FLAGS``.
    """
    for leaf in configs.leaves(config):
        name = leaf.flag.removeprefix("--")
        meaning = leaf.help if leaf.value is not None else f"{leaf.help}\n(default: none)"
        if leaf.hint is bool:
            flags.DEFINE_boolean(name, leaf.value, meaning, values, module)
        else:
            flags.DEFINE(LeafParser(leaf), name, leaf.value, meaning, values, LeafSerializer(), module)


def parse(arguments: list[str]) -> list[str]:
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
    return rest


def run_folder(run: str | None, workdir: str | None) -> Path:
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


def given(config: C, values: flags.FlagValues) -> C:
    """``config`` with every leaf that the user gave on the command line."""
    found = {}
    for leaf in configs.leaves(config):
        flag = values[leaf.flag.removeprefix("--")]
        if flag.present:
            found[leaf.path] = flag.value
    return configs.replace(config, found)


def preset(presets: Mapping[str, C], name: str) -> C:
    """The preset of that name; ValueError, with the nearest name, where there is none."""
    if name not in presets:
        raise ValueError(
            f"--preset: got {name!r}, expected one of {', '.join(presets) or '(this experiment has none)'}"
            + configs.did_you_mean(name, presets)
        )
    return presets[name]


def read_file(config: C, path: Path, flag: str) -> C:
    """``config`` with the values of a run's ``config.json``.

    Raises:
        FileNotFoundError: no such file. ValueError: no JSON, unknown settings, values out of bounds.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{flag}: no file {path}; expected the config.json of a run")
    try:
        values = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{flag}: {path} is no JSON ({error}); expected the config.json of a run") from None
    if not isinstance(values, dict):
        raise ValueError(f"{flag}: {path} holds no settings; expected the config.json of a run")
    return configs.from_dict(config, values, f"{flag}: {path}")


@contextlib.contextmanager
def one_line_errors(config: Any, hint: str = "") -> Iterator[None]:
    """Turns what is wrong with a config or its data into one line that names the flag, and exit code 2.

    Errors name the argument first (``batch_size: got 0, ...``); where a setting has that name, the line
    says its flag; other errors end with the ``hint``. ``--verbosity=1`` shows the traceback.
    """
    try:
        yield
    except (ValueError, TypeError, OSError, ImportError) as error:
        logging.debug("traceback of the error below", exc_info=True)
        fail(with_flag(error, config) or f"{error}{hint}")


def fail(message: str) -> NoReturn:
    """Says what is wrong in one line on stderr and exits."""
    print("error:", " ".join(message.split()), file=sys.stderr)
    sys.exit(BAD_USAGE)


def with_flag(error: Exception, config: Any) -> str | None:
    """The error's message with the flag of the one setting that it begins with; None where it begins with none."""
    message = str(error)
    argument = re.match(r"(\w+): ", message)
    leaves = [leaf for leaf in configs.leaves(config) if argument and leaf.path.split(".")[-1] == argument[1]]
    if argument and len(leaves) == 1:
        return f"{leaves[0].flag}: {message.removeprefix(argument[0])}"
    return message if message.startswith("--") else None
