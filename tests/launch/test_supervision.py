"""A job on a TPU slice is followed to its end, and started again where that helps; gcloud and docker are played."""

import subprocess

import pytest

from dlcore.launch import supervision
from dlcore.launch.queued_resource import QueuedResource
from dlcore.launch.supervision import Supervisor, job_exit_code
from dlcore.launch.tpu_topology import read_slice
from dlcore.launch.volume import Volume
from dlcore.launch.worker import Worker
from tests.helpers.fake_cloud import FakeCloud

NASTY = ["--run=a b", "--x='\";$(touch no)`no`\n\\", "-3", "*", "", "  two  spaces ", "$HOME", "ü€😀"]


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    return FakeCloud(tmp_path, monkeypatch)


def supervisor(volume, tpu="v5e:2x2", image="image:1", max_restarts=1):
    resource = QueuedResource(
        "digits-first", read_slice(tpu), "us-west4-a", None, "v2-alpha-tpuv5-lite", True
    )
    worker = Worker("digits-first", image, ["python", "-m", "job", *NASTY], Volume(path=str(volume)))
    return Supervisor(resource, worker, max_restarts, seconds=0)


def verbs(cloud):
    """What gcloud was asked for, without looks at the state."""
    scripts = {"docker rm": "restart", "docker run": "start", "docker logs": "follow"}
    found = []
    for _, verb, *rest in cloud.gcloud_calls():
        if verb == "ssh":
            verb = next(word for text, word in scripts.items() if text in " ".join(rest))
        if verb != "describe":
            found.append(verb)
    return found


def test_a_job_runs_to_its_end(cloud, capfd):
    volume = cloud.job([0])
    cloud.play({"states": ["WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE"]})
    assert supervisor(volume).run() == 0
    assert verbs(cloud) == ["create", "start", "follow"]
    assert cloud.starts() == [NASTY]
    out, err = capfd.readouterr()
    assert "worker 0 start 1\n" in out
    states = ("ABSENT", "WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE")
    assert err.splitlines() == [f"digits-first: {state}" for state in states]


def test_spot_capacity_that_is_taken_away_comes_back_and_the_run_goes_on(cloud):
    volume = cloud.job([75], [75], [0])
    taken = {"lost": True, "then": ["SUSPENDING", "SUSPENDED"]}
    cloud.play(
        {"states": ["PROVISIONING", "ACTIVE"], **taken},
        {"states": ["WAITING_FOR_RESOURCES", "ACTIVE"]},
    )
    assert supervisor(volume, max_restarts=0).run() == 0
    first = ["create", "start", "follow", "delete"]
    assert verbs(cloud) == [*first, "create", "start", "follow", "restart", "follow"]
    assert cloud.starts() == [NASTY] * 3


def test_a_connection_that_is_lost_is_made_again_without_a_second_job(cloud):
    volume = cloud.job([0])
    cloud.play({"states": ["ACTIVE"], "lost": True, "then": ["ACTIVE"]})
    assert supervisor(volume).run() == 0
    assert verbs(cloud) == ["create", "start", "follow", "start", "follow"]
    assert len(cloud.starts()) == 1


def test_a_launcher_that_is_called_again_follows_the_job_that_runs(cloud):
    volume = cloud.job([0])
    cloud.play({"states": ["ACTIVE"]})
    assert supervisor(volume).run() == 0
    assert supervisor(volume).run() == 0
    assert verbs(cloud) == ["create", "start", "follow", "start", "follow"]
    assert len(cloud.starts()) == 1


@pytest.mark.parametrize(
    ("codes", "expected", "starts"),
    [
        ([[75], [75], [75], [0]], 0, 4),  # saved: never counts
        ([[1]], 1, 1),  # failed: never again
        ([[2]], 2, 1),
        ([[137], [0]], 0, 2),  # killed: counts
        ([[137], [75], [134]], 134, 3),
    ],
)
def test_the_exit_code_says_whether_a_job_starts_again(cloud, codes, expected, starts):
    volume = cloud.job(*codes)
    cloud.play({"states": ["ACTIVE"]})
    assert supervisor(volume).run() == expected
    assert len(cloud.starts()) == starts


def test_all_workers_run_the_job_and_all_start_again(cloud):
    volume = cloud.job([0, 75], [0, 1])
    cloud.play({"states": ["ACTIVE"]}, workers=2)
    assert supervisor(volume, "v4:2x2x2").run() == 1
    assert [len(cloud.starts(worker)) for worker in range(2)] == [2, 2]


@pytest.mark.parametrize(
    ("slices", "message"),
    [
        ([], "gcloud did not create it"),
        ([{"states": ["ACCEPTED", "FAILED"]}], "Google Cloud cannot fulfill it"),
        (
            [{"states": ["ACTIVE", "SUSPENDED\tUSER"], "lost": True, "then": ["SUSPENDED\tUSER"]}],
            "deleted elsewhere",
        ),
    ],
)
def test_a_slice_that_cannot_be_had_ends_the_launcher(cloud, slices, message):
    volume = cloud.job([0])
    cloud.play(*slices)
    with pytest.raises(OSError, match=message):
        supervisor(volume).run()


@pytest.mark.parametrize("states", [["PROVISIONING"], ["ACTIVE", "SUSPENDING"], ["ACCEPTED", "DELETING"]])
def test_a_slice_that_someone_deletes_stays_deleted(cloud, monkeypatch, states):
    volume = cloud.job([0])
    cloud.play({"states": states, "lost": True, "then": ["SUSPENDING"]}, {"states": ["ACTIVE"]})
    monkeypatch.setattr("dlcore.launch.supervision.time.sleep", lambda _: subprocess.run(delete, check=True))
    own = supervisor(volume)
    delete = own._resource.delete
    with pytest.raises(OSError, match="it was deleted elsewhere, so the job has ended"):
        own.run()
    assert verbs(cloud)[0] == "create"
    assert verbs(cloud).count("create") == 1


def test_a_slice_that_is_still_being_deleted_is_created_after_that(cloud):
    volume = cloud.job([0])
    cloud.play({"states": ["DELETING", "DELETING", "DELETING"]}, {"states": ["ACTIVE"]})
    subprocess.run(supervisor(volume)._resource.create, check=True)
    own = supervisor(volume)
    assert own._state() == ("DELETING", False)
    subprocess.run(own._resource.delete, check=True)
    assert own.run() == 0


def test_a_slice_is_deleted_also_if_gcloud_fails_once(cloud):
    volume = cloud.job([0])
    cloud.play({"states": ["ACTIVE"], "stays": 2})
    own = supervisor(volume)
    own.run()
    own.delete()
    assert verbs(cloud)[-3:] == ["delete"] * 3
    own.delete()  # there is none any more
    assert verbs(cloud)[-1] == "delete"


def test_a_restart_that_is_lost_is_made_again(cloud):
    volume = cloud.job([137], [0])
    cloud.play({"states": ["ACTIVE"], "lost restarts": 1})
    assert supervisor(volume, max_restarts=1).run() == 0
    assert verbs(cloud) == ["create", "start", "follow", "restart", "restart", "follow"]
    assert len(cloud.starts()) == 2


def test_a_container_that_cannot_start_ends_the_launcher(cloud):
    volume = cloud.job([0])
    cloud.play({"states": ["ACTIVE"]})
    with pytest.raises(OSError, match="docker cannot start the container"):
        supervisor(volume, image="absent").run()


def test_gcloud_that_never_answers_ends_the_launcher(cloud):
    volume = cloud.job([0])
    (cloud.folder / "bin" / "gcloud").write_text("#!/bin/sh\necho 'no network' >&2\nexit 1\n")
    with pytest.raises(OSError, match="does not tell the state of digits-first: no network"):
        supervisor(volume).run()


def test_workers_that_cannot_be_reached_end_the_launcher_after_some_attempts(cloud, monkeypatch):
    monkeypatch.setattr(supervision, "ATTEMPTS", 3)
    volume = cloud.job([0])
    cloud.play({"states": ["ACTIVE"]}, workers=0)  # so that nothing tells an exit code
    with pytest.raises(OSError, match="the connection was lost"):
        supervisor(volume).run()
    assert verbs(cloud).count("follow") == 3


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([0, 0], 0),
        ([0, 75], 75),
        ([75, 1, 0], 1),
        ([1, 2], 2),
        ([1, 137, 75], 137),  # the others fail since one was killed
        ([130, 0], 130),
    ],
)
def test_the_exit_code_of_a_job_is_that_of_the_process_which_ended_it(codes, expected):
    assert job_exit_code(codes) == expected
