"""Each setting is a flag, and only the flags that the user gives change the config."""

from dataclasses import dataclass, field

import pytest
from absl import flags as absl_flags

from dlcore.config.flags import define_flags, find_preset, old_flags_given, with_flags
from dlcore.config.settings import setting
from tests.helpers.bad_arguments import unclear_errors


@dataclass
class Inner:
    rate: float = setting(0.1, "Rate.", minimum=0)
    fast: bool = setting(False, "Fast.")


@dataclass
class Outer:
    sizes: tuple[int, ...] = setting((8, 16), "Sizes.", minimum=1)
    limit: float | None = setting(None, "Limit.", above=0)
    inner: Inner = field(default_factory=Inner)


def parse(*arguments):
    """The config that the command line arguments give."""
    values = absl_flags.FlagValues()
    define_flags(Outer(), "program", values)
    values(["program", *arguments])
    return with_flags(Outer(), values)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], Outer()),
        (["--config.sizes=4"], Outer(sizes=(4,))),
        (["--config.sizes", "1,2,3"], Outer(sizes=(1, 2, 3))),
        (["--config.limit=2"], Outer(limit=2.0)),
        (["--config.limit=2", "--config.limit=none"], Outer()),
        (["--config.inner.rate=1e-3", "--config.inner.fast"], Outer(inner=Inner(1e-3, True))),
        (["--noconfig.inner.fast"], Outer()),
    ],
)
def test_given_flags_change_their_settings(arguments, expected):
    assert parse(*arguments) == expected


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--config.inner.rate=-1", "expected a number >= 0"),
        ("--config.sizes=1,0", "comma-separated, each an integer >= 1"),
        ("--config.limit=0", "expected a number > 0, or none"),
        ("--config.inner.rat=1", r"Did you mean: config\.inner\.rate"),
    ],
)
def test_mistakes_are_absl_errors_with_the_expected_values(argument, message):
    with pytest.raises(absl_flags.Error, match=message):
        parse(argument)


def test_a_preset_is_found_by_its_name():
    assert find_preset({"small": Outer(sizes=(1,))}, "small") == Outer(sizes=(1,))
    with pytest.raises(
        ValueError, match=r"^--preset: got 'smal', expected one of small, large; did you mean 'small'"
    ):
        find_preset({"small": Outer(), "large": Outer()}, "smal")
    with pytest.raises(ValueError, match=r"expected one of \(this experiment has none\)$"):
        find_preset({}, "small")


def test_help_shows_type_bounds_and_default():
    values = absl_flags.FlagValues()
    define_flags(Outer(), "program", values)
    shown = " ".join(values.module_help("program").split())
    assert "--config.inner.rate: Rate. (default: '0.1') (a number >= 0)" in shown
    assert "--config.limit: Limit. (default: none) (a number > 0, or none)" in shown


@pytest.mark.parametrize("name", [None, 3, ["small"], ""])
def test_a_bad_name_of_a_preset_is_refused(name):
    with pytest.raises(ValueError, match=r"^--preset: got .*, expected one of small"):
        find_preset({"small": Outer()}, name)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (with_flags, {"config": Outer(), "values": absl_flags.FlagValues()}),
        (old_flags_given, {"values": absl_flags.FlagValues()}),
        (find_preset, {"presets": {"small": Outer()}, "name": "small"}),
        (
            lambda config, module: define_flags(config, module, absl_flags.FlagValues()),
            {"config": Outer(), "module": "program"},
        ),
        (lambda values: define_flags(Outer(), "program", values), {"values": absl_flags.FlagValues()}),
    ],
)
def test_a_bad_argument_is_named(function, arguments):
    define_flags(Outer(), "program", arguments.get("values", absl_flags.FlagValues()))
    assert not unclear_errors(function, arguments)
