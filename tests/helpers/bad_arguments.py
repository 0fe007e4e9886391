"""Calls a function with one bad argument after the other, to find errors that do not name an argument."""

import inspect
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

BAD = (None, [], [3], "x", 3, 2.5, {}, {"a": 1}, object(), b"x", math.nan, True)


def unclear_errors(function: Callable[..., Any], arguments: Mapping[str, Any]) -> list[str]:
    """The calls that end in an error of another type, or in one whose message begins with no argument or flag.

    Args:
        function: the function; a generator runs to its end.
        arguments: good arguments by name, of which each call has one replaced.
    """
    found = []
    for name in arguments:
        for bad in BAD:
            try:
                result = function(**{**arguments, name: bad})
                if inspect.isgenerator(result):
                    list(result)
            except Exception as error:
                named = re.match(r"--|[\w']+(\[.*?\])?: ", str(error))
                if not (named and isinstance(error, (ValueError, TypeError, FileNotFoundError))):
                    found.append(f"{function.__name__}({name}={bad!r}): {type(error).__name__}: {error}")
    return found
