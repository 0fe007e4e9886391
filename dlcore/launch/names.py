"""Names that clusters accept for a job: labels of letters, digits and hyphens."""

import hashlib
import re

from dlcore.launch.command import Command

LABEL = re.compile("[a-z]([-a-z0-9]*[a-z0-9])?")
HASH_LETTERS = 6


def job_name(command: Command, longest: int) -> str:
    """The name of a command's job, made of the names of its program and of its run's folder.

    Where these have letters that no label has, the name ends with a hash of them, so that two runs whose names differ
    in such letters alone have two names. The same command has the same name on every machine.

    Args:
        command: the command of the job.
        longest: the most letters that the name may have.

    >>> from pathlib import Path
    >>> job_name(Command("experiments.digits", (), Path("/project/runs/digits/first")), 40)
    'digits-first'
    >>> job_name(Command("experiments.digits", (), Path("/project/runs/digits/2026-11-24_22-30-00")), 40)
    'digits-2026-11-24-22-30-00-5fe884'
    """
    plain = f"{command.module.split('.')[-1]}-{command.folder.name}"
    if LABEL.fullmatch(plain) and len(plain) <= longest:
        return plain
    digest = hashlib.sha256(plain.encode()).hexdigest()[:HASH_LETTERS]
    label = re.sub("[^a-z0-9]+", "-", plain.lower()).lstrip("-0123456789")[: longest - HASH_LETTERS - 1]
    return f"{label.strip('-') or 'run'}-{digest}"


def read_name(given: str | None, command: Command, longest: int) -> str:
    """The value of ``--name``, or without it the `job_name` of the command.

    Args:
        given: the value; None if there is none.
        command: as in `job_name`.
        longest: as in `job_name`.

    Raises:
        ValueError: the value is no label, see `check_label`.
    """
    name = job_name(command, longest) if given is None else given
    check_label("--name", name, longest)
    return name


def check_label(flag: str, value: str, longest: int) -> None:
    """Checks that a name is a label of RFC 1035.

    Args:
        flag: the flag that gave the name.
        value: the name.
        longest: the most letters that it may have.

    Raises:
        ValueError: it has other letters, or too many.
    """
    if not LABEL.fullmatch(value) or len(value) > longest:
        raise ValueError(
            f"{flag}: got {value!r}, expected at most {longest} of a-z, 0-9 and -, a letter first and no - at the end"
        )
