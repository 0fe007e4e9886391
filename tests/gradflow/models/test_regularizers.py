"""Terms of a loss: added with their weight in training, for every recurrence, and absent from evaluation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl
from dlcore.gradflow.measures import backward
from dlcore.gradflow.measures.recurrence import state_cotangents, trajectory
from dlcore.gradflow.models.find_recurrences import find_recurrences
from dlcore.gradflow.models.regularizers import flossing, flossing_penalty, omega, omega_terms, regularized

KEY = jax.random.key(0)


class TwoLayers(nn.Module):
    @nn.compact
    def __call__(self, inputs, lengths, *, train):
        _, outputs = dl.Recurrent(dl.RNNCell(4))(inputs, lengths)
        outputs = nn.Dropout(0.5)(outputs, deterministic=not train)
        layer = dl.Recurrent(dl.GRUCell(3))
        carry, _ = layer(outputs, lengths)
        return nn.Dense(1)(layer.hidden(carry))[:, 0]


@pytest.fixture(scope="module")
def experiment():
    generator = np.random.default_rng(0)
    batch = {
        "inputs": generator.standard_normal((3, 7, 2), np.float32),
        "lengths": np.array([7, 4, 6]),
        "targets": generator.standard_normal(3).astype(np.float32),
    }
    return dl.Experiment.from_flax(
        TwoLayers(), loss=dl.losses.regression, train_data=[batch], eval_data=[batch]
    )


@pytest.fixture(scope="module")
def params(experiment):
    return jax.jit(experiment.init)(KEY, experiment.train_data[0])[0]


@pytest.mark.parametrize("term", [omega, flossing(2, warm_up=1)], ids=["omega", "flossing"])
def test_the_term_of_every_chain_is_added_in_training(experiment, params, term):
    batch = experiment.train_data[0]
    loss = regularized(experiment.loss, term, weight=0.3)

    @jax.jit
    def both(params):
        terms = [
            term(chain)
            for chain in find_recurrences(lambda: experiment.loss(params, {}, batch, KEY, False)[0])
        ]
        train, evaluate = (
            (loss(params, {}, batch, KEY, train), experiment.loss(params, {}, batch, KEY, train)[0])
            for train in (True, False)
        )
        return train, evaluate, terms

    ((value, (_, metrics)), plain), evaluate, terms = both(params)
    assert len(terms) == 2
    assert min(terms) > 0
    np.testing.assert_allclose(metrics["regularizer"].value(), sum(terms), rtol=1e-5)
    np.testing.assert_allclose(value, plain + 0.3 * sum(terms), rtol=1e-5)
    (evaluated, (_, metrics)), plain = evaluate
    assert evaluated == plain
    assert "regularizer" not in metrics


def test_the_terms_are_those_of_their_functions(experiment, params):
    batch = experiment.train_data[0]

    @jax.jit
    def both(params):
        chain = find_recurrences(lambda: experiment.loss(params, {}, batch, KEY, False)[0])[0]
        states = trajectory(chain.recurrence)
        delta = backward.backward_signal(
            chain.recurrence, states, state_cotangents(chain.loss, states)
        ).values
        terms = omega_terms(chain.recurrence, delta)
        return (omega(chain), flossing(2)(chain)), (terms, flossing_penalty(chain.recurrence, 2))

    (of_omega, of_flossing), (terms, squares) = jax.device_get(both(params))
    np.testing.assert_allclose(of_omega, terms.sum() / batch["lengths"].sum(), rtol=1e-5)
    np.testing.assert_allclose(of_flossing, squares, rtol=1e-6)


def test_a_model_in_which_it_sees_no_recurrence_is_refused():
    plain = lambda params, model_state, batch, rng, train: (jnp.sum(params**2), (model_state, {}))
    with pytest.raises(ValueError, match="loss: got a model without recurrent layers"):
        regularized(plain, omega, 1.0)(jnp.ones(2), {}, {}, KEY, True)
