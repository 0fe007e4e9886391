"""The lecture's map: every application is an experiment with a control; its flags exist, and it draws its figure."""

import pytest

from benchmarks.application import PATTERNS
from benchmarks.lecture import APPLICATIONS
from dlcore.cli.command_line import load_command_line
from tests.helpers.paths import ROOT

COMMANDS = [entry for application in APPLICATIONS for entry in application.commands]


def test_the_applications_are_in_the_order_of_the_patterns():
    places = [PATTERNS.index(application.pattern) for application in APPLICATIONS]
    assert places == sorted(places)


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_the_flags_of_a_command_exist(entry):
    name, *flags = entry.arguments.split()
    load_command_line(f"experiments.{name}").config(flags)


@pytest.mark.parametrize("application", APPLICATIONS, ids=lambda application: application.commands[0].name)
def test_an_application_is_a_file_that_draws_its_figure_and_it_has_a_control(application):
    text = (ROOT / "experiments" / f"{application.name}.py").read_text()
    for entry in application.commands:
        assert entry.arguments.split()[0] == application.name
        stem = entry.figure.rstrip("0123456789").split("_{")[0]
        assert stem.split("_")[0] in text or "dl.classifier_figures" in text
    assert application.control.command.startswith(f"python -m benchmarks.controls {application.name}")
    assert application.data
    assert application.license
