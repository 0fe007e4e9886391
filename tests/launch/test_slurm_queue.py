"""What Slurm's programs print is read as it is meant; what they refuse is an error in their words."""

import os

import pytest

from dlcore.launch import slurm_queue
from dlcore.launch.slurm_queue import JobState, read_states, submit


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Makes a program in the place of one of Slurm's."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def make(name, text):
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)

    return make


def test_the_states_of_jobs_are_read(program, tmp_path):
    program(
        "squeue",
        f"echo \"$@\" > '{tmp_path}/given'; echo '12|RUNNING|2|None|'; "
        "echo '13_0|PENDING|0|ReqNodeNotAvail, UnavailableNodes:n1|'; echo note",
    )
    assert read_states(["12", "13_0", "9"]) == {
        "12": JobState("RUNNING", "None", 2),
        "13_0": JobState("PENDING", "ReqNodeNotAvail, UnavailableNodes:n1", 0),
    }
    assert "--jobs=12,13_0,9 " in (tmp_path / "given").read_text()


def test_no_job_asks_nobody(program):
    program("squeue", "exit 1")
    assert read_states([]) == {}


def test_a_forgotten_job_has_no_state(program):
    program("squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    assert read_states(["12"]) == {}


@pytest.mark.parametrize(
    ("state", "alive"),
    [("PENDING", True), ("RUNNING", True), ("COMPLETING", True), ("SUSPENDED", True), ("REQUEUED", True)]
    + [
        (state, False)
        for state in ("COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")
    ],
)
def test_a_job_is_alive_until_it_has_ended(state, alive):
    assert JobState(state, "None", 0).is_alive == alive


def test_an_error_of_squeue_is_told(program):
    program("squeue", "echo 'squeue: error: Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(ValueError, match=r"^squeue: Unable to contact slurm controller$"):
        read_states(["12"])


def test_a_controller_that_does_not_answer_is_told(program, monkeypatch):
    monkeypatch.setattr(slurm_queue, "SECONDS", 0.1)
    program("squeue", "exec sleep 60")
    with pytest.raises(ValueError, match=r"^squeue: got no answer in 0.1 s"):
        read_states(["12"])


def test_a_script_is_submitted_byte_for_byte_in_its_folder(program, tmp_path):
    program(
        "sbatch", f"cat > '{tmp_path}/script'; printf '%s\\0' \"$@\" > '{tmp_path}/given'; echo '12;cluster'"
    )
    folder = tmp_path / "a b\n;"
    assert submit("#!/bin/bash\nä\udcff\n", folder) == "12"
    assert (tmp_path / "script").read_bytes() == b"#!/bin/bash\n\xc3\xa4\xff\n"
    assert (tmp_path / "given").read_bytes().split(b"\0")[:-1] == [
        b"--parsable",
        b"--chdir=" + os.fsencode(folder),
    ]


def test_what_sbatch_refuses_is_told(program, tmp_path):
    program(
        "sbatch",
        "echo 'sbatch: error: invalid partition specified: nope' >&2\n"
        "echo 'sbatch: error: Batch job submission failed: Invalid partition name specified' >&2; exit 1",
    )
    message = "^sbatch: Batch job submission failed: Invalid partition name specified; nothing was submitted$"
    with pytest.raises(ValueError, match=message):
        submit("", tmp_path)
    program("sbatch", "exit 3")
    with pytest.raises(ValueError, match=r"^sbatch: exit code 3; nothing was submitted$"):
        submit("", tmp_path)


def test_slurm_is_there_if_its_programs_are(program, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not slurm_queue.has_slurm()
    program("squeue", "")
    assert slurm_queue.has_slurm()
