"""A scheduler for other machines is found through a file, and talks only with those that can read it."""

import json
import stat

import pytest

pytest.importorskip("distributed")

from dlcore.launch.series.clusters import ClusterError, connected, prepare_dask
from dlcore.launch.series.scheduler import read_scheduler, scheduler_file, served_scheduler


@pytest.fixture
def served(tmp_path):
    prepare_dask()
    file = scheduler_file(tmp_path)
    with served_scheduler(file, "127.0.0.1", "127.0.0.1:0") as cluster:
        yield file, cluster
    assert not file.exists()


def test_whoever_has_the_file_connects(served):
    file, cluster = served
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    found = read_scheduler(str(file))
    assert found["address"] == cluster.scheduler_address
    assert found["address"].startswith("tls://127.0.0.1:")
    for options in (found, {"address": cluster}):
        with connected(**options) as client:
            assert client.scheduler_info()["address"] == cluster.scheduler_address


def test_nobody_else_connects(served, tmp_path):
    _, cluster = served
    with served_scheduler(tmp_path / "other" / "file", "127.0.0.1", "127.0.0.1:0"):
        others = read_scheduler(str(tmp_path / "other" / "file"))["security"]
    with (
        pytest.raises(ClusterError, match="does not answer"),
        connected(cluster.scheduler_address, others, seconds=1),
    ):
        pass
    with (
        pytest.raises(ClusterError, match="does not answer"),
        connected(cluster.scheduler_address.replace("tls", "tcp"), seconds=1),
    ):
        pass


def test_addresses_and_files_of_dask_are_understood(tmp_path):
    assert read_scheduler("tcp://node1:8786") == {"address": "tcp://node1:8786", "security": None}
    (tmp_path / "file").write_text(
        json.dumps({"type": "Scheduler", "address": "tcp://node1:1", "workers": {}})
    )
    assert read_scheduler(str(tmp_path / "file")) == {"address": "tcp://node1:1", "security": None}


@pytest.mark.parametrize("text", [None, "", "[]", "{}", "{"])
def test_other_files_are_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "file").write_text(text)
    with pytest.raises(
        ValueError, match=r"^--scheduler: got .*/file \(.*\), expected an address such as tcp://"
    ):
        read_scheduler(str(tmp_path / "file"))
