"""``metrics.csv`` holds what was written, also after a kill or on a full disk."""

import contextlib
import resource

import pytest

from dlcore.training.callbacks.callback import Start
from dlcore.training.config import Config
from dlcore.training.telemetry.metrics_log import MetricsLog, read_metrics


@contextlib.contextmanager
def table(folder, step=0, every=None):
    """The table of a run that goes on from a step, as a function that writes numbers."""
    table = MetricsLog(every)
    table.on_start(Start(folder, step, Config()))
    yield lambda step, values, clock=None: table.on_row(step, values, clock or {})
    table.on_end(None)


def test_rows_come_back_as_they_were(tmp_path):
    with table(tmp_path) as write:
        write(5, {"train/loss": 0.1 + 0.2, "train/accuracy": 1.0}, {"train/steps_per_second": 10.0})
        assert read_metrics(tmp_path / "metrics.csv") == [
            (5, "train/loss", 0.1 + 0.2),
            (5, "train/accuracy", 1.0),
        ]


def test_rows_after_the_restored_step_are_dropped(tmp_path):
    with table(tmp_path) as write:
        for step in (5, 10, 15):
            write(step, {"train/loss": float(step)})
    with table(tmp_path, 10) as write:
        write(15, {"train/loss": -1.0})
    assert [value for _, _, value in read_metrics(tmp_path / "metrics.csv")] == [5.0, 10.0, -1.0]


def test_an_incomplete_last_row_is_skipped(tmp_path):
    with table(tmp_path) as write:
        write(5, {"train/loss": 1.0})
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


WHOLE = "step,name,value\n" + "".join(f"{step},train/loss,0.5\n" for step in range(5, 45, 5))


@pytest.mark.parametrize(
    "damaged",
    [
        WHOLE[len(WHOLE) // 2 :],
        WHOLE[WHOLE.index("20,") :],
        "\0" * 40 + WHOLE[40:],
        WHOLE.replace("15,train/loss", "15,train/l\0\0\0"),
        WHOLE.replace("step,name", "step,label"),
        WHOLE.replace("0.5", "\0.5", 1),
    ],
    ids=["cut", "no header", "NULs at first", "NULs in a name", "another table", "NUL in a value"],
)
def test_a_table_without_its_first_part_or_with_nuls_is_named_and_stays(tmp_path, damaged):
    path = tmp_path / "metrics.csv"
    path.write_text(damaged)
    for read in (lambda: read_metrics(path), lambda: MetricsLog().on_start(Start(tmp_path, 40, Config()))):
        with pytest.raises(
            ValueError, match=r"metrics\.csv: got a row that is no step,name,value .*mend the file"
        ):
            read()
    assert path.read_text() == damaged


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        (WHOLE, None),
        (WHOLE.replace("20,train/loss,0.5\n", ""), "of steps 16 to 24"),
        ("step,name,value\n" + WHOLE[WHOLE.index("20,") :], "of steps 1 to 19"),
        (WHOLE[: WHOLE.index("35,")], "of steps 31 to 40"),
        ("step,name,value\n", "of steps 1 to 40"),
        ("", "of steps 1 to 40"),
        (None, "of steps 1 to 40"),
    ],
)
def test_missing_rows_are_said(tmp_path, capsys, text, missing):
    path = tmp_path / "metrics.csv"
    if text is not None:
        path.write_text(text)
    with table(tmp_path, 40, {"train/": 5}):
        pass
    line = f"{path}: rows train/... {missing} are missing; the table goes on without them\n"
    assert capsys.readouterr().err == ("" if missing is None else line)


def test_a_new_run_misses_no_rows(tmp_path, capsys):
    with table(tmp_path, 0, {"train/": 5, "eval/": 20}):
        pass
    assert capsys.readouterr().err == ""


@pytest.fixture
def small_files():
    """Files of this process cannot grow over 20 kB, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("small_files")
def test_a_full_disk_raises_at_once(tmp_path):
    """A thread that writes would end instead, and the run would wait for it for ever."""

    def write_much():
        with table(tmp_path) as write:
            for step in range(1, 10_000):
                write(step, {"train/loss": 0.5}, {f"train/{index}": 1.0 for index in range(10)})

    with pytest.raises(OSError, match="File too large"):
        write_much()
    rows = read_metrics(tmp_path / "metrics.csv")
    assert rows
    assert [step for step, _, _ in rows] == list(range(1, len(rows) + 1))
