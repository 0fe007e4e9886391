"""TODO."""

import contextlib
import re
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

from absl import logging

from dlcore.config import settings

BAD_USAGE = 2


@contextlib.contextmanager
def one_line_errors(config: Any, hint: str = "") -> Iterator[None]:
    """Turns what is wrong with a config or its data into one line that names the flag, and exit code 2.

    Errors name the argument first (``batch_size: got 0, ...``); where a setting has that name, the line
    says its flag; other errors end with the ``hint``. ``--verbosity=1`` shows the traceback.
    """
    try:
        yield
    except (ValueError, TypeError, OSError, ImportError) as error:
        logging.debug("traceback of the error below", exc_info=True)
        fail(name_flag(error, config) or f"{error}{hint}")


def fail(message: str) -> NoReturn:
    """Says what is wrong in one line on stderr and exits."""
    print("error:", " ".join(message.split()), file=sys.stderr)
    sys.exit(BAD_USAGE)


def name_flag(error: Exception, config: Any) -> str | None:
    """The error's message with the flag of the one setting that it begins with; None where it begins with none."""
    message = str(error)
    argument = re.match(r"(\w+): ", message)
    leaves = [
        leaf for leaf in settings.leaves(config) if argument and leaf.path.split(".")[-1] == argument[1]
    ]
    if argument and len(leaves) == 1:
        return f"{leaves[0].flag}: {message.removeprefix(argument[0])}"
    return message if message.startswith("--") else None
