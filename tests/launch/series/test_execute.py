"""All runs of a series that are not done yet are done on a cluster; a worker is asked again for those that are busy."""

import threading

import pytest

pytest.importorskip("distributed")
from distributed import LocalCluster

from dlcore.launch.command import Command
from dlcore.launch.series import execute as execute_module
from dlcore.launch.series import work as work_module
from dlcore.launch.series.clusters import ClusterError, RunningCluster, connected, prepare_dask
from dlcore.launch.series.execute import execute, missing_runs, read_records
from dlcore.launch.series.plan import plan_series
from dlcore.launch.series.record import Record, RunFiles


@pytest.fixture(scope="module")
def cluster():
    """A cluster whose only worker is a thread of this process."""
    prepare_dask()
    options = {
        "n_workers": 1,
        "threads_per_worker": 1,
        "processes": False,
        "dashboard_address": "127.0.0.1:0",
    }
    with LocalCluster(**options) as local, connected(local) as client:
        yield RunningCluster(client)


@pytest.fixture
def series(tmp_path):
    (tmp_path / "runs").mkdir()
    lines = [f"--config.seed={seed}" for seed in range(5)]
    lines[3] += " --config.end=raise"
    (tmp_path / "file").write_text("\n".join(lines))
    common = ("--mode=toy", "--config.sleep=0", f"--config.journal={tmp_path / 'journal'}")
    return plan_series(Command("tests.helpers.many_toy", common, tmp_path), tmp_path / "file")


def begun(series):
    lines = (series.folder / "journal").read_text().splitlines()
    return [int(line.split()[0]) for line in lines if line.endswith("begins")]


def test_every_run_is_done_once_and_a_failed_one_is_tried_again(cluster, series, capfd):
    records = read_records(series)
    assert not records
    with capfd.disabled():
        execute(cluster, series, records, isolate=False)
    assert read_records(series) == records
    ended = [(records[run.name].error, (records[run.name].result or {}).get("square")) for run in series.runs]
    assert ended == [(None, 0), (None, 1), (None, 4), ("RuntimeError: seed 3 is bad", None), (None, 16)]
    assert sorted(begun(series)) == [0, 1, 2, 3, 4]
    assert missing_runs(series, records) == [series.runs[3]]
    with capfd.disabled():
        execute(cluster, series, records, isolate=False)
    assert sorted(begun(series)) == [0, 1, 2, 3, 3, 4]


def test_a_run_for_which_another_process_works_comes_last(cluster, series, monkeypatch, capfd):
    monkeypatch.setattr(work_module, "LOCK_SECONDS", 0.1)
    held, released = threading.Event(), threading.Event()

    def hold():
        with RunFiles(series.folder, series.runs[0].name).locked(0):
            held.set()
            released.wait()

    threading.Thread(target=hold).start()
    held.wait()
    records = {}
    answers = execute_module._Questions.answers

    def watched(questions):
        yield from answers(questions)
        if questions.remaining == 1:
            released.set()

    monkeypatch.setattr(execute_module._Questions, "answers", watched)
    with capfd.disabled():
        execute(cluster, series, records, isolate=False)
    assert begun(series)[-1] == 0
    assert len(records) == 5


def test_an_end_that_cannot_be_written_is_an_error_of_the_run(cluster, series, monkeypatch, capfd):
    publish = RunFiles.publish

    def fail(files, record):
        if files.name == series.runs[1].name:
            raise OSError("the disk\nis full")
        publish(files, record)

    monkeypatch.setattr(RunFiles, "publish", fail)
    records = {}
    with capfd.disabled():
        execute(cluster, series, records, isolate=False)
    assert records[series.runs[1].name] == Record(
        list(series.runs[1].arguments), 0.0, error="OSError: the disk is full"
    )
    assert len(records) == 5


def test_the_cluster_is_adjusted_to_what_remains(cluster, series, monkeypatch, capfd):
    monkeypatch.setattr(execute_module, "ADJUST_SECONDS", -1)
    seen = []
    watched = RunningCluster(cluster.client)
    monkeypatch.setattr(watched, "adjust", seen.append)
    with capfd.disabled():
        execute(watched, series, {}, isolate=False)
    assert seen == sorted(seen, reverse=True)
    assert (seen[0], seen[-1]) == (5, 0)


def test_a_scheduler_that_goes_ends_the_series_with_one_error(series):
    options = {"n_workers": 0, "processes": False, "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(**options) as local, connected(local.scheduler_address) as client:
        threading.Timer(0.5, local.close).start()
        with pytest.raises(ClusterError, match=r"^the scheduler is gone; the same command goes on$"):
            execute(RunningCluster(client), series, {}, isolate=False)
