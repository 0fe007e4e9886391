"""Flags are parsed with one line for a mistake, and a run's name gives its folder."""

import io
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from absl import flags

import dlcore as dl
from dlcore.cli.command_line import check_config_class, choose_folder, own_flags, parse_flags
from dlcore.config.flags import define_flags, with_flags
from tests.helpers.bad_arguments import unclear_errors


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


def test_a_name_gives_a_folder_below_that_of_the_program(monkeypatch):
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__spec__=SimpleNamespace(name="a.digits")))
    assert choose_folder("first", None) == Path("runs/digits/first")
    assert re.fullmatch(r"runs/digits/[\d-]{10}_[\d-]{8}", str(choose_folder(None, None)))
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__spec__=None))
    monkeypatch.setattr(sys, "argv", ["/some/where/pixels.py"])
    assert choose_folder("first", None) == Path("runs/pixels/first")


def test_a_working_directory_is_the_folder_itself(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert choose_folder(None, "~/run") == Path("/home/me/run")


@pytest.mark.parametrize("name", ["a/b", "", ".hidden", "a b", "../up"])
def test_a_name_that_is_a_path_is_refused(name):
    with pytest.raises(ValueError, match=f"--run: got '{re.escape(name)}', expected letters, digits and"):
        choose_folder(name, None)


def test_a_name_and_a_folder_are_refused():
    with pytest.raises(ValueError, match="--run: got a --workdir too, expected one of them"):
        choose_folder("first", "folder")


@pytest.mark.parametrize(
    ("run", "workdir", "error", "message"),
    [
        ("first", "", ValueError, "--run: got a --workdir too"),
        ("", "folder", ValueError, "--run: got a --workdir too"),
        (None, "", ValueError, "--workdir: got an empty text, expected a path"),
        (
            None,
            "gs://bucket/run",
            ValueError,
            "--workdir: got 'gs://bucket/run', expected a path on this machine",
        ),
        (None, "~nouser/run", ValueError, "--workdir: got '~nouser/run', but the home folder"),
        (None, "\udcff", ValueError, "--workdir: got .*, expected a path in UTF-8"),
        (None, 3, TypeError, "--workdir: got 3, expected a path"),
        (3, None, ValueError, "--run: got 3, expected letters"),
        (["a"], None, ValueError, r"--run: got \['a'\], expected letters"),
        ("\udcff", None, ValueError, "--run: got .*, expected letters"),
    ],
)
def test_a_folder_that_cannot_be_meant_is_refused(run, workdir, error, message):
    with pytest.raises(error, match=f"^{message}"):
        choose_folder(run, workdir)


def test_help_is_shown_on_a_terminal_that_lacks_letters(parse, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__doc__="conv → ReLU"))
    with pytest.raises(SystemExit) as stop:
        parse("--help")
    assert stop.value.code == 0
    sys.stdout.flush()
    assert written.getvalue().startswith(b"conv \\u2192 ReLU")


def test_a_bad_argument_is_named():
    assert not unclear_errors(choose_folder, {"run": "first", "workdir": None})
    assert not unclear_errors(choose_folder, {"run": None, "workdir": "folder"})
    assert not unclear_errors(
        lambda config_class: check_config_class(config_class, dl.Config, "dl.Config"),
        {"config_class": dl.Config},
    )
    for arguments in (None, [], "program", 3):
        with pytest.raises(TypeError, match=r"^arguments: got .*, expected the program and its arguments"):
            parse_flags(arguments)
