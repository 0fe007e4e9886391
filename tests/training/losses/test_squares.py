"""The squared error, against NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.training.losses import regression

regress = jax.jit(regression)


INTEGERS = ("int8", "int16", "int32", "uint8", "uint16", "uint32")


@pytest.mark.parametrize("shape", [(6,), (6, 3)])
@pytest.mark.parametrize("masked", [False, True])
def test_the_squared_error_equals_its_definition(shape, masked):
    generator = np.random.default_rng(0)
    outputs, targets = generator.normal(size=(2, *shape))
    mask = np.arange(6) < 4 if masked else np.ones(6, bool)
    expected = ((outputs - targets)[mask] ** 2).mean()
    targets = np.where(mask.reshape(-1, *[1] * (len(shape) - 1)), targets, np.nan)  # masked NaN
    batch = {"targets": jnp.asarray(targets, jnp.float32), **({"mask": jnp.asarray(mask)} if masked else {})}
    loss, metrics = regress(jnp.asarray(outputs, jnp.float32), batch)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    for name in ("loss", "mean_squared_error"):
        assert float(metrics[name].value()) == pytest.approx(expected, rel=1e-5)
    gradient = jax.jit(jax.grad(lambda y: regression(y, batch)[0]))(jnp.asarray(outputs, jnp.float32))
    assert np.isfinite(gradient).all()
    assert not gradient[~mask].any()


@pytest.mark.parametrize("shapes", [((6, 1), (6,)), ((6,), (6, 1)), ((6, 2), (6, 3))])
def test_outputs_of_another_shape_than_the_targets_are_refused(shapes):
    with pytest.raises(ValueError, match="outputs: got"):
        regression(jnp.ones(shapes[0]), {"targets": jnp.zeros(shapes[1])})


def test_steps_after_the_end_of_a_row_do_not_count_in_a_regression():
    batch = {"targets": [[1, 1, 9], [1, 9, 9]], "lengths": [2, 1]}
    loss, measured = regression([[1, 1, 0], [1, 0, 0]], batch)
    assert float(loss) == 0
    assert float(measured["loss"].weight) == 3


@pytest.mark.parametrize("dtype", INTEGERS)
def test_lengths_of_every_integer_type_give_the_same_loss(dtype):
    targets = np.arange(600.0).reshape(2, 300)
    batch = {"targets": targets, "lengths": np.array([100, 127])}
    expected, _ = regress(np.zeros((2, 300)), batch)
    loss, _ = regress(np.zeros((2, 300)), {**batch, "lengths": batch["lengths"].astype(dtype)})
    assert float(loss) == float(expected)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_weights_in_half_precision_are_summed_in_float32(dtype):
    loss, measured = regress(jnp.ones(3000), {"targets": jnp.zeros(3000), "mask": jnp.ones(3000, dtype)})
    assert (float(loss), float(measured["loss"].weight)) == (1, 3000)


def test_float_masks_are_weights():
    """Errors 1 and 9 with the weights .5 and 2: (.5 + 18) / 2.5."""
    batch = {"targets": jnp.array([1.0, 3.0]), "mask": jnp.array([0.5, 2.0])}
    loss, measured = regression(jnp.zeros(2), batch)
    assert float(loss) == pytest.approx(7.4)
    assert float(measured["loss"].weight) == 2.5


def test_masked_rows_of_nan_have_the_gradient_0():
    outputs, batch = (
        jnp.array([[2.0], [jnp.nan]]),
        {"targets": jnp.ones((2, 1)), "mask": jnp.array([True, False])},
    )
    gradient = jax.jit(jax.grad(lambda y: regression(y, batch)[0]))(outputs)
    np.testing.assert_array_equal(gradient, [[2], [0]])


def test_bfloat16_outputs_are_reduced_in_float32():
    """The sum of 1000 terms in bfloat16 would stop growing at 256."""
    loss, _ = regress(jnp.ones(1000, jnp.bfloat16), {"targets": jnp.zeros(1000)})
    assert (loss.dtype, float(loss)) == (jnp.float32, 1)


BAD_CALLS = {
    "no targets": (lambda: regression(jnp.ones(2), {}), ValueError, r"targets: got a batch with .*\(none\)"),
    "no batch": (lambda: regression(jnp.ones(2), None), TypeError, "batch: got NoneType, expected a dict"),
    "text": (
        lambda: regression("ab", {"targets": jnp.ones(2)}),
        TypeError,
        "outputs: got 'ab', expected an array",
    ),
    "ragged": (lambda: regression([[1], [1, 2]], {"targets": jnp.ones(2)}), TypeError, "outputs: got list"),
    "complex": (
        lambda: regression(jnp.ones(2) + 1j, {"targets": jnp.ones(2)}),
        TypeError,
        "outputs: got complex64, expected real",
    ),
    "a scalar": (lambda: regression(1.0, {"targets": 1.0}), ValueError, r"outputs: got \(\)"),
    "mask -1": (
        lambda: regression(jnp.ones(2), {"targets": jnp.ones(2), "mask": jnp.array([1, -1])}),
        ValueError,
        "mask: got -1",
    ),
    "mask (1,)": (
        lambda: regression(jnp.ones(2), {"targets": jnp.ones(2), "mask": jnp.array([True])}),
        ValueError,
        r"mask: got shape \(1,\) for values of shape \(2,\)",
    ),
    "float lengths": (
        lambda: regression(jnp.ones((2, 3)), {"targets": jnp.ones((2, 3)), "lengths": jnp.array([1.0, 2.0])}),
        TypeError,
        "lengths: got float32, expected integers",
    ),
    "lengths above T": (
        lambda: regression(jnp.ones((2, 3)), {"targets": jnp.ones((2, 3)), "lengths": [1, 4]}),
        ValueError,
        "lengths: got 4 in row 1",
    ),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_bad_arguments_are_refused_by_name(case):
    call, error, message = BAD_CALLS[case]
    with pytest.raises(error, match=message):
        call()


def test_an_empty_batch_has_the_loss_0():
    assert float(regression(jnp.ones(0), {"targets": jnp.ones(0)})[0]) == 0
