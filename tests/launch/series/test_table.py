"""The table has a row for each run that has ended, with the settings in which the runs differ."""

import csv

import pytest

from dlcore.config import settings
from dlcore.launch.series.plan import PlannedRun, Series
from dlcore.launch.series.record import Record
from dlcore.launch.series.table import write_table
from tests.helpers import many_toy


def series(folder, *changes):
    runs = [
        PlannedRun(f"name{index}", (), settings.replace(many_toy.Config(), values))
        for index, values in enumerate(changes)
    ]
    return Series("module", "toy", folder, runs)


def test_rows_have_the_differing_settings_and_the_results(tmp_path):
    planned = series(
        tmp_path, {"seed": 1}, {"seed": 1, "sleep": 1}, {"seed": 2, "train.prefetch": 5}, {"seed": 3}
    )
    records = {
        "name2": Record(
            [], 0.5, {"loss": 1 / 3, "steps": 12, "list": [1], "seconds": 0.25, "nested": {"a": 1}}
        ),
        "name0": Record([], 1.25, {"loss": None, "why": 'a "quoted", text', "solved": True}),
        "name1": Record([], 0.0, error="it failed"),
    }
    path = write_table(planned, records)
    assert path == tmp_path / "runs.csv"
    assert path.read_text() == (
        "run,seed,train.prefetch,sleep,state,loss,why,solved,steps,seconds,error\n"
        'name0,1,2,0.01,done,,"a ""quoted"", text",True,,1.25,\n'
        "name1,1,2,1.0,failed,,,,,0.0,it failed\n"
        "name2,2,5,0.01,done,0.3333333333333333,,,12,0.5,\n"
    )


@pytest.mark.parametrize("changes", [[{}], [{"seed": 1}, {"seed": 2}]])
def test_a_table_without_rows_has_its_columns(tmp_path, changes):
    path = write_table(series(tmp_path, *changes), {})
    expected = ["run", *(["seed"] if len(changes) > 1 else []), "state", "seconds", "error"]
    assert list(csv.reader(path.open())) == [expected]
