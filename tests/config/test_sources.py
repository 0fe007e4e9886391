"""The sources of settings: the last place that changed a value, or a flag."""

from dataclasses import dataclass, field

import pytest

from dlcore.config.settings import Settings, replace, setting
from dlcore.config.sources import DEFAULT, FLAG, SourcedSetting, sourced_settings


@dataclass
class Inner(Settings):
    rate: float = setting(0.1, "A rate.")
    sizes: tuple[int, ...] = setting((8, 16), "Sizes.")


@dataclass
class Config(Settings):
    steps: int = setting(3, "Steps.")
    name: str | None = setting(None, "A name.")
    inner: Inner = field(default_factory=Inner)


def sources(layers, given=()):
    return {one.path: one.source for one in sourced_settings(layers, given)}


def test_the_last_layer_that_changes_a_value_is_its_source():
    preset = replace(Config(), {"steps": 5, "inner.rate": 0.2})
    whole = replace(preset, {"inner.rate": 0.3, "name": "a"})
    found = sourced_settings([(DEFAULT, Config()), ("preset x", preset), (FLAG, whole)])
    assert found == (
        SourcedSetting("steps", "5", "preset x"),
        SourcedSetting("name", "a", FLAG),
        SourcedSetting("inner.rate", "0.3", FLAG),
        SourcedSetting("inner.sizes", "8,16", DEFAULT),
    )


def test_a_value_that_returns_to_the_default_has_the_layer_that_returned_it():
    file = replace(Config(), {"steps": 5})
    assert sources([(DEFAULT, Config()), ("config.json", file), (FLAG, Config())])["steps"] == FLAG


def test_a_flag_counts_also_if_it_changes_nothing():
    layers = [(DEFAULT, Config()), (FLAG, Config())]
    assert sources(layers, ["inner.rate"]) == {
        "steps": DEFAULT,
        "name": DEFAULT,
        "inner.rate": FLAG,
        "inner.sizes": DEFAULT,
    }


def test_a_layer_is_a_config():
    with pytest.raises(TypeError, match="expected a dataclass of settings"):
        sourced_settings([(DEFAULT, 3)])
