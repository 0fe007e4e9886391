"""A sweep's table keeps whole rows, and refuses what is none of its own."""

import re

import numpy as np
import pytest

from dlcore.sweep.table import Progress, Table

POINT = {"cell": "gru", "scale": "0.5"}


def table(path):
    return Table(path, ("cell", "scale", "bias"), ("rate", "steps"))


def measured(*rates):
    return {"rate": np.array(rates, np.float32), "steps": np.arange(len(rates)) - 1}


def test_rows_are_on_the_disk_when_append_returns(tmp_path):
    with table(tmp_path / "table.csv") as rows:
        assert POINT not in rows
        rows.append(
            [POINT, {**POINT, "bias": "1"}], measured(1 / 3, -np.inf, np.nan)
        )  # the last one fills a batch
        text = (tmp_path / "table.csv").read_text()
        assert text == "cell,scale,bias,rate,steps\ngru,0.5,,0.333333,-1\ngru,0.5,1,-inf,0\n"
        assert rows[POINT]["rate"] == "0.333333"
        assert {**POINT, "bias": "2"} not in rows
    with table(tmp_path / "table.csv") as again:
        assert again[POINT] == {"cell": "gru", "scale": "0.5", "bias": "", "rate": "0.333333", "steps": "-1"}


@pytest.mark.parametrize("cut", range(1, 21))
def test_a_last_row_that_was_cut_is_dropped(tmp_path, cut):
    path = tmp_path / "table.csv"
    with table(path) as rows:
        rows.append([POINT, {**POINT, "scale": "2"}], measured(1.5, 2.5))
    whole = path.read_text()
    path.write_text(whole[:-cut])
    with table(path) as rows:
        assert ({**POINT, "scale": "2"} in rows, POINT in rows) == (False, cut <= len("gru,2,,2.5,0\n"))
        rows.append([POINT] * (POINT not in rows), measured(1.5))
        rows.append([{**POINT, "scale": "2"}], {"rate": np.array([2.5]), "steps": np.array([0])})
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
def test_another_table_is_refused_and_left_as_it_is(tmp_path, text, named):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(
        ValueError, match=re.escape(f"{path}: got the {named}, expected cell,scale,bias,rate,steps")
    ):
        table(path)
    assert path.read_text() == text


def test_two_cannot_write_one_table(tmp_path):
    with table(tmp_path / "table.csv"), pytest.raises(BlockingIOError, match="another process writes"):
        table(tmp_path / "table.csv")
    with table(tmp_path / "table.csv"):
        pass


def test_progress_is_said_with_what_is_left(tmp_path, capsys):
    with table(tmp_path / "table.csv") as rows:
        rows.append([POINT], measured(1.0))
        with Progress([POINT] * 2 + [{**POINT, "scale": "2"}] * 3, rows) as progress:
            progress.advance(1, {"cell": "gru", "length": 9})
            progress.advance(2, {"cell": "lstm"})
    first, last = capsys.readouterr().err.splitlines()
    assert first == "configuration 3/5  cell gru  length 9  0 s left"
    assert last == "configuration 5/5  cell lstm  0 s left"
