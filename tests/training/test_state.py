"""The state at step 0."""

import jax
import numpy as np
import optax

from dlcore.training.state import NONE_BAD, make_state
from tests.helpers import plain_toy


def make(seed=0, averaged=False):
    experiment = plain_toy.experiment(plain_toy.Config())
    return make_state(experiment, optax.adam(0.1), seed, experiment.train_data[0], averaged=averaged)


def test_it_holds_what_the_experiment_and_the_optimizer_make():
    state = make()
    assert (int(state.step), int(state.bad_step), state.metrics) == (0, NONE_BAD, {})
    assert jax.tree.structure(state.opt_state) == jax.tree.structure(optax.adam(0.1).init(state.params))
    assert set(state.params) == {"bias", "weights"}
    assert float(state.model_state["mean"]) == 0


def test_two_seeds_differ_and_one_seed_repeats():
    first, again, other = (np.asarray(make(seed).params["weights"]) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_average_starts_at_the_parameters_and_is_what_is_evaluated():
    plain, averaged = make(), make(averaged=True)
    assert plain.average is None
    assert plain.evaluated_params is plain.params
    jax.tree.map(np.testing.assert_array_equal, averaged.average, averaged.params)
    assert averaged.evaluated_params is averaged.average
