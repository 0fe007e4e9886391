"""The commands for gcloud are those of its documentation, and its answers are understood."""

import shutil
import subprocess
from dataclasses import replace

import pytest

from dlcore.launch.queued_resource import QueuedResource, read_state
from dlcore.launch.tpu_topology import read_slice

RESOURCE = QueuedResource(
    "digits-first", read_slice("v5e:4x4"), "us-west4-a", "my-project", "v2-alpha-tpuv5-lite", True
)
END = ["--zone=us-west4-a", "--project=my-project", "--quiet"]


def test_commands_have_all_that_gcloud_needs():
    queued = ["gcloud", "compute", "tpus", "queued-resources"]
    assert RESOURCE.create == [
        *(*queued, "create", "digits-first", "--node-id=digits-first", "--accelerator-type=v5litepod-16"),
        *("--runtime-version=v2-alpha-tpuv5-lite", "--spot", *END),
    ]
    assert RESOURCE.describe == [
        *(*queued, "describe", "digits-first", "--format=value(state.state,state.stateInitiator)", *END)
    ]
    assert RESOURCE.delete == [*queued, "delete", "digits-first", "--force", *END]
    script = "echo 'a  b';\n$(c)"
    ssh = ["gcloud", "compute", "tpus", "tpu-vm", "ssh", "digits-first", "--worker=all"]
    assert RESOURCE.ssh(script) == [*ssh, f"--command={script}", *END]


def test_a_project_and_spot_capacity_are_asked_for_only_if_named():
    plain = replace(RESOURCE, project=None, spot=False)
    assert "--spot" not in plain.create
    assert not any(argument.startswith("--project") for argument in plain.create)


@pytest.mark.slow
def test_the_real_gcloud_knows_every_flag():
    """Its help needs no account and no network."""
    if shutil.which("gcloud") is None:
        pytest.skip("gcloud is not installed")
    for command in (RESOURCE.create, RESOURCE.describe, RESOURCE.delete, RESOURCE.ssh("true")):
        words = [word for word in command if not word.startswith("--") and word != "digits-first"]
        shown = subprocess.run(
            [*words, "--help"], capture_output=True, text=True, check=True, timeout=120
        ).stdout
        named = {word.split("=")[0] for word in command if word.startswith("--")}
        assert {flag for flag in named if flag not in shown} == set()


@pytest.fixture
def gcloud(tmp_path, monkeypatch):
    """Sets what gcloud prints and how it ends."""

    def answer(script):
        (tmp_path / "gcloud").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "gcloud").chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    return answer


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo ACTIVE", ("ACTIVE", False)),
        ("printf 'SUSPENDED\\tSERVICE\\n'", ("SUSPENDED", False)),
        ("printf 'SUSPENDED\\tUSER\\n'", ("SUSPENDED", True)),
        ("echo warning >&2; echo FAILED", ("FAILED", False)),
        ("echo 'ERROR: (gcloud) NOT_FOUND: Resource was not found' >&2; exit 1", None),
    ],
)
def test_states_are_read(gcloud, script, expected):
    gcloud(script)
    assert read_state(RESOURCE) == expected


@pytest.mark.parametrize(
    "script", ["echo 'ERROR: no account' >&2; exit 1", "echo 'ERROR: no account' >&2", "exit 3"]
)
def test_an_answer_without_a_state_is_an_error(gcloud, script):
    gcloud(script)
    with pytest.raises(
        OSError, match=r"gcloud does not tell the state of digits-first: (ERROR: no account|3)"
    ):
        read_state(RESOURCE)
