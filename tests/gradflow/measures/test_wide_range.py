"""Values times powers of two, against Python's integers and fractions."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.gradflow.measures import wide_range

NUMBERS = [[1.0, -3.0], [1e-30, 1e-20], [3e38, -1e5], [0.0, 0.0], [2.0**-126, 0.0]]


def exact(numbers):
    values, exponents = np.asarray(numbers.values, np.float64), np.asarray(numbers.exponent)
    return [
        [Fraction(value) * Fraction(2) ** int(power) if value else Fraction(0) for value in row]
        for row, power in zip(values.tolist(), exponents.tolist(), strict=True)
    ]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_scaling_changes_no_number_and_brings_rows_between_half_and_one(dtype):
    with jax.enable_x64(dtype == "float64"):
        values = jnp.array(NUMBERS, dtype)
        numbers = wide_range.from_floats(values, 1)
        assert exact(numbers) == [[Fraction(float(value)) for value in row] for row in values]
        largest = np.abs(np.asarray(numbers.values, np.float64)).max(axis=1)
        assert ((largest >= 0.5) & (largest < 1))[[0, 1, 4]].all()
        assert 0.5 <= largest[2] < 4  # as 2^-128 is no float32
        assert numbers.exponent[3] == wide_range.LOWEST
        assert numbers.exponent.dtype == jnp.int32
        assert (wide_range.to_floats(numbers) == values).all()


def test_float16_whose_range_is_small_keeps_its_numbers():
    values = jnp.array([[60000.0, 1.0], [1e-4, 1e-4]], jnp.float16)
    assert exact(wide_range.from_floats(values, 1)) == [
        [Fraction(float(value)) for value in row] for row in values
    ]


def test_add_is_exact_where_a_float_can_hold_the_sum():
    these = wide_range.normalize(
        jnp.array([[1.0, 2.0], [1.0, 0.0], [0.0, 0.0], [1.0, -1.0]]), jnp.array([900, 0, 7, 5])
    )
    others = wide_range.normalize(
        jnp.array([[4.0, 0.5], [1.0, 1.0], [3.0, 0.0], [-1.0, 1.0]]), jnp.array([898, -900, -9, 5])
    )
    total = exact(wide_range.add(these, others))
    assert total[0] == [Fraction(2) ** 901, Fraction(2) ** 898 * Fraction(17, 2)]
    assert total[1:] == [[1, 0], [Fraction(3, 512), 0], [0, 0]]  # 2^-900 beside 1 is rounded away
    assert wide_range.add(these, others).exponent[3] == wide_range.LOWEST


def test_aligned_rows_have_one_power_and_a_left_out_row_does_not_set_it():
    numbers = wide_range.normalize(jnp.array([[1.0], [1.0], [1.0]]), jnp.array([500, 0, 3]))
    together = wide_range.to_common_exponent(numbers, jnp.array([False, True, True]))
    assert together.exponent == 4
    assert together.values.ravel()[1:].tolist() == [0.0625, 0.5]
    assert jnp.isfinite(together.values).all()
    assert wide_range.to_common_exponent(numbers).values.ravel().tolist() == [0.5, 0.0, 0.0]


def test_unscaled_overflows_and_underflows_as_floats_do():
    numbers = wide_range.normalize(jnp.ones((4, 1)), jnp.array([100000, 127, -126, -100000]))
    assert wide_range.to_floats(numbers).ravel().tolist() == [jnp.inf, 2.0**127, 2.0**-126, 0.0]


def test_log_norms_far_beyond_floats_against_float64():
    values = np.random.default_rng(0).normal(size=(6, 7)).astype(np.float32)
    exponents = np.array([-99999, -1000, 0, 1, 1000, 99999])
    expected = np.log(np.linalg.norm(values.astype(np.float64), axis=1)) + exponents * np.log(2)
    logs = wide_range.log_norm(wide_range.normalize(jnp.asarray(values), jnp.asarray(exponents)))
    np.testing.assert_allclose(logs, expected, rtol=1.2e-7, atol=1e-6)
    np.testing.assert_allclose(
        wide_range.joint_log_norm([logs[2:4], logs[2:4]]), expected[2:4] + np.log(2) / 2, rtol=1e-6
    )


def test_what_is_not_finite_stays_so():
    numbers = wide_range.from_floats(jnp.array([[jnp.nan, 1.0], [jnp.inf, 1.0], [1.0, 1.0]]), 1)
    logs = wide_range.log_norm(numbers)
    assert jnp.isnan(logs[0])
    assert logs[1] == jnp.inf
    assert jnp.isfinite(logs[2])


@pytest.mark.parametrize("size", [1e-30, 1e30])
@pytest.mark.parametrize("rows", [0, 1])
def test_compiled_with_values_that_are_constants(rows, size):
    """The compiler reorders products of constants, and must not square a small one alone."""
    weights = jnp.array([size, size])

    def logs(states):
        constants = jax.grad(lambda states: (states.sum(axis=1) * weights).sum())(states)
        return wide_range.log_norm(wide_range.from_floats(constants, rows))

    elements = 5 if rows else 10
    np.testing.assert_allclose(jax.jit(logs)(jnp.ones((2, 5))), np.log(size * elements**0.5), rtol=1e-6)
    whole = jax.jit(lambda: wide_range.log_norm(wide_range.from_floats(jnp.full((2, 5), size), rows)))()
    np.testing.assert_allclose(whole, np.log(size * elements**0.5), rtol=1e-6)
