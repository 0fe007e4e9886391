"""Checks of arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.utils.checks import (
    check_bool,
    check_callable,
    check_choice,
    check_instance,
    check_integer,
    check_number,
    shown,
)


def test_an_integer_of_any_library_becomes_an_int():
    for value in (3, np.int64(3), np.array(3), jnp.uint8(3)):
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
        (True, TypeError, "steps: got True, expected an integer"),
        (np.ones(3), TypeError, r"steps: got an array of float64 with shape \(3,\)"),
    ],
)
def test_what_is_no_integer_is_refused_by_name(value, error, message):
    with pytest.raises(error, match=message):
        check_integer("steps", value)


def test_a_number_of_any_library_becomes_a_float():
    for value in (0.5, np.float32(0.5), np.array(0.5), jnp.bfloat16(0.5), jnp.array(0.5)):
        assert check_number("rate", value) == 0.5
        assert type(check_number("rate", value)) is float
    assert check_number("rate", 1) == 1.0


@pytest.mark.parametrize("value", ["0.5", None, True, np.bool_(False), [0.5], np.ones(2), 1j, 10**400, b"1"])
def test_what_is_no_real_number_is_refused_by_name(value):
    with pytest.raises(TypeError, match=r"rate: got .*, expected a number in \(-inf, inf\)"):
        check_number("rate", value)


def test_a_traced_number_is_refused():
    with pytest.raises(TypeError, match=r"rate: got .*, expected a number"):
        jax.eval_shape(lambda value: check_number("rate", value), 0.5)


@pytest.mark.parametrize(
    ("interval", "inside", "outside"),
    [
        ("[0, 1)", (0, 0.5), (-1e-9, 1, float("nan"))),
        ("(0, 1]", (1e-9, 1), (0, 1.1, float("nan"))),
        ("(-inf, inf)", (-1e30, 0), (float("inf"), -float("inf"), float("nan"))),
        ("(0, inf]", (float("inf"),), (0, float("nan"))),
    ],
)
def test_an_interval_includes_the_bounds_of_its_square_brackets(interval, inside, outside):
    assert [check_number("rate", value, interval) for value in inside] == [float(value) for value in inside]
    for value in outside:
        with pytest.raises(ValueError, match=f"rate: got {float(value)}, expected a number in "):
            check_number("rate", value, interval)


def test_text_is_not_true():
    assert check_bool("reverse", np.bool_(True)) is True
    assert check_bool("reverse", False) is False
    for value in ("no", "", 1, 0, None, jnp.array(True)):
        with pytest.raises(TypeError, match=r"reverse: got .*, expected True or False"):
            check_bool("reverse", value)


def test_a_word_is_one_of_the_choices_to_the_letter():
    check_choice("norm", None, (None, "batch", "layer"))
    check_choice("norm", "layer", (None, "batch", "layer"))
    for value in ("Layer", "", 1, ["layer"], np.array(["layer", "batch"])):
        with pytest.raises(ValueError, match=r'norm: got .*, expected None, "batch" or "layer"'):
            check_choice("norm", value, (None, "batch", "layer"))
    with pytest.raises(ValueError, match=r'mode: got None, expected "full"$'):
        check_choice("mode", None, ("full",))


def test_objects_and_functions_of_another_kind_are_refused_by_name():
    check_instance("block", 4, int, "an int")
    with pytest.raises(TypeError, match=r"blocks\[0\]: got 4, expected a ConvBlock"):
        check_instance("blocks[0]", 4, str, "a ConvBlock")
    check_callable("activation", jnp.tanh, "jnp.tanh")
    with pytest.raises(TypeError, match=r"activation: got 'tanh', expected a function such as jnp.tanh"):
        check_callable("activation", "tanh", "jnp.tanh")


def test_messages_show_short_values_whole_and_long_ones_by_their_type():
    assert shown("no") == "'no'"
    assert shown(list(range(100))) == "list"
    assert shown(np.ones((2, 3), np.int8)) == "an array of int8 with shape (2, 3)"


def test_an_integer_has_a_largest_value_if_one_is_given():
    assert check_integer("step", 5, 0, 5) == 5
    with pytest.raises(ValueError, match="step: got 6, expected an integer from 0 to 5"):
        check_integer("step", 6, 0, 5)
