"""An experiment's command line as a value: what its module passes to `dl.run`, without running it.

A program that runs an experiment many times, or that only asks what flags mean, needs the config class, the function
and the presets that stand in the module's ``if __name__ == "__main__":``. `load_command_line` imports the module under
its own name, so that its classes and functions can be imported again, and executes that block in a copy of the
module's namespace. `dl.run` then hands over its arguments in place of reading flags.
"""

import ast
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import CodeType, ModuleType
from typing import Any, Generic, TypeVar

from absl import flags

from dlcore.cli.parsing import read_flags
from dlcore.config import settings
from dlcore.config.files import read_config
from dlcore.config.flags import define_flags, find_preset, with_flags
from dlcore.training.config import Config
from dlcore.training.experiment import Experiment
from dlcore.training.origin import MAIN
from dlcore.utils.files import user_path

C = TypeVar("C", bound=Config)

_loading: ContextVar[bool] = ContextVar("loading", default=False)


@dataclass(frozen=True)
class CommandLine(Generic[C]):
    """The command line of an experiment; the attributes are the arguments of `dl.run`.

    Attributes:
        config_class: the class of its configs.
        experiment: the function ``experiment(config)``.
        presets: whole configs by name.
    """

    config_class: type[C]
    experiment: Callable[[C], Experiment]
    presets: Mapping[str, C]

    def config(self, arguments: Sequence[str]) -> C:
        """The checked config that flags describe: ``--config.PATH``, ``--preset`` and ``--from_config``.

        Args:
            arguments: the flags.

        Raises:
            ValueError: there is no such flag or preset, an argument is no flag, or a value has another type or is out
                of bounds.
            FileNotFoundError: the file of ``--from_config`` is not there.
        """
        values = self._flags
        values.unparse_flags()
        rest = read_flags(values, ["", *arguments])
        if len(rest) > 1:
            raise ValueError(f"{rest[1]}: no such argument; flags are --name=value")
        default = self.config_class()
        _, base = named_config(default, self.presets, values) or ("", default)
        config = with_flags(base, values)
        settings.check(config)
        return config

    @functools.cached_property
    def _flags(self) -> flags.FlagValues:
        """The flags of a config; to define them takes longer than to parse them."""
        values = flags.FlagValues()
        for name in ("preset", "from_config"):
            flags.DEFINE_string(name, None, "", values)
        define_flags(self.config_class(), "", values)
        return values


def named_config(config: C, presets: Mapping[str, C], values: flags.FlagValues) -> tuple[str, C] | None:
    """The name and the config of the file or the preset that the flags name; None if they name none.

    Args:
        config: the default config.
        presets: whole configs by name.
        values: the parsed flags, with ``preset`` and ``from_config``.

    Raises:
        ValueError: both are named, there is no such preset, or the file is no ``config.json`` of such a config.
        FileNotFoundError: there is no such file.
    """
    if values.preset is not None and values.from_config is not None:
        raise ValueError("--preset: got a --from_config too, expected one of them")
    if values.from_config is not None:
        path = user_path("--from_config", values.from_config)
        return str(path), read_config(config, path, "--from_config")
    return None if values.preset is None else (f"preset {values.preset}", find_preset(presets, values.preset))


def load_command_line(module: str) -> CommandLine[Any]:
    """The command line of an experiment's module, as ``python -m MODULE`` has it; nothing runs.

    The module is imported, and stays imported, under its own name: `dl.load` finds the experiment of a run that is
    trained with it.

    Args:
        module: the module's name, such as ``experiments.digits``.

    Raises:
        ValueError: the module does not call `dl.run` where ``python -m`` runs it, or its source is not there.
        ImportError: there is no such module.
        Exception: whatever the module raises.

    >>> load_command_line("experiments.temporal_order").config(["--preset=paper", "--config.seed=3"]).length
    100
    """
    found = _handed_over(module)
    if found is None:
        raise ValueError(
            f"experiment: got {module!r}, which calls no dl.run, expected an experiment's module"
        )
    if not isinstance(found, CommandLine):
        raise ValueError(f"experiment: got {module!r}, which is a sweep, expected a module that calls dl.run")
    return found


def hand_over(command_line: Any) -> None:
    """Ends the module's code and hands its command line over if `load_command_line` asks; else does nothing.

    Args:
        command_line: a `CommandLine`; anything else says that the module has a command line of another kind.
    """
    if _loading.get():
        raise _HandedOver(command_line)


class _HandedOver(BaseException):
    """Carries a command line out of a module's code, which must not go on after `dl.run`."""


def _handed_over(module: str) -> Any:
    token = _loading.set(True)
    try:
        found = import_module(_program(module))
        exec(_main_block(found), {**vars(found), "__name__": MAIN})
    except _HandedOver as handed:
        return handed.args[0]
    except SystemExit:  # a program of another kind
        return None
    finally:
        _loading.reset(token)
    return None


def _program(module: str) -> str:
    """The module that ``python -m`` runs: of a package it is ``__main__`` in it."""
    spec = find_spec(module)
    if spec is None:
        raise ImportError(f"experiment: got {module!r}, expected a module that Python finds")
    return module if spec.submodule_search_locations is None else f"{module}.{MAIN}"


def _main_block(module: ModuleType) -> CodeType:
    """The statements of a module that depend on ``__name__``, as ``if __name__ == "__main__":`` does."""
    try:
        source = inspect.getsource(module)
    except OSError as error:
        raise ValueError(
            f"experiment: got {module.__name__!r}, whose source is not there ({error})"
        ) from error
    tree = ast.parse(source)
    tree.body = [part for part in tree.body if isinstance(part, ast.If) and _asks_for_name(part.test)]
    return compile(tree, str(module.__file__), "exec", dont_inherit=True)


def _asks_for_name(test: ast.expr) -> bool:
    return any(isinstance(node, ast.Name) and node.id == "__name__" for node in ast.walk(test))
