"""Programs that take the places of gcloud, sudo, docker and kubectl: they log their arguments and play a scenario.

The fake gcloud hands a script to `sh` as the real one does, once a worker. The fake docker runs the container's command
with this Python in the folder that is mounted, and keeps its log and exit code. A slice that is deleted loses its
containers.
"""

import csv
import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

PROGRAMS = {
    "sudo": '#!/bin/sh\nprintf "%s\\n" "sudo $*" >>"$FAKE_CLOUD/sudo"\ncase $1 in docker) exec "$@" ;; esac\n',
    "mountpoint": "#!/bin/sh\nexit 1\n",
    "kubectl": '#!/bin/sh\nprintf "%s\\0" "$@" >>"$FAKE_CLOUD/kubectl"\nexit "${KUBECTL_EXIT:-0}"\n',
}


# A job that writes down its arguments and ends with the next exit code of its worker.
JOB = """
import json, os, sys
worker = os.environ["WORKER"]
with open(f"starts-{worker}", "a+") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
    file.seek(0)
    start = len(file.readlines())
print("worker", worker, "start", start)
with open("codes.json") as file:
    sys.exit(json.load(file)[start - 1][int(worker)])
"""


class FakeCloud:
    """The fake programs on the PATH, and what they were called with.

    Args:
        folder: a new folder.
        monkeypatch: undoes the change of the PATH.
    """

    def __init__(self, folder: Path, monkeypatch: "pytest.MonkeyPatch"):
        self.folder = folder
        (folder / "bin").mkdir(parents=True)
        python = f'#!/bin/sh\nexec {sys.executable} -I {__file__} {{}} "$@"\n'
        for name, text in {
            **PROGRAMS,
            "gcloud": python.format("gcloud"),
            "docker": python.format("docker"),
        }.items():
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(folder / "bin"), prepend=os.pathsep)
        monkeypatch.setenv("FAKE_CLOUD", str(folder))
        self.play()

    def play(self, *slices: dict[str, Any], workers: int = 1) -> None:
        """Sets what happens to each slice that is created, in turn.

        Args:
            slices: ``states``: what `describe` tells, one call after the other, the last one for ever; ``lost``: true
                if the connection ends when the job is followed, ``then``: the states after that; ``lost restarts``:
                how often it ends when the job is started again; ``stays``: how often it cannot be deleted.
            workers: the number of workers of a slice.
        """
        write(self.folder, {"slices": list(slices), "workers": workers, "current": None})

    def job(self, *codes: list[int]) -> Path:
        """Makes a volume with the module ``job``, whose processes end with these exit codes, a list for each start."""
        volume = self.folder / "a disk, \"with\" 'quotes'"
        volume.mkdir()
        (volume / "job.py").write_text(JOB)
        (volume / "codes.json").write_text(json.dumps(codes))
        return volume

    def starts(self, worker: int = 0) -> list[list[str]]:
        """The arguments with which the job was started on a worker."""
        (path,) = self.folder.glob(f"a disk*/starts-{worker}")
        return [json.loads(line) for line in path.read_text().splitlines()]

    def gcloud_calls(self) -> list[list[str]]:
        """The arguments of each call of gcloud after ``compute tpus``."""
        lines = (self.folder / "gcloud").read_text().splitlines() if (self.folder / "gcloud").exists() else []
        return [json.loads(line)[2:] for line in lines]

    def kubectl_calls(self) -> list[str]:
        """The arguments of all calls of kubectl."""
        path = self.folder / "kubectl"
        return path.read_text().split("\0")[:-1] if path.exists() else []


def write(folder: Path, scenario: dict[str, Any]) -> None:
    (folder / "scenario.json").write_text(json.dumps(scenario))


def gcloud(folder: Path, arguments: list[str]) -> int:
    with (folder / "gcloud").open("a") as log:
        log.write(json.dumps(arguments) + "\n")
    scenario = json.loads((folder / "scenario.json").read_text())
    code = act(folder, arguments[3], arguments, scenario)
    write(folder, scenario)
    return code


def act(folder: Path, verb: str, arguments: list[str], scenario: dict[str, Any]) -> int:
    current = scenario["current"]
    if verb == "create":
        if not scenario["slices"] or current:
            return fail("ERROR: (gcloud) ALREADY_EXISTS" if current else "ERROR: (gcloud) quota")
        scenario["current"] = scenario["slices"].pop(0)
    elif current is None:
        return fail(
            "ERROR: (gcloud.compute.tpus.queued-resources.describe) NOT_FOUND: Resource was not found"
        )
    elif verb == "describe":
        state = current["states"][0]
        current["states"] = current["states"][1:] or [state]
        print(state)
    elif verb == "delete" and current.get("stays"):
        current["stays"] -= 1
        return fail("ERROR: (gcloud) UNAVAILABLE")
    elif verb == "delete":
        scenario["current"] = None
        shutil.rmtree(folder / "vms", ignore_errors=True)
    elif verb == "ssh":
        return ssh(folder, arguments, scenario)
    return 0


def ssh(folder: Path, arguments: list[str], scenario: dict[str, Any]) -> int:
    (script,) = (a.removeprefix("--command=") for a in arguments if a.startswith("--command="))
    script = " ".join(script.split(" "))  # gcloud splits the script at each space, and ssh joins the parts
    current = scenario["current"]
    if "docker logs" in script and current.pop("lost", False):
        current["states"] = current["then"]
        return fail("ssh: connection closed") + 254
    if "docker rm" in script and current.get("lost restarts"):
        current["lost restarts"] -= 1
        return fail("ssh: connection closed") + 254
    codes = []
    for worker in range(scenario["workers"]):
        vm = folder / "vms" / str(worker)
        vm.mkdir(parents=True, exist_ok=True)
        codes.append(os.waitstatus_to_exitcode(spawn(["sh", "-c", script], VM=str(vm), WORKER=str(worker))))
    return next(filter(None, codes), 0)


def spawn(arguments: list[str], **environment: str) -> int:
    process = os.fork()
    if process == 0:
        os.execvpe(arguments[0], arguments, {**os.environ, **environment})
    return os.waitpid(process, 0)[1]


def docker(arguments: list[str]) -> int:
    vm, (verb, *rest) = Path(os.environ["VM"]), arguments
    container = vm / rest[-1]
    if verb == "container":
        return 0 if container.exists() else 1
    if verb == "run":
        return run(vm, rest)
    if not container.exists():
        return fail("Error: No such container")
    if verb == "logs":
        print((container / "log").read_text(), end="")
    elif verb == "wait":
        print((container / "code").read_text())
    elif verb == "rm":
        shutil.rmtree(container)
    return 0


def run(vm: Path, arguments: list[str]) -> int:
    options = dict(
        a.partition("=")[::2] for a in arguments if a.startswith("--name") or a.startswith("--mount")
    )
    image = next(index for index, argument in enumerate(arguments) if not argument.startswith("--"))
    if arguments[image] == "absent":
        return fail("docker: image not found") + 124
    container = vm / options["--name"]
    container.mkdir()
    (mount,) = csv.reader([options["--mount"]])
    source = dict(part.split("=", 1) for part in mount)["source"]
    log = os.open(container / "log", os.O_WRONLY | os.O_CREAT)
    process = os.fork()
    if process == 0:
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(source)
        os.execv(sys.executable, ["python", *arguments[image + 1 :]])
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    (container / "code").write_text(str(code if code >= 0 else 128 - code))
    return 0


def fail(message: str) -> int:
    print(message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    _, program, *given = sys.argv
    sys.exit(gcloud(Path(os.environ["FAKE_CLOUD"]), given) if program == "gcloud" else docker(given))
