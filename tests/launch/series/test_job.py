"""Many runs as a job: what is printed, the table, the exit code, and what stops it."""

import contextlib
import csv
import os
import signal
import threading

import pytest

from dlcore.launch.command import Command
from dlcore.launch.series import execute as execute_module
from dlcore.launch.series.clusters import ClusterError
from dlcore.launch.series.job import do_runs, plan_runs
from dlcore.launch.series.record import Record, RunFiles
from dlcore.utils.locks import lock_file, open_lock
from tests.helpers.command_line import read_result

pytest.importorskip("distributed")


@pytest.fixture
def series(tmp_path):
    lines = "\n".join(f"--config.seed={seed}" for seed in range(3))
    (tmp_path / "file").write_text(lines)
    command = Command("tests.helpers.many_toy", ("--mode=toy",), tmp_path / "series")
    return plan_runs(command, str(tmp_path / "file"))


@pytest.fixture
def cluster(monkeypatch):
    """The place of a cluster: a function that does what its test says with each run, in this process."""

    def make(end):
        def execute(cluster, series, records, *, isolate):
            for run in execute_module.missing_runs(series, records):
                make.asked.append(run.config.seed)
                record = end(run)
                RunFiles(series.folder, run.name).publish(record)
                records[run.name] = record

        monkeypatch.setattr(execute_module, "execute", execute)
        make.opened, make.asked = [], []

        @contextlib.contextmanager
        def opened(missing):
            make.opened.append(missing)
            yield None

        return opened

    return make


def well(run):
    return Record([], 0.5, {"square": run.config.seed**2})


def badly(run):
    return Record([], 0.5, error="no luck") if run.config.seed == 1 else well(run)


def rows(series):
    return list(csv.DictReader((series.folder / "runs.csv").open()))


def test_all_is_done_and_the_result_is_the_last_line(series, cluster, capsys):
    assert do_runs(series, cluster(well), isolate=False) == 0
    printed = capsys.readouterr()
    result = read_result(printed.out)
    assert result.pop("seconds") >= 0
    folder = str(series.folder)
    assert result == {"runs": 3, "done": 3, "failed": 0, "table": f"{folder}/runs.csv", "folder": folder}
    assert printed.err == ""
    assert [(row["seed"], row["state"], row["square"]) for row in rows(series)] == [
        ("0", "done", "0"),
        ("1", "done", "1"),
        ("2", "done", "4"),
    ]


def test_started_again_only_failed_runs_are_done(series, cluster, capsys):
    again = cluster(badly)
    assert do_runs(series, again, isolate=False) == 1
    printed = capsys.readouterr()
    assert read_result(printed.out)["failed"] == 1
    assert printed.err == f"failed: {series.runs[1].name}: no luck\n"
    assert [(row["state"], row["error"]) for row in rows(series)][:2] == [("done", ""), ("failed", "no luck")]
    again = cluster(well)
    assert do_runs(series, again, isolate=False) == 0
    assert (cluster.opened, cluster.asked) == ([1], [1])
    again = cluster(well)
    assert do_runs(series, again, isolate=False) == 0
    assert cluster.opened == []  # no worker is started


def test_of_many_failures_some_are_shown(tmp_path, cluster, capsys):
    (tmp_path / "file").write_text("\n".join(f"--config.seed={seed}" for seed in range(13)))
    series = plan_runs(
        Command("tests.helpers.many_toy", ("--mode=toy",), tmp_path / "s"), str(tmp_path / "file")
    )
    assert do_runs(series, cluster(lambda run: Record([], 0, error="no")), isolate=False) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11
    assert lines[-1] == f"failed: 3 more, see {tmp_path / 's' / 'runs.csv'}"


@pytest.mark.parametrize(
    ("number", "code", "name"),
    [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 75, "SIGTERM"), (signal.SIGHUP, 75, "SIGHUP")],
)
def test_a_signal_stops_after_the_table_is_written(series, cluster, capsys, number, code, name):
    def stop(run):
        if run.config.seed == 1:
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)  # impatient people send it twice
            threading.Event().wait(10)
        return well(run)

    before = signal.getsignal(number)
    assert do_runs(series, cluster(stop), isolate=False) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"stopped by {name}: 1 of 3 runs are done; to go on: --workdir={series.folder}\n"
    assert [row["seed"] for row in rows(series)] == ["0"]
    assert signal.getsignal(number) == before


def test_a_cluster_that_is_lost_is_one_error(series, cluster, capsys):
    def lose(run):
        raise ClusterError("the scheduler is gone")

    assert do_runs(series, cluster(lose), isolate=False) == 1
    assert capsys.readouterr().err == "error: the scheduler is gone\n"


def test_a_folder_of_another_kind_or_in_use_is_refused(series, cluster):
    series.folder.mkdir()
    with open_lock(series.folder / ".lock") as lock:
        lock_file(lock, "busy")
        with pytest.raises(BlockingIOError, match="another process does the runs of this folder"):
            do_runs(series, cluster(well), isolate=False)
    (series.folder / "config.json").touch()
    with pytest.raises(ValueError, match=r"^--workdir: .* is the folder of a single run"):
        do_runs(series, cluster(well), isolate=False)


def test_planning_needs_dask(tmp_path, monkeypatch):
    monkeypatch.setattr("dlcore.launch.series.clusters.PACKAGES", ("no_such_package",))
    with pytest.raises(ValueError, match=r"^--runs: got no no_such_package installed"):
        plan_runs(Command("tests.helpers.many_toy", (), tmp_path), "file")
