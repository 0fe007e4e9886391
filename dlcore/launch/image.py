"""The container image of ``launch/Dockerfile``, which Kubernetes and TPU VMs run: its folders, user and command."""

import re
from pathlib import PurePosixPath

from dlcore.launch.command import Command, split_flags
from dlcore.utils.run_paths import RUNS

HOME = "/dlcore"  # the folder in which the image's commands start; it has the experiments
MOUNT = f"{HOME}/{RUNS}"
USER = 1000

# REGISTRY/NAME:TAG@DIGEST; only the name is required.
REFERENCE = re.compile(r"[a-z0-9][\w.-]*(:[0-9]+)?(/[\w.-]+)*(:[\w.-]+)?(@[a-z0-9]+:[0-9a-f]+)?", re.ASCII)


def check_image(image: str | None) -> str:
    """Checks the value of ``--image``.

    Args:
        image: the image's name.

    Returns:
        The name.

    Raises:
        ValueError: it is missing, or no image can have this name.
    """
    if image is None or not REFERENCE.fullmatch(image):
        raise ValueError(
            f"--image: got {'none' if image is None else repr(image)}, expected an image that was built with "
            "launch/Dockerfile and pushed, such as REGISTRY/dlcore:TAG"
        )
    return image


def container_command(command: Command) -> list[str]:
    """The arguments with which a container of the image runs a command; they need no shell.

    Args:
        command: the command, see `read_command` with ``elsewhere=True``.

    Raises:
        ValueError: its run's folder would not be on the volume, or an argument is no UTF-8, which neither manifests
            nor gcloud keep.
    """
    (workdir,), _ = split_flags(command.arguments, "workdir")
    if workdir is not None and not _is_on_the_volume(PurePosixPath(workdir)):
        raise ValueError(
            f"--workdir: got {workdir!r}, expected a folder in {RUNS}/, which is on the volume, such as "
            f"{RUNS}/first; or --run=NAME"
        )
    for argument in command.arguments:
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{argument!a}: expected a flag in UTF-8") from error
    return ["python", *command.argv]


def _is_on_the_volume(folder: PurePosixPath) -> bool:
    return len(folder.parts) > 1 and folder.parts[0] == RUNS and ".." not in folder.parts
