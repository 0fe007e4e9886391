"""Checks of arguments."""

import numpy as np
import pytest

from dlcore.utils.checks import check_integer


def test_an_integer_of_any_library_becomes_an_int():
    for value in (3, np.int64(3), np.array(3)):
        assert check_integer("steps", value) == 3
        assert type(check_integer("steps", value)) is int
    assert check_integer("end", 0, minimum=0) == 0


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (0, ValueError, "steps: got 0, expected an integer >= 1"),
        (-1, ValueError, "steps: got -1"),
        (2.0, TypeError, r"steps: got 2\.0, expected an integer >= 1"),
        ("2", TypeError, "steps: got '2', expected an integer"),
        (None, TypeError, "steps: got None"),
    ],
)
def test_other_values_are_refused_by_name(value, error, message):
    with pytest.raises(error, match=message):
        check_integer("steps", value)
