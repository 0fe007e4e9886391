"""The command line of an experiment is had without running it, and reads flags as the program does."""

import json
import sys

import pytest
from absl import flags

import dlcore as dl
from dlcore.cli.command_line import CommandLine, hand_over, load_command_line, named_config
from dlcore.training.origin import find_by_name, importable_name
from tests.helpers import plain_toy, toy

LINE = CommandLine(toy.Config, toy.experiment, {"small": toy.Config(examples=20)})


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module that can be imported, and returns its name."""

    def write(text, name="some_module"):
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    return write


def test_a_module_hands_over_what_it_passes_to_run():
    found = load_command_line("tests.helpers.toy")
    assert found.config_class is toy.Config
    assert found.experiment is toy.experiment
    assert {name: preset.examples for name, preset in found.presets.items()} == {"small": 20}
    assert load_command_line("tests.helpers.plain_toy").config_class is plain_toy.Config


def test_what_is_handed_over_can_be_imported_again():
    """In this process, whose program is another one, and so in those that load the run."""
    found = load_command_line("experiments.temporal_order")
    for thing in (found.config_class, found.experiment, type(found.presets["paper"])):
        assert find_by_name(importable_name(thing)) is thing
    assert importable_name(found.config_class) == "experiments.temporal_order:Config"


@pytest.mark.parametrize(
    "block",
    [
        'if __name__ == "__main__":\n    dl.run(Config, experiment)\n    raise AssertionError',
        'if "__main__" == __name__ and Config:\n    dl.run(Config, experiment)',
        'def main():\n    dl.run(Config, experiment)\n\nif __name__ == "__main__":\n    main()',
        "dl.run(Config, experiment)",
    ],
)
def test_a_module_may_call_run_in_many_ways(module, block):
    name = module(f"import dlcore as dl\nfrom tests.helpers.toy import Config, experiment\n\n{block}\n")
    assert load_command_line(name) == CommandLine(toy.Config, toy.experiment, {})


def test_a_package_is_run_by_its_main_module(tmp_path, monkeypatch):
    package = tmp_path / "some_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(
        "import dlcore as dl\nfrom tests.helpers.toy import *\ndl.run(Config, experiment)"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert load_command_line("some_package").experiment is toy.experiment


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "experiment: got 'some_module', which calls no dl.run, expected an experiment's module"),
        (
            "import sys\nif __name__ == '__main__':\n    sys.exit(3)",
            "experiment: got 'some_module', which calls no",
        ),
        ("if __name__ == '__main__':\n    1 / 0", "division by zero"),
    ],
)
def test_other_programs_have_no_command_line(module, text, message):
    with pytest.raises((ValueError, ZeroDivisionError), match=f"^{message}"):
        load_command_line(module(text))


def test_sweeps_and_missing_modules_are_refused():
    with pytest.raises(ValueError, match=r"^experiment: got 'experiments\.half_life', which is a sweep"):
        load_command_line("experiments.half_life")
    with pytest.raises(ImportError, match=r"^experiment: got 'experiments\.none', expected a module"):
        load_command_line("experiments.none")


def test_nothing_is_handed_over_to_nobody(module):
    hand_over(LINE)
    with pytest.raises(ZeroDivisionError):
        load_command_line(module("1 / 0"))
    hand_over(LINE)


def test_flags_are_read_as_by_the_program(tmp_path):
    assert LINE.config([]) == toy.Config()
    assert LINE.config(["--config.seed=3", "--config.train.steps", "1e2"]).train.steps == 100
    assert LINE.config(["--preset=small", "--config.seed=3"]) == toy.Config(examples=20, seed=3)
    assert LINE.config([]).examples == 40  # flags of the call before do not count
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"examples": 7}))
    assert LINE.config([f"--from_config={path}", "--config.seed=1"]) == toy.Config(examples=7, seed=1)
    assert LINE.presets["small"] == toy.Config(examples=20)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--config.sed=3"], ValueError, "--config.sed: no such flag.*did you mean 'config.seed'"),
        (["--config.seed=-3"], ValueError, "flag --config.seed=-3: expected an integer >= 0"),
        (["--mode=train"], ValueError, "--mode: no such flag"),
        (["digits"], ValueError, "digits: no such argument"),
        (["--preset=smal"], ValueError, "--preset: got 'smal', expected one of small; did you mean 'small'"),
        (["--preset=small", "--from_config=x"], ValueError, "--preset: got a --from_config too"),
        (["--from_config=/none"], FileNotFoundError, "--from_config: no file /none"),
    ],
)
def test_mistakes_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        LINE.config(arguments)


def test_a_preset_that_does_not_fit_is_refused():
    line = CommandLine(toy.Config, toy.experiment, {"bad": toy.Config(examples=0)})
    with pytest.raises(ValueError, match=r"--config.examples: got 0"):
        line.config(["--preset=bad"])


def test_the_source_of_a_named_config_is_told(tmp_path):
    values = flags.FlagValues()
    for name in ("preset", "from_config"):
        flags.DEFINE_string(name, None, "", values)
    assert named_config(toy.Config(), LINE.presets, values(["program"]) and values) is None
    values(["program", "--preset=small"])
    assert named_config(toy.Config(), LINE.presets, values) == ("preset small", toy.Config(examples=20))


def test_a_run_of_a_handed_over_experiment_is_loaded_from_its_folder(tmp_path):
    found = load_command_line("tests.helpers.plain_toy")
    dl.train(found.experiment, found.config(["--config.train.steps=2"]), tmp_path / "run")
    assert dl.load(tmp_path / "run", "newest").step == 2
