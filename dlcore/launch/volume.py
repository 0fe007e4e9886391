"""The storage that keeps the runs' folders: the disks of a job's machines are gone when the job ends."""

import re
from dataclasses import dataclass

from dlcore.launch.command import Command, split_flags
from dlcore.utils.files import BUCKET, is_bucket

CHECKPOINTS = "config.checkpoint.folder"
CLAIM = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
SHARE = re.compile(r"([\w.-]+):(/.*)", re.ASCII | re.DOTALL)


@dataclass(frozen=True)
class Volume:
    """Where the runs' folders are kept. Exactly one of ``claim`` and ``path`` is given.

    Attributes:
        claim: the name of a persistent volume claim of Kubernetes.
        server: the NFS server that exports ``path``; empty if every machine has the folder ``path`` itself.
        path: an absolute path.
    """

    claim: str = ""
    server: str = ""
    path: str = ""


def read_volume(text: str | None, command: Command) -> Volume | None:
    """Reads the value of ``--volume``.

    Args:
        text: ``HOST:/PATH``, ``/PATH`` or the name of a claim.
        command: the command of the job.

    Returns:
        The volume; None if there is none and the command keeps its checkpoints in a bucket.

    Raises:
        ValueError: it is no volume, or nothing would be kept.
    """
    if text is None:
        (checkpoints,), _ = split_flags(command.arguments, CHECKPOINTS)
        if is_bucket(checkpoints):
            return None
        raise ValueError(
            f"--volume: got none, but the machines' own disks are not kept; expected {EXPECTED}; or "
            f"--{CHECKPOINTS}={BUCKET}... of the experiment"
        )
    share = SHARE.fullmatch(text)
    if share and _is_plain(share[2]):
        return Volume(server=share[1], path=share[2])
    if text.startswith("/") and _is_plain(text):
        return Volume(path=text)
    if CLAIM.fullmatch(text) and len(text) <= 253:
        return Volume(claim=text)
    raise ValueError(f"--volume: got {text!r}, expected {EXPECTED}")


EXPECTED = (
    "HOST:/PATH of an NFS share, /PATH of a folder on every machine, or the name of a persistent volume claim"
)


def _is_plain(path: str) -> bool:
    """True if a path has no ``..`` and nothing but text that YAML, UTF-8 and mount commands keep."""
    return ".." not in path.split("/") and path.isprintable()
