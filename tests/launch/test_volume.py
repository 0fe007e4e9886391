"""What keeps the runs' folders: a claim, a share or a folder; or nothing, if the checkpoints are in a bucket."""

from pathlib import Path

import pytest

from dlcore.launch.command import Command
from dlcore.launch.volume import Volume, read_volume


def read(text, *arguments):
    return read_volume(text, Command("experiments.digits", arguments, Path("/w/runs/digits/first")))


@pytest.mark.parametrize(
    ("text", "volume"),
    [
        ("runs", Volume(claim="runs")),
        ("team.runs-1", Volume(claim="team.runs-1")),
        ("10.0.0.2:/runs", Volume(server="10.0.0.2", path="/runs")),
        ("nfs.example:/a b", Volume(server="nfs.example", path="/a b")),
        ("/mnt/runs", Volume(path="/mnt/runs")),
        ("/mnt/a, \"b\" 'c' $(d)", Volume(path="/mnt/a, \"b\" 'c' $(d)")),
    ],
)
def test_volumes_are_read(text, volume):
    assert read(text) == volume


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a b",
        "A",
        "-a",
        "host:path",
        "a:b:/c",
        "ho st:/path",
        "/a/../b",
        "h:/..",
        "/a\nb",
        "/a\udcff",
        "x" * 254,
    ],
)
def test_other_texts_are_refused(text):
    with pytest.raises(
        ValueError, match=r"^--volume: got .*, expected HOST:/PATH of an NFS share, /PATH of a folder"
    ):
        read(text)


@pytest.mark.parametrize(
    "flag", [("--config.checkpoint.folder=gs://b/first",), ("--config.checkpoint.folder", "gs://b/f")]
)
def test_checkpoints_in_a_bucket_need_no_volume(flag):
    assert read(None, "--run=first", *flag) is None


@pytest.mark.parametrize(
    "arguments", [(), ("--config.checkpoint.folder=/tmp/a",), ("--config.checkpoint.every=3",)]
)
def test_a_run_that_would_be_lost_is_refused(arguments):
    with pytest.raises(ValueError, match=r"^--volume: got none, but .* or --config.checkpoint.folder=gs://"):
        read(None, *arguments)
