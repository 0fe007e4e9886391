"""Settings as absl flags: every leaf of a Config becomes a flag, and the given flags change a Config."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from absl import flags

from dlcore.config import settings
from dlcore.config.renamed import RENAMED
from dlcore.config.text import to_text

C = TypeVar("C")


class LeafParser(flags.ArgumentParser):
    """An absl parser that reads the text of a setting by its type and bounds; ``--help`` also shows these.

    Args:
        leaf: the setting.
    """

    def __init__(self, leaf: settings.Leaf):
        self.leaf = leaf
        self.syntactic_help = leaf.expected

    def parse(self, argument: Any) -> Any:
        return self.leaf.read(argument) if isinstance(argument, str) else argument

    def flag_type(self) -> str:
        return "setting"


class LeafSerializer(flags.ArgumentSerializer):
    """An absl serializer that writes the value of a setting as text that `LeafParser` reads."""

    def serialize(self, value: Any) -> str:
        return to_text(value)


def define_flags(config: Any, module: str, values: flags.FlagValues) -> None:
    """Defines a flag ``--config.PATH`` for every setting of a config, and an alias for every old name of a setting.

    Args:
        config: a nested dataclass of settings, whose values become the defaults of the flags.
        module: the name of the program under which ``--help`` lists the flags.
        values: the place where the flags are defined, usually ``absl.flags.FLAGS``.
    """
    _check_values(values)
    if not isinstance(module, str):
        raise TypeError(f"module: got {module!r}, expected the name of a program")
    for leaf in settings.leaves(config):
        name = leaf.flag.removeprefix("--")
        meaning = leaf.help if leaf.value is not None else f"{leaf.help}\n(default: none)"
        if leaf.hint is bool:
            flags.DEFINE_boolean(name, leaf.value, meaning, values, module)
        else:
            flags.DEFINE(LeafParser(leaf), name, leaf.value, meaning, values, LeafSerializer(), module)
    _define_old_flags(config, values)


def _define_old_flags(config: Any, values: flags.FlagValues) -> None:
    """Defines the old name of every renamed setting as an alias, which ``--help`` does not list."""
    paths = {leaf.path for leaf in settings.leaves(config)}
    for old, new in RENAMED.items():
        if new in paths and old not in paths:
            flags.DEFINE_alias(f"config.{old}", f"config.{new}", values, __name__)


def old_flags_given(values: flags.FlagValues) -> Iterator[tuple[str, str]]:
    """Yields a pair (old flag, new flag) for every renamed setting that the user gave by its old name.

    An example is ``("--config.train.patience", "--config.train.hang_timeout")``.

    Args:
        values: the parsed flags.
    """
    _check_values(values)
    for old, new in RENAMED.items():
        if f"config.{old}" in values and values[f"config.{old}"].present:
            yield f"--config.{old}", f"--config.{new}"


def with_flags(config: C, values: flags.FlagValues) -> C:
    """A copy of the config with the values of all flags that the user gave on the command line.

    Args:
        config: a nested dataclass of settings.
        values: the parsed flags, which `define_flags` defined for such a config.
    """
    _check_values(values)
    found = {}
    for leaf in settings.leaves(config):
        flag = values[leaf.flag.removeprefix("--")]
        if flag.present:
            found[leaf.path] = flag.value
    return settings.replace(config, found)


def _check_values(values: Any) -> None:
    if not isinstance(values, flags.FlagValues):
        raise TypeError(f"values: got {values!r}, expected flags such as absl.flags.FLAGS")


def find_preset(presets: Mapping[str, C], name: str) -> C:
    """The config of the preset with this name.

    Args:
        presets: configs by name.
        name: the name that the user gave.

    Raises:
        ValueError: there is no such preset; the message lists the names, and suggests a similar one if there is one.
    """
    if not isinstance(presets, Mapping):
        raise TypeError(f"presets: got {presets!r}, expected a dict of configs by name")
    if not isinstance(name, str) or name not in presets:
        raise ValueError(
            f"--preset: got {name!r}, expected one of {', '.join(presets) or '(this experiment has none)'}"
            + settings.did_you_mean(name, presets)
        )
    return presets[name]
