"""The tables of a report."""

import csv

import numpy as np
import pytest

from dlcore.gradflow.report.tables import COLUMNS, html_table, write_curves, write_summary
from tests.helpers.flows import flow


def read(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_the_summary_has_a_row_for_each_state_and_recurrence(tmp_path):
    ragged = flow(name="a<b", reverse=True, lengths=np.array([7, 200]))
    write_summary(tmp_path / "summary.csv", {"initial": [flow()], "step 20": [ragged]})
    first, last = read(tmp_path / "summary.csv")
    assert list(first) == list(COLUMNS)
    expected = "initial encoder/cell 0 2 200 200 4 -0.1 6.93147 7 -0.2 -0.3 -0.1 3.46574 22 0 -1"
    assert list(first.values()) == expected.split()
    assert (last["state"], last["recurrence"], last["reversed"]) == ("step 20", "a<b", "1")
    assert (last["rows"], last["shortest"], last["longest"]) == ("2", "7", "200")


def test_the_curves_are_in_log10_and_say_how_many_rows_a_lag_has(tmp_path):
    rows = np.where(np.arange(201) < 100, 2, 1)
    write_curves(tmp_path / "curves.csv", {"initial": [flow(rows=rows)]})
    curves = [row for row in read(tmp_path / "curves.csv") if row["name"] == "gain"]
    assert {row["recurrence"] for row in curves} == {"encoder/cell"}
    assert [int(row["rows"]) for row in curves] == rows.tolist()
    gains = [float(row["log10"]) for row in curves]
    np.testing.assert_allclose(gains, -0.1 * np.arange(201) / np.log(10), rtol=1e-5)


@pytest.mark.parametrize(
    "cell",
    [
        "<td>a&lt;b (reversed)</td>",
        "<td>2 rows of 7 to 200 steps</td>",
        "<td>-0.2 (-0.3 to -0.1)</td>",
        "<th>half_life (asymptotic)</th>",
    ],
)
def test_the_table_for_people_says_rows_order_and_spread(cell):
    assert cell in html_table({"initial": [flow(name="a<b", reverse=True, lengths=np.array([7, 200]))]})
