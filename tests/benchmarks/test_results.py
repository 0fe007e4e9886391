"""benchmarks/results.py: rows are summarized, and put into the table in the order of their commands."""

import pytest

from benchmarks import results
from benchmarks.entries import ENTRIES
from benchmarks.entry import Entry, word
from benchmarks.run_queue import Task, folder_of

FAKE = Entry(
    "fake", "fake_run", "accuracy", "0.4", (("loss", "2 (chance)"),), "curve", module="tests.helpers."
)
NAMES = {entry.name: entry for entry in ENTRIES}


@pytest.fixture
def docs(tmp_path, monkeypatch):
    """The places that are written, in a folder of the test, and a table of the entries `FAKE` and digits."""
    for name, path in (("TABLE", "results.csv"), ("FIGURES", "figures"), ("FOLDER", "runs")):
        monkeypatch.setattr(results, name, tmp_path / path)
    (tmp_path / "figures").mkdir()
    monkeypatch.setattr(results, "ENTRIES", (FAKE, NAMES["digits"]))
    return tmp_path


def test_a_row_has_median_and_range_of_the_seeds():
    entry = Entry("adding-gru", "adding --config.cell=gru", "mean_squared_error", "0.167 (chance)")
    runs = [{"mean_squared_error": error, "seconds": 2.0 + error} for error in (0.25, 0.00012, 0.0014)]
    row = results.summarize(entry, runs)["adding-gru"]
    assert tuple(row) == results.COLUMNS
    assert (row["median"], row["lowest"], row["highest"]) == ("0.0014", "0.00012", "0.250")
    assert (row["seconds"], row["seeds"], row["metric"]) == ("2", "0 1 2", "squared error")


def test_a_series_writes_its_rows_and_its_figure_and_clears_its_folders(docs, capsys):
    results.main(["fake", "--jobs=2"])
    rows = {row["name"]: row for row in results.read_rows(results.TABLE)}
    assert list(rows) == ["fake", "fake:loss", "digits"]
    fake, loss = rows["fake"], rows["fake:loss"]
    assert [fake[name] for name in ("median", "lowest", "highest", "seconds")] == [
        "0.600",
        "0.500",
        "0.700",
        "3",
    ]
    assert (loss["metric"], loss["median"], loss["baseline"]) == ("cross-entropy", "0.01", "2 (chance)")
    assert not rows["digits"]["median"]
    assert (docs / "figures" / "fake.png").read_bytes() == b"png"
    assert not list((docs / "runs").glob("*/"))
    assert [entry.name for entry in results.choose([], missing=True)] == ["digits"]
    assert "3 of 3 runs done" in capsys.readouterr().err


def test_the_first_seeds_alone_are_run_if_so_said(docs):
    results.main(["fake", "--seeds=1"])
    row = results.read_rows(results.TABLE)[0]
    assert (row["seeds"], row["median"], row["lowest"], row["highest"]) == ("0", "0.500", "0.500", "0.500")


def test_a_run_that_fails_is_said_and_the_others_are_written(docs, monkeypatch, capsys):
    failing = FAKE._replace(name="failing", arguments="fake_run --fail", seeds=(0,))
    monkeypatch.setattr(results, "ENTRIES", (failing, FAKE))
    with pytest.raises(SystemExit, match="error: 1 runs failed; the other rows are written"):
        results.main([])
    assert [bool(row["median"]) for row in results.read_rows(results.TABLE)] == [False, False, True, True]
    message = "error: python -m tests.helpers.fake_run --fail --config.seed=0 ended with 1:\n"
    assert message in (told := capsys.readouterr().err)
    assert "error: no data" in told
    assert folder_of(results.FOLDER, Task(failing, 0)).is_dir()


def test_a_new_row_replaces_the_old_one_and_another_command_clears_its_numbers(docs, monkeypatch):
    row = results.empty_row(NAMES["digits"], "digits")
    for median in ("0.1", "0.3"):
        results.write_rows(results.TABLE, {"digits": {**row, "median": median}})
    results.write_rows(results.TABLE, {})
    assert [row["median"] for row in results.read_rows(results.TABLE)] == ["", "", "0.3"]
    changed = NAMES["digits"]._replace(arguments="digits --config.seed=5")
    monkeypatch.setattr(results, "ENTRIES", (changed,))
    results.write_rows(results.TABLE, {})
    assert [row["median"] for row in results.read_rows(results.TABLE)] == [""]


def test_names_and_commands_are_unique():
    names = [name for entry in ENTRIES for name in entry.rows]
    assert len(names) == len(set(names))
    commands = [entry.command for entry in ENTRIES]
    assert len(commands) == len(set(commands))
    assert word("mean_squared_error") == "squared error"
    assert word("exact_match") == "exact match"


def test_a_control_has_the_same_flags_and_one_seed():
    control = NAMES["digits-mnist5k"].control("0.1")
    assert control.command == "python -m benchmarks.controls digits --config.data.name=mnist5k"
    assert (control.name, control.seeds, control.baseline) == (
        "digits-mnist5k-shuffled",
        (0,),
        "0.1 (chance)",
    )


def test_it_lists_commands_and_refuses_an_unknown_name(capsys):
    results.main(["--list", "digits"])
    assert capsys.readouterr().out.splitlines()[0].split() == ["digits", "python", "-m", "experiments.digits"]
    results.main(["--list", "digits*"])
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names == ["digits", "digits-mnist5k", "digits-shuffled"]
    with pytest.raises(SystemExit):
        results.main(["digits", "--seeds=0"])
    assert "--seeds: got 0, expected at least 1" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="no_such names no row"):
        results.main(["digits", "no_such"])
