"""Parameters are frozen, scaled or given to another transformation by their paths."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlcore.training.optimizers.by_path import by_path, freeze, scale_rates
from dlcore.training.optimizers.config import PathFactor

PARAMS = {
    "encoder": {"kernel": jnp.full((2, 3), 2.0), "bias": jnp.ones(3)},
    "head": {"kernel": jnp.ones((3, 1))},
}
GRADS = jax.tree.map(lambda leaf: 0.5 * leaf, PARAMS)


def updates_of(optimizer, grads=GRADS):
    state = optimizer.init(PARAMS)
    return optimizer.update(grads, state, PARAMS)[0], state


def test_each_parameter_has_the_transformation_of_the_first_pattern_in_its_path():
    optimizer = by_path(
        {"^encoder/k": optax.set_to_zero(), "kernel": optax.scale(-3.0), ".*": optax.adam(0.1)}
    )
    updates, state = updates_of(optimizer)
    np.testing.assert_array_equal(updates["encoder"]["kernel"], 0)
    np.testing.assert_array_equal(updates["head"]["kernel"], -3 * GRADS["head"]["kernel"])
    np.testing.assert_allclose(updates["encoder"]["bias"], -0.1, rtol=1e-5)
    moments = [leaf.shape for leaf in jax.tree.leaves(state) if leaf.ndim]
    assert moments == [(3,), (3,)]  # adam keeps them for its own parameter only


def test_a_tree_that_is_one_array_has_an_empty_path():
    optimizer = by_path({".*": optax.scale(2.0)})
    assert float(optimizer.update(jnp.ones(()), optimizer.init(jnp.ones(())))[0]) == 2


@pytest.mark.parametrize(
    ("transformations", "error", "message"),
    [
        (
            {"encoder": optax.sgd(1)},
            ValueError,
            "transformations: got none for the parameter head/kernel; add one",
        ),
        (
            {"gru": optax.sgd(1), ".*": optax.sgd(1)},
            ValueError,
            "transformations: got 'gru', expected a rule that",
        ),
        ({}, ValueError, "transformations: got {}, expected a dict"),
        ([optax.sgd(1)], TypeError, "transformations: got .*, expected a dict"),
        ({"(": optax.sgd(1)}, ValueError, r"transformations: got '\(', expected a regular expression"),
        ({".*": optax.sgd}, TypeError, r"transformations\['.\*'\]: got .*, expected an optax transformation"),
        ({3: optax.sgd(1)}, TypeError, "transformations: got 3, expected regular expressions"),
    ],
)
def test_what_does_not_fit_is_named(transformations, error, message):
    with pytest.raises(error, match=message):
        by_path(transformations).init(PARAMS)


def test_frozen_parameters_have_no_state_and_count_in_no_norm():
    clip = optax.clip_by_global_norm(0.1)
    updates, state = updates_of(freeze(optax.chain(clip, optax.trace(0.9)), ["^encoder/"]))
    assert all((np.asarray(leaf) == 0).all() for leaf in updates["encoder"].values())
    assert float(jnp.linalg.norm(updates["head"]["kernel"])) == pytest.approx(0.1)
    assert [leaf.shape for leaf in jax.tree.leaves(state)] == [(3, 1)]
    nothing = {**GRADS, "encoder": jax.tree.map(lambda leaf: leaf * jnp.nan, GRADS["encoder"])}
    updates, _ = updates_of(freeze(clip, ["^encoder/"]), nothing)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(updates))
    adam = optax.adam(0.1)
    assert freeze(adam, []) is adam


def test_patterns_that_freeze_nothing_or_all_are_refused():
    with pytest.raises(ValueError, match="frozen: got 'gru', expected a rule that is the first to match"):
        freeze(optax.sgd(1), ["gru"]).init(PARAMS)
    with pytest.raises(
        ValueError, match=r"frozen: got .*, which finds every parameter; expected some to train"
    ):
        freeze(optax.sgd(1), ["kernel", "bias"]).init(PARAMS)


def test_rates_multiply_the_update_of_the_first_pattern():
    rates = [PathFactor("^encoder/kernel=0.5"), PathFactor("kernel=3")]
    updates, state = updates_of(scale_rates(rates))
    np.testing.assert_array_equal(updates["encoder"]["kernel"], 0.5 * GRADS["encoder"]["kernel"])
    np.testing.assert_array_equal(updates["head"]["kernel"], 3 * GRADS["head"]["kernel"])
    assert updates["encoder"]["bias"] is GRADS["encoder"]["bias"]
    assert jax.tree.leaves(state) == []
    with pytest.raises(ValueError, match="rates: got 'gru', expected a rule that is the first to match"):
        scale_rates([PathFactor("gru=2")]).init(PARAMS)
    with pytest.raises(ValueError, match=r"rates: got .*, expected each pattern once"):
        scale_rates([PathFactor("a=2"), PathFactor("a=3")])
