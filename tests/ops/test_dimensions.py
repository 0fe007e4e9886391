"""Settings with an entry for each spatial dimension: every form that is taken, and what is refused."""

import numpy as np
import pytest

from dlcore.ops.dimensions import BORDERS, border_of, first_entry, per_dimension, resolve_padding


def test_a_value_for_each_dimension():
    assert per_dimension("strides", 2, 3) == per_dimension("strides", [2, 2, 2], 3) == (2, 2, 2)
    assert per_dimension("strides", np.int64(2), 1) == (2,)
    with pytest.raises(TypeError, match="strides: got 'ab', expected an integer"):
        per_dimension("strides", "ab", 2)


def test_numbers_for_each_dimension_may_be_an_array_and_nothing_without_an_order():
    assert per_dimension("strides", np.array([2, 3]), 2) == (2, 3)
    assert per_dimension("strides", np.array(2), 2) == (2, 2)
    assert resolve_padding(np.array([[1, 0], [2, 2]]), (8, 8), (3, 3), (1, 1), (1, 1)) == ((1, 0), (2, 2))
    for wrong in ({2, 3}, None, (number for number in (2, 3)), 2.0):
        with pytest.raises(TypeError, match=r"strides: got .*, expected an integer"):
            per_dimension("strides", wrong, 2)


def test_a_border_has_the_places_of_same_padding():
    numbers = (8, 9), (4, 3), (3, 1), (1, 2)
    same = resolve_padding("SAME", *numbers)
    assert {resolve_padding(border, *numbers) for border in BORDERS} == {same}
    assert [border_of(padding) for padding in ("EDGE", "edge", 1, np.array([1, 2]))] == [
        "EDGE",
        None,
        None,
        None,
    ]


def test_the_first_entry_is_that_of_the_first_dimension():
    assert first_entry("strides", 3) == first_entry("strides", (3, 4)) == 3
    with pytest.raises(ValueError, match=r"strides: got \(\), expected an integer or one for each dimension"):
        first_entry("strides", ())
