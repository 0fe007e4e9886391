"""Terms that keep gradients alive: their values, their gradients, and their place in a loss."""

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import optax
import pytest
from flax import linen as nn

import dlcore as dl
from dlcore.gradflow.measures import wide_range
from dlcore.gradflow.measures.backward import backward_signal
from dlcore.gradflow.measures.lyapunov import largest_exponent, lyapunov_spectrum
from dlcore.gradflow.measures.recurrence import Recurrence, state_cotangents, trajectory
from dlcore.gradflow.models.find_recurrences import ModelRecurrence
from dlcore.gradflow.models.regularizers import flossing, flossing_penalty, omega, omega_terms, regularized
from tests.helpers.recurrences import recurrence
from tests.helpers.systems import driven, jacobian_matrices

KEY = jax.random.key(0)
LENGTHS = (6, 1, 0, 4)


class TwoLayers(nn.Module):
    @nn.compact
    def __call__(self, inputs, lengths, *, train):
        _, outputs = dl.Recurrent(dl.RNNCell(4))(inputs, lengths)
        outputs = nn.Dropout(0.5)(outputs, deterministic=not train)
        layer = dl.Recurrent(dl.RNNCell(3))
        carry, _ = layer(outputs, lengths)
        return nn.Dense(1)(layer.hidden(carry))[:, 0]


def two_layers():
    """An experiment, and the batch of its training."""
    generator = np.random.default_rng(0)
    batch = {
        "inputs": generator.standard_normal((3, 5, 2), np.float32),
        "lengths": np.array([5, 2, 4]),
        "targets": generator.standard_normal(3).astype(np.float32),
    }
    experiment = dl.Experiment.from_flax(
        TwoLayers(), loss=dl.losses.regression, train_data=[batch], eval_data=[batch]
    )
    return experiment, batch


def test_training_adds_the_term_of_every_recurrence_and_evaluation_adds_none():
    """The term is the sum of squares of the recurrent kernel, which is known without the recurrences."""
    experiment, batch = two_layers()
    loss = regularized(
        experiment.loss, lambda found: (found.recurrence.params["recurrent_kernel"] ** 2).sum(), 0.3
    )

    shapes, _ = jax.eval_shape(experiment.init, KEY, batch)
    normal = np.random.default_rng(1).standard_normal
    params = jax.tree.map(lambda leaf: normal(leaf.shape, np.float32), shapes)

    @jax.jit
    def measure(params):
        return [
            (loss(params, {}, batch, KEY, train), experiment.loss(params, {}, batch, KEY, train)[0])
            for train in (True, False)
        ]

    trained, ((evaluated, (_, evaluated_metrics)), plain_evaluated) = measure(params)
    (value, (_, metrics)), plain = trained
    expected = sum((params[f"RNNCell_{layer}"]["recurrent_kernel"] ** 2).sum() for layer in range(2))
    np.testing.assert_allclose(metrics["regularizer"].value(), expected, rtol=1e-5)
    np.testing.assert_allclose(value, plain + 0.3 * expected, rtol=1e-5)
    assert evaluated == plain_evaluated
    assert "regularizer" not in evaluated_metrics


def test_the_terms_of_a_halving_recurrence_are_known():
    """Every step back halves the signal; the second row has two valid steps, and padding does not count."""
    states, inputs, lengths = jnp.zeros((2, 1)), jnp.ones((4, 2, 1)), jnp.array([4, 2])
    system = Recurrence(lambda w, s, x: w * s + x, jnp.float32(0.5), states, inputs, lengths)
    found = ModelRecurrence("halving", None, system, lambda states: states[-1].sum(), False)
    of_omega, of_flossing = jax.jit(lambda: (omega(found), flossing(warm_up=1)(found)))()
    np.testing.assert_allclose(of_omega, (1 / 2 - 1) ** 2, rtol=1e-6)
    np.testing.assert_allclose(of_flossing, np.log(0.5) ** 2, rtol=1e-5)


@pytest.mark.slow
def test_terms_of_a_scan_of_any_program_have_a_gradient():
    """That of flossing is the one of finite differences; omega takes the states as constants."""
    inputs = np.random.default_rng(1).normal(size=(4, 2, 3))

    def plain(params, model_state, batch, rng, train):
        step = lambda state, x: (jnp.tanh(state @ params["w"] + x), None)
        return (jax.lax.scan(step, jnp.zeros((2, 3)), batch)[0] ** 2).sum(), (model_state, {})

    with jax.enable_x64(True):
        params = {"w": jnp.asarray(np.random.default_rng(2).normal(size=(3, 3)))}
        added = lambda term, weight: (
            lambda params: regularized(plain, term, weight)(params, {}, inputs, KEY, True)[0]
        )
        jax.test_util.check_grads(
            jax.jit(added(flossing(), 1.0)), (params,), order=1, modes=["rev"], rtol=1e-5
        )
        alone, both = (jax.jit(jax.grad(added(omega, weight)))(params)["w"] for weight in (0.0, 1.0))
        expected = jax.grad(lambda params: plain(params, {}, inputs, KEY, True)[0])(params)["w"]
        np.testing.assert_allclose(alone, expected, rtol=1e-12)
        assert np.abs(both - alone).max() > 1e-3


def test_a_model_without_a_recurrent_layer_is_refused():
    plain = lambda params, model_state, batch, rng, train: (jnp.sum(params**2), (model_state, {}))
    with pytest.raises(ValueError, match="loss: got a model without a recurrence"):
        regularized(plain, omega, 1.0)(jnp.ones(2), {}, {}, KEY, True)


@pytest.mark.slow
def test_flossing_is_the_mean_square_over_the_rows_that_have_exponents():
    """A row with fewer steps than the warm-up has none."""
    system = recurrence("lstm", lengths=(6, 0, 2, 4))
    exponents, penalty = jax.device_get(
        jax.jit(lambda: (lyapunov_spectrum(system, 3, warm_up=2), flossing_penalty(system, 3, warm_up=2)))()
    )
    np.testing.assert_allclose(penalty, (exponents[[0, 3]] ** 2).mean(), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("exponents", [1, 3])
def test_the_gradient_of_flossing_is_that_of_finite_differences(exponents):
    with jax.enable_x64(True):
        system = recurrence("gru", "float64", lengths=(6, 0, 2, 4))
        loss = jax.jit(lambda params: flossing_penalty(system._replace(params=params), exponents, warm_up=2))
        jax.test_util.check_grads(loss, (system.params,), order=1, modes=["rev"], rtol=1e-5)


def test_the_gradient_of_flossing_a_linear_recurrence_is_known():
    """The exponents of ``s -> w s`` are log |w|, and the derivative of their mean square is 2 log |w| / w."""
    states, inputs = jnp.zeros((1, 2)), jnp.ones((8, 1, 2))
    system = Recurrence(lambda w, s, x: w * s + x, jnp.float32(0.5), states, inputs)
    gradient = jax.jit(jax.grad(lambda w: flossing_penalty(system._replace(params=w), 2)))(system.params)
    np.testing.assert_allclose(gradient, 2 * np.log(0.5) / 0.5, rtol=1e-5)


@pytest.mark.slow
def test_flossing_for_200_steps_brings_the_largest_exponent_to_zero():
    """For a tanh net of 32 units at T = 200 from -.44 to -.01; on inputs that it did not see to -.06."""
    system = driven(dl.RNNCell(32), steps=200, batch=4, features=3)
    unseen = system._replace(inputs=jax.random.normal(jax.random.key(9), system.inputs.shape))
    optimizer = optax.adam(1e-3)

    @jax.jit
    def step(params, state):
        gradient = jax.grad(lambda params: flossing_penalty(system._replace(params=params), 1))(params)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, updates), state

    measure = jax.jit(
        lambda params: [largest_exponent(s._replace(params=params)).mean() for s in (system, unseen)]
    )
    before = measure(system.params)
    params, state = system.params, optimizer.init(system.params)
    for _ in range(200):
        params, state = step(params, state)
    after = measure(params)
    assert before[0] < -0.3
    assert abs(after[0]) < 0.03
    assert abs(after[1]) < 0.1


def test_omega_is_what_products_with_the_jacobian_matrices_give():
    with jax.enable_x64(True):
        system = recurrence("lstm", "float64", lengths=LENGTHS)
        generator = np.random.default_rng(3)
        signal = jax.tree.map(lambda leaf: generator.normal(size=(7, *leaf.shape)), system.initial_state)
        tiny, nothing = (
            jax.tree.map(lambda leaf, factor=factor: factor * leaf, signal) for factor in (1e-300, 0)
        )

        @jax.jit
        def measure(params, *signals):
            def terms(params, signal):
                found = omega_terms(system._replace(params=params), signal)
                return found.sum(), found

            gradients = jax.vmap(jax.value_and_grad(terms, has_aux=True), in_axes=(None, 0))
            stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *signals)
            return gradients(params, stacked), jacobian_matrices(system)

        measured, matrices = jax.device_get(measure(system.params, signal, tiny, nothing))
    vectors = np.concatenate(jax.tree.leaves(signal), axis=-1)[1:, :, None]
    pulled = np.linalg.norm(vectors @ matrices, axis=-1)[..., 0]
    expected = (pulled / np.linalg.norm(vectors, axis=-1)[..., 0] - 1) ** 2
    valid = np.arange(6)[:, None] < np.array(LENGTHS)
    (_, (terms, of_tiny, of_nothing)), gradients = measured
    np.testing.assert_allclose(terms, np.where(valid, expected, 0), atol=1e-12, rtol=0)
    np.testing.assert_allclose(of_tiny, terms, atol=1e-12, rtol=0)
    assert (of_nothing == 0).all()
    assert all((leaf[2] == 0).all() for leaf in jax.tree.leaves(gradients))


@pytest.mark.slow
def test_the_gradient_of_omega_takes_states_and_signal_as_constants():
    """With each step as a row of its own, which begins at the state it had, finite differences keep the states."""
    with jax.enable_x64(True):
        system = recurrence("tanh", "float64")
        states = trajectory(system)
        signal = np.random.default_rng(3).normal(size=states.shape)
        rows = lambda array: array.reshape(1, 24, *array.shape[2:])
        apart = system._replace(initial_state=rows(states[:-1])[0], inputs=rows(system.inputs))
        signals = jnp.concatenate([jnp.zeros((1, 24, 5)), rows(signal[1:])])
        together = lambda params: omega_terms(system._replace(params=params), signal).sum()
        alone = jax.jit(lambda params: omega_terms(apart._replace(params=params), signals).sum())
        jax.test_util.check_grads(alone, (system.params,), order=1, modes=["rev"], rtol=1e-5)
        gradients = jax.jit(lambda params: (jax.grad(together)(params), jax.grad(alone)(params)))(
            system.params
        )
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12, rtol=0), *gradients)


@pytest.mark.slow
def test_omega_in_a_loss_keeps_the_signal():
    """100 updates of a tanh net whose signal fades, with and without the term."""
    system = driven(dl.RNNCell(8), steps=30, batch=4, scale=0.5)
    wanted = jnp.sin(jnp.arange(8.0))
    optimizer = optax.sgd(0.05)

    def loss(states):
        return ((states[-1] - wanted) ** 2).mean()

    def measures(params):
        system_now = system._replace(params=params)
        states = trajectory(system_now)
        delta = backward_signal(system_now, states, state_cotangents(loss, states))
        logs = wide_range.log_norm(delta)
        return loss(states), omega_terms(system_now, delta.values).sum(axis=0).mean(), logs[0] - logs[-1]

    @jax.jit
    def train(params, weight):
        def update(carry, _):
            params, state = carry
            total = lambda params: jnp.dot(jnp.array([1.0, weight]), jnp.array(measures(params)[:2]))
            updates, state = optimizer.update(jax.grad(total)(params), state)
            return (optax.apply_updates(params, updates), state), None

        (params, _), _ = jax.lax.scan(update, (params, optimizer.init(params)), None, 100)
        return measures(params)

    before = jax.jit(measures)(system.params)
    plain, kept = train(system.params, 0.0), train(system.params, 0.5)
    assert kept[0] < before[0]
    assert kept[1] < 0.5 * plain[1]
    assert (kept[2] > plain[2] + np.log(10)).all()


@pytest.mark.parametrize(("signal", "dtype"), [(1e-300, "float64"), (1e300, "float64"), (2e-38, "float32")])
def test_omega_terms_of_a_constant_signal_do_not_depend_on_its_size(signal, dtype):
    """Constants of the program, which the compiler may square before it divides them."""
    with jax.enable_x64(dtype == "float64"):
        inputs = jnp.ones((3, 1, 2), dtype)
        system = Recurrence(
            lambda w, s, x: w * s + x, jnp.asarray(0.5, dtype), jnp.zeros((1, 2), dtype), inputs
        )
        terms = jax.jit(lambda: omega_terms(system, jnp.full((4, 1, 2), signal, dtype)))()
        slope = jax.grad(
            lambda w: omega_terms(system._replace(params=w), jnp.full((4, 1, 2), signal, dtype)).sum()
        )
        assert terms[:, 0].tolist() == [0.25, 0.25, 0.25]
        assert slope(system.params) == pytest.approx(-3, rel=1e-5)  # 3 * 2 (w - 1)


def test_flossing_of_a_state_that_is_not_finite_is_not_a_number():
    """A penalty of 0 would say that gradients last."""
    inputs = jnp.ones((4, 2, 1)).at[1, 0].set(jnp.nan)
    system = Recurrence(lambda w, s, x: w * s + x, jnp.float32(0.5), jnp.zeros((2, 1)), inputs)
    assert jnp.isnan(flossing_penalty(system))
    assert flossing_penalty(system._replace(lengths=jnp.array([1, 4]))) == pytest.approx(
        np.log(2) ** 2, rel=1e-5
    )


@pytest.mark.parametrize(("steps", "rows"), [(0, 2), (3, 0)])
def test_terms_of_no_step_and_no_row_are_0(steps, rows):
    system = Recurrence(
        lambda w, s, x: w * s + x, jnp.float32(0.5), jnp.zeros((rows, 1)), jnp.ones((steps, rows, 1))
    )
    found = ModelRecurrence("halving", None, system, lambda states: states.sum(), False)
    assert (omega(found), flossing()(found)) == (0, 0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: regularized(None, omega, 1.0), TypeError, "loss: got None"),
        (lambda: regularized(print, "omega", 1.0), TypeError, "term: got 'omega'"),
        (lambda: regularized(print, omega, "1"), TypeError, "weight: got '1', expected a number"),
        (lambda: regularized(print, omega, float("nan")), ValueError, "weight: got nan"),
        (lambda: flossing(0), ValueError, "exponents: got 0"),
        (lambda: flossing(1, -1), ValueError, "warm_up: got -1"),
        (lambda: omega_terms(recurrence("tanh"), [0.0]), TypeError, "signal: got 0.0, expected an array"),
        (lambda: omega_terms(recurrence("tanh"), jnp.zeros(7)), ValueError, r"signal: got \(7,\), expected"),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
