"""Flags are parsed with one line for a mistake."""

import io
import sys
from types import SimpleNamespace

import pytest
from absl import flags

import dlcore as dl
from dlcore.cli.parsing import own_flags, parse_flags, parse_leading_flags, read_flags
from dlcore.config.flags import define_flags, with_flags


@pytest.fixture
def parse(monkeypatch):
    """Parses flags of the common config."""

    def parse(*arguments):
        values = flags.FlagValues()
        flags.DEFINE_integer("verbosity", 0, "", flag_values=values)
        define_flags(dl.Config(), "program", values)
        monkeypatch.setattr(flags, "FLAGS", values)
        assert parse_flags(["program", *arguments]) == ["program"]
        return with_flags(dl.Config(), values), values.verbosity

    return parse


def test_flags_are_parsed_and_libraries_print_warnings_only(parse, capsys):
    config, verbosity = parse("--config.seed=3")
    assert (config.seed, verbosity) == (3, -1)
    assert parse("--verbosity=1")[1] == 1
    assert capsys.readouterr() == ("", "")


def test_flags_are_read_from_values_of_ones_own_and_a_mistake_is_an_error():
    values = flags.FlagValues()
    define_flags(dl.Config(), "program", values)
    assert read_flags(values, ["program", "--config.seed=3", "digits", "--other"]) == [
        "program",
        "digits",
        "--other",
    ]
    assert with_flags(dl.Config(), values).seed == 3
    with pytest.raises(
        ValueError, match=r"^--config.sed: no such flag, see --help; did you mean 'config.seed'\?$"
    ):
        read_flags(values, ["program", "--config.sed=1"])
    with pytest.raises(ValueError, match=r"^flag --config.seed=-1: expected an integer >= 0"):
        read_flags(values, ["program", "--config.seed=-1"])


def test_flags_can_be_defined_again_after_the_block_and_those_of_others_stay():
    values = flags.FlagValues()
    flags.DEFINE_integer("others", 3, "", flag_values=values)
    for _ in range(2):
        with own_flags(values):
            define_flags(dl.Config(), "program", values)
            values(["program", "--config.seed=3"])
            assert "config.seed" in values
        assert list(values) == ["others"]
    assert values.others == 3
    with pytest.raises(SystemExit), own_flags(values):
        define_flags(dl.Config(), "program", values) or sys.exit(2)
    assert list(values) == ["others"]


def test_an_old_flag_is_understood_and_its_new_name_is_told(parse, capsys):
    config, _ = parse("--config.train.patience=300", "--config.train.read_ahead=4")
    assert (config.train.hang_timeout, config.train.prefetch) == (300, 4)
    assert sorted(capsys.readouterr().err.splitlines()) == [
        "note: --config.train.patience is now --config.train.hang_timeout",
        "note: --config.train.read_ahead is now --config.train.prefetch",
    ]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("train", "train: no such argument; flags are --name=value, see --help"),
        ("--config.seed=-1", "flag --config.seed=-1: expected an integer >= 0"),
        ("--config.sed=1", "--config.sed: no such flag, see --help; did you mean 'config.seed'?"),
        (
            "--config.train.patience=0",
            "expected a number >= 0.001 and <= 1000000000; --config.train.patience is now --config.train.hang_timeout",
        ),
        ("--config.train.remat=maybe", "flag --config.train.remat=maybe: expected true or false"),
        ("--noconfig.train.remat=true", "--noconfig.train.remat=true does not take an argument"),
    ],
)
def test_a_mistake_ends_with_2_and_one_line(parse, capsys, argument, message):
    with pytest.raises(SystemExit) as stop:
        parse(argument)
    assert stop.value.code == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert message in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize("argument", ["--help", "-help", "-h", "-?", "--helpshort", "--helpfull"])
def test_help_ends_with_0_and_does_not_list_old_flags(parse, capsys, argument):
    with pytest.raises(SystemExit) as stop:
        parse(argument)
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert "--config.train.hang_timeout:" in shown
    assert "config.train.patience" not in shown
    assert "read_ahead" not in shown


def test_help_is_shown_on_a_terminal_that_lacks_letters(parse, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__doc__="conv → ReLU"))
    with pytest.raises(SystemExit) as stop:
        parse("--help")
    assert stop.value.code == 0
    sys.stdout.flush()
    assert written.getvalue().startswith(b"conv \\u2192 ReLU")


@pytest.mark.parametrize(
    "rest",
    [
        ["experiments.digits", "--config.seed=3", "a b", "$(x);\n'"],
        ["--", "experiments.digits", "--help", "--verbosity=9"],
        [],
    ],
)
def test_the_command_after_the_flags_is_returned_as_it_is(parse, rest):
    parse("--config.seed=4")
    left = parse_leading_flags(["program", "--config.seed=5", *rest])
    assert flags.FLAGS["config.seed"].value == 5
    assert left == ["program", *[argument for argument in rest if argument != "--"]]


def test_a_bad_argument_is_named():
    for parser in (parse_flags, parse_leading_flags):
        for arguments in (None, [], "program", 3):
            with pytest.raises(
                TypeError, match=r"^arguments: got .*, expected the program and its arguments"
            ):
                parser(arguments)
