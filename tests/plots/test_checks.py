"""What figures are given becomes arrays and lists, or an error that names it."""

from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.plots.canvas import new_figure
from dlcore.plots.checks import (
    as_array,
    as_booleans,
    as_integers,
    as_metrics,
    as_names,
    as_numbers,
    as_place,
    check_axes,
)


@pytest.mark.parametrize(
    "values",
    [
        [0, 1],
        (0.0, 1.0),
        [False, True],
        [Fraction(0), Fraction(1)],
        np.array([0, 1], np.float16),
        jnp.array([0, 1], jnp.bfloat16),
    ],
)
def test_lists_and_arrays_of_all_real_numbers_are_taken(values):
    numbers = as_numbers("values", values, "[N]")
    assert (numbers.dtype, numbers.tolist()) == (np.float64, [0.0, 1.0])


def test_an_array_keeps_its_dtype():
    assert as_array("image", np.zeros((1, 1, 3), np.uint8), "[H, W, C]").dtype == np.uint8


@pytest.mark.parametrize(
    "values",
    [
        None,
        "text",
        "3",
        [None, 1],
        ["3", Fraction(1)],
        np.array(["3", 1], object),
        ["1"],
        {},
        object(),
        [[1], [1, 2]],
        [1j],
        jnp.ones(2, complex),
        np.array(["2020-01-01"], "datetime64[D]"),
        np.ma.masked_array([1.0, 2.0], [True, False]),
    ],
)
def test_what_is_no_array_of_real_numbers_is_refused_by_name(values):
    for check in (as_array, as_numbers, as_integers, as_booleans):
        with pytest.raises(TypeError, match=r"values: got .*, expected real numbers \[N\]"):
            check("values", values, "[N]")


@pytest.mark.parametrize("shape", [(), (2,), (1, 2, 3), (0, 2)])
def test_other_shapes_than_the_layout_are_refused(shape):
    assert as_array("values", np.ones(shape)).shape == shape
    with pytest.raises(ValueError, match=r"values: got shape \(.*\), expected \[H, W\] with each at least 1"):
        as_array("values", np.ones(shape), "[H, W]")


def test_integers_are_of_64_bits():
    integers = as_integers("labels", np.array([255], np.uint8), "[N]")
    assert (integers.dtype, integers.tolist()) == (np.int64, [255])
    for wrong in ([1.0], [True]):
        with pytest.raises(TypeError, match=r"labels: got (float64|bool), expected integers"):
            as_integers("labels", wrong, "[N]")


def test_booleans_may_be_the_numbers_0_and_1():
    for values in ([True, False], [1, 0], [1.0, 0.0]):
        assert as_booleans("correct", values).tolist() == [True, False]
    for wrong in ([0.3], [2], [np.nan]):
        with pytest.raises(
            ValueError, match=r"correct: got (float|int)64 other than 0 and 1, expected booleans"
        ):
            as_booleans("correct", wrong)


def test_names_are_a_list_and_not_one_text():
    for names in (["a", "b"], ("a", "b"), np.array(["a", "b"]), iter("ab")):
        assert as_names("names", names) == ["a", "b"]
    for wrong in ("ab", b"ab", {"a", "b"}, {"a": 1}, None, 3, np.array("ab")):
        with pytest.raises(TypeError, match=r"names: got .*, expected a list of names"):
            as_names("names", wrong)


def test_a_place_is_a_pair_of_finite_numbers():
    assert as_place("at", np.array([1, 2])) == (1.0, 2.0)
    for wrong in (None, 3, (1,), (1, 2, 3), "ab", ("a", 1)):
        with pytest.raises(TypeError, match=r"at(\[0\])?: got "):
            as_place("at", wrong)
    with pytest.raises(ValueError, match=r"at\[1\]: got nan"):
        as_place("at", (0, np.nan))


def test_axes_are_those_of_matplotlib():
    figure = new_figure(1, 1)
    check_axes(figure.subplots())
    for wrong in (figure, None, figure.subplots(1, 2)):
        with pytest.raises(TypeError, match=r"axes: got .*, expected a matplotlib Axes"):
            check_axes(wrong)


def test_metrics_are_triples_of_a_step_a_name_and_a_value():
    rows = [(1, "train/loss", float("nan")), (np.int64(2), "train/loss", np.float32(0.5))]
    assert as_metrics("rows", iter(rows)) == rows
    assert as_metrics("rows", []) == []
    for wrong in (None, "text", [1.0], [(1, "a")], [(1, 2, 3.0)], [("1", "a", "0.5")], [(1, "a", None)]):
        with pytest.raises(TypeError, match=r"rows: got .*, expected triples \(step, name, value\)"):
            as_metrics("rows", wrong)
