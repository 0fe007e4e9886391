"""A sweep's table keeps complete rows, and refuses a file that is not its own."""

import re

import numpy as np
import pytest

from dlcore.sweep.table import Table

GRU = {"cell": "gru", "scale": "0.5"}


def table(path):
    return Table(path, ("cell", "scale", "bias"), ("rate", "steps"))


def measured(*rates):
    return {"rate": np.array(rates, np.float32), "steps": np.arange(len(rates)) - 1}


def test_rows_are_on_the_disk_when_append_returns(tmp_path):
    with table(tmp_path / "table.csv") as rows:
        assert GRU not in rows
        rows.append([GRU, {**GRU, "bias": "1"}], measured(1 / 3, -np.inf, np.nan))  # the third fills a batch
        text = (tmp_path / "table.csv").read_text()
        assert text == "cell,scale,bias,rate,steps\ngru,0.5,,0.333333,-1\ngru,0.5,1,-inf,0\n"
        assert rows[GRU]["rate"] == "0.333333"
        assert {**GRU, "bias": "2"} not in rows
    with table(tmp_path / "table.csv") as again:
        assert again[GRU] == {"cell": "gru", "scale": "0.5", "bias": "", "rate": "0.333333", "steps": "-1"}


def test_an_incomplete_last_row_is_dropped(tmp_path):
    path, second = tmp_path / "table.csv", {**GRU, "scale": "2"}
    with table(path) as rows:
        rows.append([GRU, second], measured(1.5, 2.5))
    whole = path.read_text()
    for cut in range(1, 21):
        path.write_text(whole[:-cut])
        with table(path) as rows:
            assert (second in rows, GRU in rows) == (False, cut <= len("gru,2,,2.5,0\n"))
            rows.append([GRU] * (GRU not in rows), measured(1.5))
            rows.append([second], {"rate": np.array([2.5]), "steps": np.array([0])})
        assert path.read_text() == whole


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("cell,scale,rate\n", "columns cell,scale,rate"),
        ("cell,scale,bias,rate,steps\ngru,1\ngru,2,,1,1\n", "row gru,1"),
        ("\n", "columns "),
        ("a letter", "columns a letter"),
    ],
)
def test_another_file_is_refused_and_not_changed(tmp_path, text, named):
    path = tmp_path / "table.csv"
    path.write_text(text)
    expected = f"{path}: got the {named}, expected cell,scale,bias,rate,steps"
    with pytest.raises(ValueError, match=re.escape(expected)):
        table(path)
    assert path.read_text() == text


def test_two_processes_cannot_write_one_table(tmp_path):
    with table(tmp_path / "table.csv"), pytest.raises(BlockingIOError, match="another process writes"):
        table(tmp_path / "table.csv")
    with table(tmp_path / "table.csv"):
        pass


def test_a_folder_is_no_table(tmp_path):
    with pytest.raises(ValueError, match=r"path: got the folder .*, expected the path of a CSV file"):
        table(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, ("cell",), ("rate",)), "path: got None, expected the path of a CSV file"),
        (("table.csv", "cell", ("rate",)), "settings: got 'cell', expected a sequence of column names"),
        (("table.csv", ("cell",), (1,)), "measures: got .*, expected a sequence of column names"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(TypeError, match=message):
        Table(*arguments)
