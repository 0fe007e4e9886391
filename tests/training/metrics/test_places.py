"""Which values of a batch count, against loops over all places."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.training.metrics import Average, expand_mask, place_weights


@pytest.mark.parametrize("mask_shape", [(2,), (2, 3), (2, 3, 4)])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_mask_leaves_out_rows_or_single_values(mask_shape, weighted):
    generator = np.random.default_rng(0)
    values, mask = generator.normal(size=(2, 3, 4)), generator.random(mask_shape) < 0.5
    mask[0] = True
    mask = (mask * generator.uniform(1, 2, mask_shape)).astype(np.float32) if weighted else mask
    expanded = np.broadcast_to(mask.reshape(*mask_shape, *[1] * (3 - mask.ndim)), values.shape)
    np.testing.assert_array_equal(expand_mask(jnp.asarray(mask), values.shape), expanded)
    average = jax.jit(Average.of)(jnp.asarray(values, jnp.float32), jnp.asarray(mask))
    assert float(average.weight) == pytest.approx(expanded.sum(), rel=1e-6)
    assert float(average.value()) == pytest.approx(np.average(values, weights=expanded), rel=1e-5)


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (
            jnp.ones(3, bool),
            ValueError,
            r"mask: got shape \(3,\) for values of shape \(2, 3\), expected .* \(2,\) up",
        ),
        (jnp.ones(1, bool), ValueError, r"mask: got shape \(1,\)"),
        (jnp.ones((2, 1), bool), ValueError, r"mask: got shape \(2, 1\)"),
        (True, ValueError, r"mask: got shape \(\)"),
        ([1, -1], ValueError, "mask: got -1.0, expected booleans or finite weights of at least 0"),
        ([np.nan, 1], ValueError, "mask: got nan, expected booleans or finite weights"),
        ([1, np.inf], ValueError, "mask: got inf, expected booleans or finite weights"),
        ("all", TypeError, "mask: got 'all', expected an array of numbers"),
        (np.ma.array([True, False], mask=[True, False]), TypeError, "mask: got a masked array"),
        (jnp.array([1j, 0]), TypeError, "mask: got complex64"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(mask, error, message):
    with pytest.raises(error, match=message):
        Average.of(jnp.ones((2, 3)), mask)


@pytest.mark.parametrize("shape", [None, 3, "ab", (2, 0.5), (2, -1), np.ones(2)])
def test_a_shape_is_a_tuple_of_integers(shape):
    for call in (expand_mask, place_weights):
        with pytest.raises((TypeError, ValueError), match="shape: got"):
            call({} if call is place_weights else [True, False], shape)


def reference_weights(shape, mask, lengths):
    """By a loop over all places."""
    weights = np.ones(shape)
    for place in np.ndindex(shape):
        if mask is not None:
            weights[place] *= mask[place[: mask.ndim]]
        if lengths is not None and len(shape) > 1:
            weights[place] *= place[1] < lengths[place[0]]
    return weights


@pytest.mark.parametrize(
    ("shape", "mask_rank"),
    [((3,), None), ((3,), 1), ((3, 4), None), ((3, 4), 1), ((3, 4), 2), ((3, 4, 2), 1), ((3, 4, 2), 2)],
)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("lengths", [None, [4, 0, 2]])
def test_masks_of_rows_and_places_combine_with_lengths(shape, mask_rank, weighted, lengths):
    generator = np.random.default_rng(0)
    mask = None if mask_rank is None else generator.random(shape[:mask_rank]) < 0.7
    if weighted and mask is not None:
        mask = mask * generator.uniform(0.5, 2, mask.shape).astype(np.float32)
    batch = {
        "inputs": np.ones((3, 4, 5)),
        "mask": mask,
        "lengths": None if lengths is None else np.array(lengths),
    }
    weights = place_weights(batch, shape)
    np.testing.assert_allclose(weights, reference_weights(shape, mask, batch["lengths"]), rtol=1e-6)
    assert (weights.dtype == bool) == (not weighted or mask is None)


def test_lengths_count_the_steps_of_the_inputs_only():
    batch = {"inputs": jnp.ones((2, 4, 3)), "lengths": jnp.array([1, 4])}
    assert place_weights(batch, (2,)).all()
    assert place_weights(batch, (2, 1)).all()  # a number for each row, with an axis for it
    assert place_weights({**batch, "lengths": None}, (2, 4)).all()
    with pytest.raises(
        ValueError, match=r"lengths: got those of inputs \(2, 4, 3\) for values of shape \(2, 2\)"
    ):
        place_weights(batch, (2, 2))
    mask = jnp.array([[True, False], [True, True]])  # tells alone which of the fewer steps count
    np.testing.assert_array_equal(place_weights({**batch, "mask": mask}, (2, 2)), mask)
