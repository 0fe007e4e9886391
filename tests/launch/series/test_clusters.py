"""Workers of this machine do work, come back after they died, and need Dask."""

import os
import signal
import time
from types import SimpleNamespace

import pytest

from dlcore.launch.series import clusters
from dlcore.launch.series.clusters import (
    ClusterError,
    LocalWorkers,
    check_installed,
    local_cluster,
    running_cluster,
)


def test_a_missing_package_names_the_extra(monkeypatch):
    others_are_there = lambda name: None if name == "distributed" else object()
    monkeypatch.setattr(clusters.importlib.util, "find_spec", others_are_there)
    with pytest.raises(
        ValueError, match=r"^--runs: got no distributed installed, .* pip install 'dlcore\[cluster\]'"
    ):
        check_installed()


def test_a_scheduler_that_is_not_there_is_named():
    dask = pytest.importorskip("dask")
    pytest.importorskip("distributed")  # its defaults would go with the setting below if they came after it
    with (
        pytest.raises(ClusterError, match=r"^the scheduler tcp://127\.0\.0\.1:1 does not answer"),
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        running_cluster("tcp://127.0.0.1:1"),
    ):
        pass


def test_workers_that_their_nannies_gave_up_are_replaced():
    status = pytest.importorskip("distributed.core").Status
    nannies = {
        name: SimpleNamespace(status=getattr(status, name)) for name in ("running", "failed", "closed")
    }
    scaled = []
    cluster = SimpleNamespace(workers=nannies, scale=scaled.append)
    workers = LocalWorkers(cluster, None)
    workers.adjust(7)
    assert list(nannies) == ["running"]
    assert scaled == [3]


@pytest.mark.slow
def test_local_workers_come_back_and_end_with_the_cluster():
    pytest.importorskip("distributed")
    with local_cluster(2) as cluster:
        pids = set(cluster.client.run(os.getpid).values())
        assert len(pids) == 2
        assert all(cluster.client.run(lambda: signal.getsignal(signal.SIGINT) is signal.SIG_IGN).values())
        os.kill(min(pids), signal.SIGKILL)
        deadline = time.monotonic() + 60
        while len(now := set(cluster.client.run(os.getpid, on_error="ignore").values())) < 2 or now == pids:
            assert time.monotonic() < deadline
            cluster.adjust(5)
            time.sleep(0.1)
    assert not any(is_alive(pid) for pid in now)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
