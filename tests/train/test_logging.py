"""metrics.csv, and what a person sees."""

import pytest

from dlcore.train.logging import MetricsLog, ProgressReport, read_metrics


def test_rows_come_back_as_they_were(tmp_path):
    with MetricsLog(tmp_path, 0) as log:
        log.write(5, {"train/loss": 0.1 + 0.2, "train/accuracy": 1.0}, {"train/steps_per_second": 10.0})
        assert read_metrics(tmp_path / "metrics.csv") == [
            (5, "train/loss", 0.1 + 0.2),
            (5, "train/accuracy", 1.0),
        ]
    assert list(tmp_path.glob("events.out.tfevents.*"))


def test_rows_behind_the_restored_step_are_dropped(tmp_path):
    with MetricsLog(tmp_path, 0) as log:
        for step in (5, 10, 15):
            log.write(step, {"train/loss": float(step)})
    with MetricsLog(tmp_path, 10) as log:
        log.write(15, {"train/loss": -1.0})
    assert [value for _, _, value in read_metrics(tmp_path / "metrics.csv")] == [5.0, 10.0, -1.0]


def test_a_row_that_a_killed_process_left_incomplete_is_passed_over(tmp_path):
    with MetricsLog(tmp_path, 0) as log:
        log.write(5, {"train/loss": 1.0})
    path = tmp_path / "metrics.csv"
    for torn in ("10,train/lo", "10", "10,train/loss,0.12345"):
        path.write_text(path.read_text().splitlines()[0] + "\n5,train/loss,1.0\n" + torn)
        assert read_metrics(path) == [(5, "train/loss", 1.0)]
    assert read_metrics(tmp_path / "none.csv") == []


def test_a_damaged_row_is_named(tmp_path):
    path = tmp_path / "metrics.csv"
    for row in ("5,train/loss", "five,train/loss,1.0", "5,train/loss,much"):
        path.write_text(f"step,name,value\n{row}\n6,train/loss,1.0\n")
        with pytest.raises(ValueError, match=r"metrics\.csv: got a row that is no step,name,value"):
            read_metrics(path)


def test_progress_is_plain_lines_where_there_is_no_terminal(capsys):
    with ProgressReport(0, 10) as progress:
        progress.advance()
        progress.report(5, {"loss": 0.25})
        progress.report(10, {"eval accuracy": 0.5})
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("step 5/10  loss 0.25  ")
    assert lines[1].startswith("step 10/10  eval accuracy 0.5  ")
    assert all(line.endswith("s left") for line in lines)
