"""The shell scripts that run an experiment's container on a worker of a TPU slice."""

import csv
import io
import re
import shlex
from dataclasses import dataclass

from dlcore.launch.image import MOUNT
from dlcore.launch.volume import Volume

SHARE = "/mnt/dlcore"  # where a worker mounts an NFS share
STOP_SECONDS = 60  # for the checkpoint, from SIGTERM to SIGKILL
TAIL = 1000  # lines of the log that are shown when it is followed again

GOOGLE = re.compile(r"([a-z0-9-]+-docker\.pkg\.dev|([a-z]+\.)?gcr\.io)/")


@dataclass(frozen=True)
class Worker:
    """What each worker of a slice runs; the container goes on when the connection to the worker ends.

    Attributes:
        container: the container's name.
        image: the container image.
        command: the arguments of the container; each arrives byte for byte.
        volume: what keeps the runs' folders; None if the experiment keeps its checkpoints in a bucket.
    """

    container: str
    image: str
    command: list[str]
    volume: Volume | None

    @property
    def start(self) -> str:
        """The script that starts the container, unless it is there already."""
        program, *arguments = self.command
        run = [
            *("sudo", "docker", "run", "--detach", f"--name={self.container}"),
            *("--privileged", "--net=host", "--user=root", f"--stop-timeout={STOP_SECONDS}"),
            *(_mount(self.volume) if self.volume else ()),
            *(f"--entrypoint={program}", self.image, *arguments),
        ]
        return "\n".join(
            [
                "set -e",
                f"if ! sudo docker container inspect {self.container} >/dev/null 2>&1; then",
                *(f"  {command}" for command in self._preparation),
                f"  {shlex.join(run)}",
                "fi",
            ]
        )

    @property
    def follow(self) -> str:
        """The script that prints the container's log and, after its end, the line of `exit_code_line`."""
        return "\n".join(
            [
                "set -e",
                f"sudo docker logs --follow --tail={TAIL} {self.container} 2>&1",
                f"code=$(sudo docker wait {self.container})",
                f'echo "{exit_code_line(self.container)}$code"',
            ]
        )

    @property
    def restart(self) -> str:
        """The script that removes the container, if it is there, and starts it."""
        return f"sudo docker rm --force {self.container} >/dev/null 2>&1 || true\n{self.start}"

    @property
    def _preparation(self) -> list[str]:
        """Commands that let docker pull the image and mount the volume."""
        commands = []
        registry = GOOGLE.match(self.image)
        if registry:
            commands.append(f"sudo gcloud auth configure-docker {registry[1]} --quiet")
        if self.volume and self.volume.server:
            share = shlex.quote(f"{self.volume.server}:{self.volume.path}")
            commands += [
                "test -x /sbin/mount.nfs || { sudo apt-get -qq update && sudo apt-get -qq install nfs-common; }",
                f"sudo mkdir -p {SHARE}",
                f"mountpoint -q {SHARE} || sudo mount -t nfs {share} {SHARE}",
            ]
        return commands


def _mount(volume: Volume) -> list[str]:
    """The option that mounts the volume; docker reads it as a line of CSV and refuses a folder that is not there."""
    line = io.StringIO()
    source = SHARE if volume.server else volume.path
    csv.writer(line, lineterminator="").writerow(["type=bind", f"source={source}", f"target={MOUNT}"])
    return [f"--mount={line.getvalue()}"]


def exit_code_line(container: str) -> str:
    """The line that `Worker.follow` prints last, up to the exit code.

    Args:
        container: the container's name.
    """
    return f"container {container} ended with exit code "
