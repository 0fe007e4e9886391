"""The names of the code that made a run."""

import functools
import json
import sys
from types import SimpleNamespace

import pytest

from dlcore.training.origin import find_by_name, importable_name, module_name, read_origin, write_origin
from tests.helpers import plain_toy

NAMES = {"experiment": "tests.helpers.plain_toy:experiment", "config": "tests.helpers.plain_toy:Config"}


def experiment(config):
    return plain_toy.experiment(config)


class Outer:
    class Config(plain_toy.Config):
        pass


def test_the_names_are_found_again(tmp_path):
    write_origin(tmp_path, plain_toy.experiment, plain_toy.Config())
    assert read_origin(tmp_path) == NAMES
    assert find_by_name(NAMES["experiment"]) is plain_toy.experiment
    assert find_by_name(NAMES["config"]) is plain_toy.Config


def test_what_has_no_name_is_left_out_and_keeps_the_earlier_one(tmp_path):
    def inner(config):
        return plain_toy.experiment(config)

    for unnamed in (inner, lambda config: None, functools.partial(inner), None):
        assert importable_name(unnamed) is None
    write_origin(tmp_path, inner, plain_toy.Config())
    assert read_origin(tmp_path) == {"config": NAMES["config"]}
    write_origin(tmp_path, plain_toy.experiment, plain_toy.Config())
    write_origin(tmp_path, None, plain_toy.Config())
    assert read_origin(tmp_path) == NAMES


def test_classes_in_classes_have_a_name():
    name = importable_name(Outer.Config)
    assert name == f"{__name__}:Outer.Config"
    assert find_by_name(name) is Outer.Config


@pytest.mark.parametrize(
    ("main", "module"),
    [
        ({"__spec__": SimpleNamespace(name="experiments.vowels")}, "experiments.vowels"),  # python -m
        ({"__spec__": None, "__file__": "/some/where/rows.py"}, "rows"),  # python rows.py
        ({"__spec__": None}, "__main__"),  # a notebook
        ({}, "__main__"),
    ],
)
def test_a_program_is_named_as_others_import_it(monkeypatch, main, module):
    def build(config):
        return None

    build.__module__, build.__qualname__ = "__main__", "build"
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(build=build, **main))
    assert module_name("__main__") == module
    assert module_name("tests.helpers.toy") == "tests.helpers.toy"
    assert importable_name(build) == f"{module}:build"
    assert find_by_name(f"{module}:build") is build  # the program itself, which is not imported again


@pytest.mark.parametrize(
    "name", ["no_such_module:a", *(f"tests.helpers.plain_toy:{name}" for name in ("gone", "Config.a.b"))]
)
def test_a_name_that_is_not_there_is_an_import_error(name):
    with pytest.raises(ImportError, match=r"no_such_module|plain_toy has no"):
        find_by_name(name)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"experiment": 3}'])
def test_a_damaged_file_is_refused(tmp_path, content):
    assert read_origin(tmp_path) == {}
    (tmp_path / "experiment.json").write_text(content)
    with pytest.raises(
        ValueError, match=r"experiment\.json: got a file that is no JSON object of names.*; delete it"
    ):
        read_origin(tmp_path)
    with pytest.raises(ValueError, match=r"experiment\.json: got"):
        write_origin(tmp_path, None, plain_toy.Config())
    assert (tmp_path / "experiment.json").read_text() == content


def test_the_file_is_plain_json(tmp_path):
    write_origin(tmp_path, plain_toy.experiment, plain_toy.Config())
    assert json.loads((tmp_path / "experiment.json").read_text()) == NAMES
