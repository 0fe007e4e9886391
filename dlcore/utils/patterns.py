"""Regular expressions on the paths of parameters, such as ``encoder/lstm/recurrent_kernel``."""

import re
from collections.abc import Iterable


def check_pattern(name: str, pattern: str) -> None:
    """Checks that a text is a regular expression.

    Raises:
        ValueError: it is not; ``name`` is what the message calls it.
    """
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{name}: got {pattern!r}, expected a regular expression ({error})") from None


def first_matches(name: str, patterns: Iterable[str], paths: Iterable[str]) -> dict[str, str | None]:
    """For each path the first pattern that is found in it (``re.search``); None if there is none.

    Args:
        name: what error messages call the patterns.
        patterns: regular expressions.
        paths: the paths of all parameters.

    Raises:
        ValueError: a pattern is not the first match of any path.

    >>> first_matches("rules", ["kernel", "lstm"], ["lstm/kernel", "lstm/bias", "dense/bias"])
    {'lstm/kernel': 'kernel', 'lstm/bias': 'lstm', 'dense/bias': None}
    """
    patterns = list(patterns)
    found = {
        path: next((pattern for pattern in patterns if re.search(pattern, path)), None) for path in paths
    }
    for pattern in patterns:
        if pattern not in found.values():
            raise ValueError(
                f"{name}: got {pattern!r}, expected a rule that is the first to match some parameter; correct it or "
                f"remove it; the parameters are {', '.join(found)}"
            )
    return found
