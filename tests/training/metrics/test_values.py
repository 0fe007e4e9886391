"""Values of metrics become floats, nested lists and the numbers of a table."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.training.metrics.values import LONGEST_VECTOR, read_value, to_numbers


class Given(NamedTuple):
    sums: object

    def value(self):
        return self.sums


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (3, 3.0),
        (jnp.bfloat16(0.5), 0.5),
        (np.array([[1, 2]], np.int32), [[1.0, 2.0]]),
        ([0.5, 1], [0.5, 1.0]),
        (jnp.zeros((0,)), []),
    ],
)
def test_numbers_and_arrays_are_read_as_floats(value, expected):
    read = read_value(Given(value))
    assert read == expected
    assert type(read) is type(expected)


@pytest.mark.parametrize("value", [None, "3", {"a": 1}, 1j, np.array(["a"]), object()])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(TypeError, match=r"value: got .* expected a number or an array"):
        read_value(Given(value))


def test_a_table_holds_numbers_and_short_vectors():
    long = [0.0] * (LONGEST_VECTOR + 1)
    values = {"loss": 0.5, "f1": [1.0, 0.0], "confusion": [[1.0]], "long": long, "short": long[1:]}
    numbers = to_numbers(values)
    assert list(numbers)[:4] == ["loss", "f1/0", "f1/1", "short/0"]
    assert len(numbers) == 3 + LONGEST_VECTOR
