"""Where the value of each setting comes from, for people who look at a config."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from dlcore.config.settings import leaves

DEFAULT, FLAG = "default", "flag"


class SourcedSetting(NamedTuple):
    """A setting with its value and the place that gave it.

    Attributes:
        path: the names of the fields that lead to the setting, joined by dots.
        text: the value as text.
        source: `DEFAULT`, `FLAG`, or the name of a preset or file.
    """

    path: str
    text: str
    source: str


def sourced_settings(
    layers: Sequence[tuple[str, Any]], given: Collection[str] = ()
) -> tuple[SourcedSetting, ...]:
    """The settings of a config with their sources: the last layer that changed the value, or a flag.

    Args:
        layers: the name and the config of each layer, from the default of the class to the whole config.
        given: the paths of the settings that the user gave by flags; they count also where they changed nothing.

    >>> from dlcore.training.mesh import MeshConfig
    >>> layers = [(DEFAULT, MeshConfig()), ("preset wide", MeshConfig(model=4)), (FLAG, MeshConfig(model=4))]
    >>> [(setting.path, setting.text, setting.source) for setting in sourced_settings(layers)][:2]
    [('data', 'none', 'default'), ('model', '4', 'preset wide')]
    """
    sources: dict[str, str] = {}
    before: dict[str, Any] = {}
    for name, config in layers:
        values = {leaf.path: leaf.value for leaf in leaves(config)}
        sources |= {
            path: name for path, value in values.items() if path not in before or value != before[path]
        }
        before = values
    return tuple(
        SourcedSetting(leaf.path, leaf.text, FLAG if leaf.path in given else sources[leaf.path])
        for leaf in leaves(layers[-1][1])
    )
