"""Each leaf is a flag: what is given on the command line, and nothing else, changes the config."""

from dataclasses import dataclass, field

import pytest
from absl import flags as absl_flags

from dlcore.cli.errors import one_line_errors
from dlcore.config.flags import define_flags, with_flags
from dlcore.config.settings import setting


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
    """The config that command line arguments give."""
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
def test_given_flags_change_their_leaves(arguments, expected):
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
def test_mistakes_are_absl_errors_that_say_what_is_expected(argument, message):
    with pytest.raises(absl_flags.Error, match=message):
        parse(argument)


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("rate: got -1, expected more", "--config.inner.rate: got -1, expected more"),
        ("--mode: got x", "--mode: got x"),
        ("kernel: got\n  4", "kernel: got 4 (and more)"),
    ],
)
def test_an_error_of_an_argument_names_its_flag_in_one_line(capsys, message, line):
    with pytest.raises(SystemExit) as stop, one_line_errors(Outer(), " (and more)"):
        raise ValueError(message)
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"error: {line}\n"
