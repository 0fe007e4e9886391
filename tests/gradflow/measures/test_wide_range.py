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
def test_normalizing_keeps_every_number_and_brings_rows_between_half_and_one(dtype):
    with jax.enable_x64(dtype == "float64"):
        values = np.asarray(np.array(NUMBERS), jnp.dtype(dtype))
        numbers = jax.device_get(jax.jit(lambda values: wide_range.from_floats(values, 1))(values))
        back = jax.device_get(jax.jit(wide_range.to_floats)(numbers))
    assert exact(numbers) == [[Fraction(float(value)) for value in row] for row in values]
    largest = np.abs(np.asarray(numbers.values, np.float64)).max(axis=1)
    assert ((largest >= 0.5) & (largest < 1))[[0, 1, 4]].all()
    assert 0.5 <= largest[2] < 4  # 2^-128 is no float32
    assert numbers.exponent[3] == wide_range.LOWEST
    assert numbers.exponent.dtype == np.int32
    assert (back == values).all()


def test_float16_with_its_small_range_keeps_its_numbers():
    values = np.array([[60000.0, 1.0], [1e-4, 1e-4]], np.float16)
    numbers = jax.jit(lambda: wide_range.from_floats(jnp.asarray(values), 1))()
    assert exact(numbers) == [[Fraction(float(value)) for value in row] for row in values]


def test_add_is_exact_where_a_float_can_hold_the_sum():
    @jax.jit
    def total():
        these = wide_range.normalize(
            jnp.array([[1.0, 2.0], [1.0, 0.0], [0.0, 0.0], [1.0, -1.0]]), jnp.array([900, 0, 7, 5])
        )
        others = wide_range.normalize(
            jnp.array([[4.0, 0.5], [1.0, 1.0], [3.0, 0.0], [-1.0, 1.0]]), jnp.array([898, -900, -9, 5])
        )
        return wide_range.add(these, others)

    found = exact(total())
    assert found[0] == [Fraction(2) ** 901, Fraction(2) ** 898 * Fraction(17, 2)]
    assert found[1:] == [[1, 0], [Fraction(3, 512), 0], [0, 0]]  # 2^-900 beside 1 is rounded away
    assert total().exponent[3] == wide_range.LOWEST


def test_a_row_that_is_not_valid_does_not_set_the_common_exponent():
    @jax.jit
    def common():
        numbers = wide_range.normalize(jnp.array([[1.0], [1.0], [1.0]]), jnp.array([500, 0, 3]))
        return (
            wide_range.to_common_exponent(numbers, jnp.array([False, True, True])),
            wide_range.to_common_exponent(numbers),
        )

    of_valid, of_all = jax.device_get(common())
    assert of_valid.exponent == 4
    assert of_valid.values.ravel()[1:].tolist() == [0.0625, 0.5]
    assert np.isfinite(of_valid.values).all()
    assert of_all.values.ravel().tolist() == [0.5, 0.0, 0.0]


def test_to_floats_overflows_and_underflows_as_floats_do():
    exponents = jnp.array([100000, 127, -126, -100000])
    floats = jax.jit(lambda: wide_range.to_floats(wide_range.normalize(jnp.ones((4, 1)), exponents)))()
    assert floats.ravel().tolist() == [jnp.inf, 2.0**127, 2.0**-126, 0.0]


def test_log_norms_far_beyond_floats_against_float64():
    values = np.random.default_rng(0).normal(size=(6, 7)).astype(np.float32)
    exponents = np.array([-99999, -1000, 0, 1, 1000, 99999])
    expected = np.log(np.linalg.norm(values.astype(np.float64), axis=1)) + exponents * np.log(2)

    @jax.jit
    def measured(values):
        logs = wide_range.log_norm(wide_range.normalize(values, jnp.asarray(exponents)))
        return logs, wide_range.joint_log_norm([logs[2:4], logs[2:4]])

    logs, joint = measured(values)
    np.testing.assert_allclose(logs, expected, rtol=1.2e-7, atol=1e-6)
    np.testing.assert_allclose(joint, expected[2:4] + np.log(2) / 2, rtol=1e-6)


def test_infinity_and_nan_stay():
    values = jnp.array([[jnp.nan, 1.0], [jnp.inf, 1.0], [1.0, 1.0]])
    logs = jax.jit(lambda values: wide_range.log_norm(wide_range.from_floats(values, 1)))(values)
    assert jnp.isnan(logs[0])
    assert logs[1] == jnp.inf
    assert jnp.isfinite(logs[2])


@pytest.mark.parametrize("size", [1e-30, 1e30])
@pytest.mark.parametrize("rows", [0, 1])
def test_norms_of_constants_are_right_when_compiled(rows, size):
    """The compiler reorders products of constants, and must not square a small one alone."""
    weights = jnp.array([size, size])

    @jax.jit
    def logs(states):
        constants = jax.grad(lambda states: (states.sum(axis=1) * weights).sum())(states)
        return (
            wide_range.log_norm(wide_range.from_floats(constants, rows)),
            wide_range.log_norm(wide_range.from_floats(jnp.full((2, 5), size), rows)),
        )

    elements = 5 if rows else 10
    for found in logs(jnp.ones((2, 5))):
        np.testing.assert_allclose(found, np.log(size * elements**0.5), rtol=1e-6)


def test_a_row_without_numbers_and_a_batch_without_rows_are_0():
    empty = wide_range.from_floats(jnp.zeros((2, 0)), 1)
    assert empty.exponent.tolist() == [wide_range.LOWEST] * 2
    assert np.isneginf(wide_range.log_norm(empty)).all()
    nobody = wide_range.to_common_exponent(wide_range.from_floats(jnp.zeros((0, 3)), 1))
    assert (nobody.values.shape, nobody.exponent) == ((0, 3), wide_range.LOWEST)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: wide_range.normalize([1.0], jnp.array([0])),
            TypeError,
            "values: got 1.0, expected an array",
        ),
        (lambda: wide_range.normalize(jnp.ones(2), jnp.zeros(2)), TypeError, "exponent: got float32"),
        (lambda: wide_range.normalize(jnp.ones(3), jnp.array([0])), ValueError, r"values: got shape \(3,\)"),
        (lambda: wide_range.from_floats((), 0), ValueError, "values: got a tree without arrays"),
        (
            lambda: wide_range.from_floats(jnp.ones(2), 2),
            ValueError,
            r"values: got shape \(2,\), expected at least 2",
        ),
        (lambda: wide_range.from_floats(jnp.ones(2), "1"), TypeError, "rows: got '1'"),
        (lambda: wide_range.log_norm(jnp.ones(2)), TypeError, "numbers: got .*, expected a WideRange"),
        (lambda: wide_range.to_floats(None), TypeError, "numbers: got None, expected a WideRange"),
        (lambda: wide_range.add(None, None), TypeError, "these: got None, expected a WideRange"),
        (lambda: wide_range.joint_log_norm([]), ValueError, "logs: got no part"),
        (lambda: wide_range.power_of_two(jnp.array(1), "int32"), TypeError, "dtype: got 'int32'"),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
