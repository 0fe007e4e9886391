"""Which steps of a padded batch are whose."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.ops.lengths import check_lengths, valid_steps, zero_padding


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 2), (3, 4, 2, 5)])
def test_padding_is_zero_whatever_stood_there_and_takes_no_gradient(shape):
    lengths = jnp.array([0, 1, 4])
    mask = np.asarray(valid_steps(lengths, 4)).reshape(3, 4, *[1] * (len(shape) - 2))
    inputs = np.where(mask, np.ones(shape, np.float32), np.nan)
    np.testing.assert_array_equal(zero_padding(inputs, lengths), np.broadcast_to(mask, shape))
    gradient = jax.grad(lambda x: (zero_padding(x, lengths) ** 2).sum())(jnp.asarray(inputs))
    np.testing.assert_array_equal(gradient, 2 * np.broadcast_to(mask, shape))


@pytest.mark.parametrize(
    ("lengths", "error", "message"),
    [
        (jnp.array([1.0, 2.0]), TypeError, "lengths: got float32, expected integers"),
        (jnp.array([1, 2, 3]), ValueError, r"lengths: got shape \(3,\) for inputs of shape \(2, 4, 1\)"),
        (jnp.array([[1], [2]]), ValueError, "lengths: got shape"),
        (jnp.array([1, 5]), ValueError, "lengths: got 5 in row 1, expected 0 to 4"),
        (jnp.array([-2, 1]), ValueError, "lengths: got -2 in row 0, expected 0 to 4"),
    ],
)
def test_lengths_that_cannot_be_are_refused(lengths, error, message):
    with pytest.raises(error, match=message):
        check_lengths(lengths, (2, 4, 1))


def test_traced_lengths_are_checked_by_type_and_shape():
    jax.jit(lambda lengths: check_lengths(lengths, (2, 4, 1)))(jnp.array([9, 9]))
    with pytest.raises(TypeError, match="expected integers"):
        jax.jit(lambda lengths: check_lengths(lengths, (2, 4, 1)))(jnp.array([1.0, 2.0]))
