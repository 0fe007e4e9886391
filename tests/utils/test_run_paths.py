"""A run's name gives its folder, and two runs without a name never share one."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from dlcore.utils import run_paths
from dlcore.utils.run_paths import choose_folder, new_folder, program_name
from tests.helpers.bad_arguments import unclear_errors


def test_a_name_gives_a_folder_below_that_of_the_program(monkeypatch):
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__spec__=SimpleNamespace(name="a.digits")))
    assert choose_folder("first", None, program_name()) == Path("runs/digits/first")
    assert re.fullmatch(r"runs/digits/[\d-]{10}_[\d-]{8}", str(choose_folder(None, None, program_name())))
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__spec__=None))
    monkeypatch.setattr(sys, "argv", ["/some/where/pixels.py"])
    assert program_name() == "pixels"


def test_a_working_directory_is_the_folder_itself(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert choose_folder(None, "~/run", "digits") == Path("/home/me/run")


@pytest.mark.parametrize("name", ["a/b", "", ".hidden", "a b", "../up"])
def test_a_name_that_is_a_path_is_refused(name):
    with pytest.raises(ValueError, match=f"--run: got '{re.escape(name)}', expected letters, digits and"):
        choose_folder(name, None, "digits")


def test_a_name_and_a_folder_are_refused():
    with pytest.raises(ValueError, match="--run: got a --workdir too, expected one of them"):
        choose_folder("first", "folder", "digits")


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
        choose_folder(run, workdir, "digits")


def test_new_folders_of_one_second_differ(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        run_paths,
        "datetime",
        type("Clock", (), {"now": lambda: type("Now", (), {"strftime": lambda *_: "now"})()}),
    )
    folders = []
    for _ in range(3):
        folders.append(new_folder("toy"))
        folders[-1].mkdir(parents=True)
    assert [str(folder) for folder in folders] == ["runs/toy/now", "runs/toy/now_2", "runs/toy/now_3"]


def test_a_bad_argument_is_named():
    assert not unclear_errors(
        lambda run, workdir: choose_folder(run, workdir, "digits"), {"run": "first", "workdir": None}
    )
    assert not unclear_errors(
        lambda run, workdir: choose_folder(run, workdir, "digits"), {"run": None, "workdir": "folder"}
    )
