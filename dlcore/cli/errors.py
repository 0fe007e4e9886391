"""Turns errors into one line on stderr and an exit code. Only the command line does this; all other code raises."""

import contextlib
import errno
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from absl import logging

from dlcore.config import settings
from dlcore.training.job import BAD_USAGE, FAILED
from dlcore.utils.streams import say

if TYPE_CHECKING:
    from dlcore.training.run import Run


SUMMARY_LETTERS = 200


class UsageError(ValueError):
    """A mistake in flags, config, data or a run's folder. The command line prints the message and exits with 2."""


@contextlib.contextmanager
def usage_errors(config: Any = None, hint: str = "") -> Iterator[None]:
    """A context manager that raises `UsageError` in place of an error about a config, its data or a run's folder.

    The message of an error names the argument first (``batch_size: got 0, ...``). If exactly one setting has that name,
    the message of the `UsageError` names its flag instead.

    Args:
        config: the config whose settings are named; None if there is none.
        hint: text that is added to messages that name no flag.

    Raises:
        UsageError: the block raised ValueError (including UsageError), TypeError, OSError, ImportError, MemoryError or
            OverflowError.
    """
    try:
        yield
    except UsageError:
        raise
    except (ValueError, TypeError, OSError, ImportError, MemoryError, OverflowError) as error:
        raise UsageError(name_flag(error, config) or f"{explain(error)}{hint}") from error


@contextlib.contextmanager
def one_line_errors(
    config: Any = None, hint: str = "", before: Callable[[int, str], None] | None = None
) -> Iterator[None]:
    """A context manager that ends the process with one line and exit code 2 where `usage_errors` raises.

    ``--verbosity=1`` shows the traceback.

    Args:
        config: as in `usage_errors`.
        hint: as in `usage_errors`.
        before: is called with the exit code and the error before it is printed.

    Raises:
        SystemExit: `usage_errors` raised `UsageError`.
    """
    try:
        with usage_errors(config, hint):
            yield
    except UsageError as error:
        logging.debug("traceback of the error below", exc_info=True)
        if before:
            before(BAD_USAGE, str(error))
        fail(str(error))


def fail(message: str) -> NoReturn:
    """Prints an error in one line on stderr and raises SystemExit with the exit code 2."""
    print_error(message)
    sys.exit(BAD_USAGE)


def print_error(message: str) -> None:
    """Prints an error in one line on stderr."""
    say(f"error: {' '.join(str(message).split())}")


def read_error(printed: str, code: int) -> str:
    """The error that a command line printed before its process ended: of its ``error:`` lines the last, else its last.

    Args:
        printed: what it wrote on stderr.
        code: its exit code, which is all that is known if it wrote nothing.

    >>> read_error("compiling\\nerror: batch_size: got 0\\nbye\\n", 2), read_error("", 7)
    ('batch_size: got 0', 'exit code 7')
    """
    lines = [line for line in printed.splitlines() if line.strip()] or [f"exit code {code}"]
    errors = [line for line in lines if line.startswith("error: ")]
    return (errors or lines)[-1].removeprefix("error: ")


def summary(error: Exception) -> str:
    """The name of an error and the beginning of its message, in one line.

    >>> summary(KeyError("first"))
    "KeyError: 'first'"
    """
    return f"{type(error).__name__}: {' '.join(str(error).split())[:SUMMARY_LETTERS]}"


def explain(error: Exception) -> str:
    """The text of an error for people; it names the file of a system's error and says what can be done.

    >>> explain(PermissionError(13, "Permission denied", "/root/run"))
    '/root/run: Permission denied; allow it to this user, or choose another place'
    """
    if isinstance(error, MemoryError):
        return f"the memory is full ({str(error) or 'no more'}); smaller sizes need less, such as a smaller batch_size"
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        advice = {
            errno.EACCES: "allow it to this user, or choose another place",
            errno.EPERM: "allow it to this user, or choose another place",
            errno.EROFS: "choose another place",
            errno.ENAMETOOLONG: "choose a shorter name",
        }.get(error.errno or 0, "choose another place, or mend this one")
        return f"{os.fsdecode(error.filename)}: {error.strerror}; {advice}"
    return str(error)


FULLY_NAMED = ("checkpoint.", "mesh.")
"""Groups of settings that their errors call by the whole flag: `folder`, `data` and `model` are other things, too."""


def name_flag(error: Exception, config: Any) -> str | None:
    """Names the flag of the setting that an error's message begins with.

    Args:
        error: an error whose message may begin with an argument's name, as in ``batch_size: got 0``.
        config: the config whose settings are searched; None if there is none.

    Returns:
        The message with the flag in place of the name; None if it begins with no flag, neither with ``checkpoint`` nor
        ``target``, and not with the name of exactly one setting.
    """
    message = str(error)
    argument = re.match(r"(\w+): ", message)
    known = settings.leaves(config) if config is not None else ()
    own = (leaf for leaf in known if not leaf.path.startswith(FULLY_NAMED))
    leaves = [leaf for leaf in own if argument and leaf.path.split(".")[-1] == argument[1]]
    if argument and argument[1] in ("checkpoint", "target"):
        return f"--{message}"
    if argument and len(leaves) == 1:
        return f"{leaves[0].flag}: {message.removeprefix(argument[0])}"
    return message if message.startswith("--") else None


def describe_failure(error: Exception, run: "Run") -> tuple[str | None, int]:
    """What the command line says of an error that ended a mode.

    Args:
        error: the error.
        run: the run that the mode was called with.

    Returns:
        The line to print and the exit code. The line is None if the traceback is to be shown instead: for an
        unexpected error, and for `NonFiniteError` if ``train.on_nan`` is ``raise``.
    """
    from dlcore.training.checkpoints.disk import CheckpointError
    from dlcore.training.faults.nonfinite import NonFiniteError

    mistake = str(error) if isinstance(error, UsageError) else name_flag(error, run.config)
    if mistake:
        return mistake, BAD_USAGE
    if isinstance(error, MemoryError):
        return explain(error), FAILED
    if str(error).startswith("RESOURCE_EXHAUSTED"):  # XLA's word for a device whose memory is full
        return explain(MemoryError(str(error).splitlines()[0])), FAILED
    if isinstance(error, CheckpointError):
        return str(error), FAILED
    if isinstance(error, NonFiniteError) and run.config.train.on_nan != "raise":
        return str(error), FAILED
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"the disk is full ({error}); every checkpoint in {run.folder} is whole; free space and start again",
            FAILED,
        )
    return None, FAILED
