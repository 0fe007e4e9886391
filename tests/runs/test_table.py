"""The table of a run's metrics."""

import numpy as np
import pytest

from dlcore.runs.table import MetricsTable

ROWS = [(3, "train/<loss>", 1.5), (3, "eval/loss", float("inf")), (6, "train/<loss>", 0.12345678901234567)]


def test_it_holds_each_metric_with_its_steps_and_exact_values():
    table = MetricsTable(ROWS)
    assert list(table) == ["eval/loss", "train/<loss>"]
    assert len(table) == 2
    steps, values = table["train/<loss>"]
    np.testing.assert_array_equal(steps, [3, 6])
    assert values.tolist() == [1.5, 0.12345678901234567]
    assert values.dtype == np.float64
    with pytest.raises(KeyError, match="bogus"):
        table["bogus"]


def test_it_prints_a_line_for_each_metric_and_escapes_names():
    table = MetricsTable(ROWS)
    assert repr(table).splitlines()[1:] == [
        "eval/loss        1    inf     inf       inf      inf",
        "train/<loss>     2    1.5  0.1235    0.1235      1.5",
    ]
    assert table._repr_html_().count("<tr>") == 3
    assert "train/&lt;loss&gt;" in table._repr_html_()
    assert repr(MetricsTable([])) == "name  rows  first  last  smallest  largest"


def test_it_becomes_a_wide_frame():
    pytest.importorskip("pandas", reason="pandas is not installed")
    frame = MetricsTable(ROWS).to_pandas()
    assert frame.index.name == "step"
    assert frame.index.tolist() == [3, 6]
    np.testing.assert_array_equal(frame["eval/loss"], [np.inf, np.nan])


def test_it_reads_the_folder_of_a_run(tmp_path):
    assert len(MetricsTable.read(tmp_path)) == 0
    (tmp_path / "metrics.csv").write_text("step,name,value\n3,train/loss,0.5\n6,train/lo")
    assert MetricsTable.read(str(tmp_path))["train/loss"].values.tolist() == [0.5]
    with pytest.raises(
        ValueError, match=r"^folder: got '.*none', which is none, expected the folder of a run"
    ):
        MetricsTable.read(tmp_path / "none")
    with pytest.raises(TypeError, match=r"^folder: got 3, expected a path"):
        MetricsTable.read(3)
