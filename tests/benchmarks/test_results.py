"""benchmarks/results.py: rows are summarized, and put into the table in the order of their commands."""

import subprocess

import pytest

from benchmarks import results
from tests.helpers.paths import ROOT


def test_a_row_has_median_and_range_of_the_seeds():
    entry = results.Entry("adding-gru", "adding --config.cell=gru", "mean_squared_error", "0.167 (chance)")
    runs = [{"mean_squared_error": error, "seconds": 2.0 + error} for error in (0.25, 0.00012, 0.0014)]
    row = results.summarize(entry, runs)
    assert tuple(row) == results.COLUMNS
    assert (row["median"], row["lowest"], row["highest"]) == ("0.0014", "0.00012", "0.250")
    assert (row["seconds"], row["seeds"], row["metric"]) == ("2", "0 1 2", "squared error")


def test_a_new_row_replaces_the_old_one_of_its_name(tmp_path):
    table = tmp_path / "results.csv"
    row = dict.fromkeys(results.COLUMNS, "")
    for name, median in (("vowels", "0.1"), ("digits", "0.2"), ("vowels", "0.3")):
        results.write_row(table, {**row, "name": name, "median": median})
    assert [(row["name"], row["median"]) for row in results.read_rows(table)] == [
        ("digits", "0.2"),
        ("vowels", "0.3"),
    ]


def test_names_are_unique_and_metrics_have_a_word():
    names = [entry.name for entry in results.ENTRIES]
    assert len(names) == len(set(names))
    assert {entry.metric for entry in results.ENTRIES} == set(results.METRICS)


def test_it_lists_commands_and_refuses_an_unknown_name(capsys):
    results.main(["--list", "digits"])
    assert capsys.readouterr().out.splitlines()[0].split() == ["digits", "python", "-m", "experiments.digits"]
    with pytest.raises(SystemExit, match="no_such names no row"):
        results.main(["no_such"])


def test_a_run_that_fails_is_said(monkeypatch):
    def fail(command, **_):
        return subprocess.CompletedProcess(command, 2, "", "error: no data")

    monkeypatch.setattr(results.subprocess, "run", fail)
    with pytest.raises(SystemExit, match="ended with 2:\nerror: no data"):
        results.run(results.ENTRIES[0], 0)


@pytest.mark.slow
def test_one_row_is_run_from_its_command(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "TABLE", tmp_path / "results.csv")
    monkeypatch.chdir(ROOT)
    entry = results.Entry("digits", "digits --config.train.steps=60")
    result = results.run(entry, seed=0)
    assert 0 <= result["accuracy"] <= 1
    assert result["steps"] == 60
