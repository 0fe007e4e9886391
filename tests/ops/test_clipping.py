"""Clipping against float64, over the whole range of float32."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlcore.ops import clipping


def gradient(scale):
    generator = np.random.default_rng(0)
    return {
        "kernel": jnp.float32(scale * generator.normal(size=(5, 4))),
        "bias": jnp.float32(scale * generator.normal(size=7)),
    }


def exact_norm(tree):
    return np.sqrt(sum((np.asarray(leaf, np.float64) ** 2).sum() for leaf in jax.tree.leaves(tree)))


@pytest.mark.parametrize("scale", [1e-35, 1e-30, 1e-3, 1.0, 1e20, 1e37])
def test_the_norm_is_exact_at_every_scale(scale):
    np.testing.assert_allclose(
        jax.jit(clipping.norm)(gradient(scale)), exact_norm(gradient(scale)), rtol=1e-6
    )


@pytest.mark.parametrize("scale", [10.0, 1e20, 1e37, 1.2e38])
@pytest.mark.parametrize("threshold", [0.1, 1.0])
def test_a_clipped_gradient_has_the_threshold_as_its_norm_and_the_old_direction(scale, threshold):
    """optax clips float32 entries of 1e20 to 0. The norm of the last gradient overflows float32."""
    before = gradient(scale)
    after = jax.jit(clipping.clip)(before, threshold)
    np.testing.assert_allclose(exact_norm(after), threshold, rtol=1e-6)
    for name, leaf in before.items():
        expected = np.asarray(leaf, np.float64) * (threshold / exact_norm(before))
        np.testing.assert_allclose(after[name], expected, rtol=2e-6)
    if scale == 1e20:
        theirs, _ = optax.clip_by_global_norm(threshold).update(before, optax.EmptyState())
        assert exact_norm(theirs) == 0


def test_below_the_threshold_nothing_changes():
    for scale in (0.0, 1e-42, 1e-20, 1e-2):
        before = gradient(scale)
        jax.tree.map(np.testing.assert_array_equal, clipping.clip(before, 1.0), before)
    assert clipping.norm(gradient(0.0)) == 0
    assert clipping.norm({}) == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_gradient_that_is_not_finite_stays_as_it_is(bad):
    broken = {**gradient(1.0), "bias": jnp.ones(7).at[2].set(bad)}
    assert np.isnan(clipping.norm(broken))
    assert not np.isfinite(clipping.largest(broken))
    jax.tree.map(np.testing.assert_array_equal, clipping.clip(broken, 0.1), broken)


def test_clipping_keeps_dtypes():
    mixed = {"half": jnp.full(3, 100.0, jnp.bfloat16), "single": jnp.full(2, 100.0)}
    clipped = jax.jit(clipping.clip)(mixed, 1.0)
    assert {name: leaf.dtype for name, leaf in clipped.items()} == {
        "half": jnp.bfloat16,
        "single": jnp.float32,
    }
    np.testing.assert_allclose(exact_norm(clipped), 1.0, rtol=1e-2)


def test_thresholds_and_gradients_that_are_no_numbers_are_refused_by_name():
    for threshold, error in (
        (0, ValueError),
        (-1.0, ValueError),
        (float("nan"), ValueError),
        ("1", TypeError),
    ):
        with pytest.raises(error, match="threshold: got"):
            clipping.clip({"kernel": jnp.ones(3)}, threshold)
    for gradient in ([1.0, 2.0], "text"):
        for function in (clipping.norm, lambda tree: clipping.clip(tree, 1.0)):
            with pytest.raises(TypeError, match=r"gradient: got .*, expected an array"):
                function(gradient)
