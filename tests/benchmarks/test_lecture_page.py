"""The page of the lecture's map: numbers come from the table of results, and what was not measured is empty."""

import re

from benchmarks import lecture_page
from benchmarks.application import PATTERNS, Application
from benchmarks.entry import Entry
from benchmarks.lecture import APPLICATIONS
from benchmarks.lecture_page import number, page

SPOKEN = Application(
    PATTERNS[1],
    "Who speaks?",
    "vowels",
    "CC BY 4.0",
    (
        Entry("spoken", "spoken", baseline="0.9 (1-NN)", others=(("loss", "2.2"),), figure="matrix"),
        Entry("spoken-gru", "spoken --config.cell=gru", figure="matrix"),
    ),
    "0.1",
)
MEASURED = {
    "spoken": {"median": "0.950", "lowest": "0.940", "highest": "0.960", "seconds": "12"},
    "spoken:loss": {"median": "0.25", "lowest": "", "highest": "", "seconds": "12"},
    "spoken-shuffled": {"median": "0.110", "lowest": "0.110", "highest": "0.110", "seconds": "12"},
}


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_numbers_come_from_the_table_and_the_rest_is_empty(monkeypatch, tmp_path):
    monkeypatch.setattr(lecture_page, "APPLICATIONS", (SPOKEN,))
    (tmp_path / "spoken.png").touch()
    text = page(MEASURED, tmp_path)
    tables = [[cells(line) for line in block.splitlines()] for block in text.split("\n\n") if block[0] == "|"]
    overview, commands = tables
    assert overview[2][1:] == [
        "`spoken`",
        "vowels",
        "CC BY 4.0",
        "accuracy 0.950 (0.940 to 0.960)",
        "0.9 (1-NN)",
        "0.110",
        "12",
    ]
    assert commands[2:] == [
        ["`python -m experiments.spoken`", "accuracy", "0.950 (0.940 to 0.960)", "0.9 (1-NN)", "12"],
        ["`python -m experiments.spoken`", "cross-entropy", "0.25", "2.2", "12"],
        ["`python -m experiments.spoken --config.cell=gru`", "accuracy", "", "", ""],
        ["`python -m benchmarks.controls spoken`", "accuracy", "0.110", "0.1 (chance)", "12"],
    ]
    assert re.findall(r"!\[(.*)\]\((.*)\)", text) == [("matrix of spoken", "figures/spoken.png")]
    assert text.startswith(f"## {PATTERNS[1]}\n")


def test_without_measurements_no_number_and_no_figure_is_shown(tmp_path):
    text = page({}, tmp_path)
    assert "![" not in text
    for application in APPLICATIONS:
        assert text.count(f"### {application.title}\n") == 1
        assert f"](#application-{application.commands[0].name})" in text
        assert f"(application-{application.commands[0].name})=" in text
    assert number({}) == ""
