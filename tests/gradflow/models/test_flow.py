"""All measures of a model's recurrences at once: without padding, and consistent with each other and with the model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl
from dlcore.gradflow.models import flow as flow_module
from dlcore.gradflow.models.flow import measure

LENGTHS = np.array([5, 0, 7, 4])
INPUTS = np.random.default_rng(1).normal(size=(4, 9, 3)).astype("float32")


LAYERS = {
    "reversed GRU": lambda: dl.Recurrent(dl.GRUCell(4), reverse=True),
    "bidirectional": lambda: dl.Bidirectional(dl.GRUCell(4), dl.LSTMCell(3)),
}
SIZES = {"GRUCell_0": (4, 4), "LSTMCell_0": (6, 3)}  # of the state and of a gate


class Model(nn.Module):
    layer: str

    @nn.compact
    def __call__(self, inputs, lengths):
        carry, outputs = LAYERS[self.layer]()(inputs, lengths)
        return outputs.sum() + sum((leaf**2).sum() for leaf in jax.tree.leaves(carry))


@pytest.fixture(
    scope="module", params=["reversed GRU", pytest.param("bidirectional", marks=pytest.mark.slow)]
)
def measured(request):
    """The flows, the model's gradient, and the flows of the same model with parameters of 0."""
    model, lengths = Model(request.param), jnp.asarray(LENGTHS)
    loss = lambda params: model.apply(params, INPUTS, lengths)

    shapes = jax.eval_shape(model.init, jax.random.key(0), INPUTS, lengths)
    normal = np.random.default_rng(2).normal
    params = jax.tree.map(lambda leaf: normal(scale=0.3, size=leaf.shape).astype(leaf.dtype), shapes)
    gradient = jax.jit(jax.grad(loss))(params)
    measure_params = measure(loss)
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), params)
    return measure_params(params), jax.device_get(gradient), measure_params(zeros)


def test_each_recurrence_is_measured_to_the_end_of_its_longest_row(measured):
    for flow in measured[0]:
        size, units = SIZES[flow.name]
        assert flow.size == size
        assert flow.log_gain.shape == flow.log_signal.shape == (8,)
        assert flow.log_gradient.shape == flow.log_by_lag.shape == (7,)
        assert flow.log_triangle.shape == (8, 8)
        assert {gate.mean.shape for gate in flow.gates.values()} == {(7, units)}
        assert flow.exponents.shape == (size,)
        assert flow.rows.tolist() == [4, 3, 3, 3, 3, 2, 1, 1]
        assert flow.log_longer == -np.inf
        assert np.isfinite(flow.log_gain).all()
        assert flow.log_gain[0] == pytest.approx(0, abs=1e-6)


def test_both_half_lives_are_those_of_their_rates(measured):
    for flow in measured[0]:
        assert flow.rate < 0
        assert flow.gain_half_life == pytest.approx(np.log(2) / -flow.rate)
        assert flow.half_life == pytest.approx(np.log(2) / -flow.exponents[0])


def test_exponents_are_medians_over_the_rows_that_have_steps(measured):
    for flow in measured[0]:
        assert np.isnan(flow.row_exponents).tolist() == [False, True, False, False]
        assert flow.exponents[0] == pytest.approx(np.nanmedian(flow.row_exponents), rel=1e-5)


def test_a_row_without_steps_loses_its_signal(measured):
    for flow in measured[0]:
        assert (flow.lost_signal, flow.first_nonfinite) == (1 / 4, -1)


def test_the_double_sum_is_the_models_gradient(measured):
    flows, gradient, _ = measured
    for flow in flows:
        leaves = jax.tree.leaves(gradient["params"][flow.name])
        norm = np.sqrt(sum((leaf**2).sum() for leaf in leaves))
        assert np.log(norm) <= np.logaddexp.reduce(flow.log_by_lag) + 1e-5  # the triangle inequality
        assert np.exp(flow.log_by_lag).sum() <= np.exp(flow.log_triangle).sum() * (1 + 1e-5)


def test_other_parameters_are_measured_by_the_same_function(measured):
    """A GRU without weights halves its state."""
    gru = measured[2][0]
    assert gru.log_gain[1] == pytest.approx(np.log(0.5), rel=1e-5)
    assert gru.gain_half_life == pytest.approx(1, rel=1e-4)
    assert gru.half_life == pytest.approx(1, rel=1e-4)


def test_a_model_without_a_recurrent_layer_has_nothing_to_measure():
    assert measure(lambda x: (x**2).sum())(jnp.ones(3)) == []


class Keeping(nn.RNNCellBase):
    """``s_t = s_{t-1} + w x_t``: the gradient at every lag is the same."""

    num_feature_axes = 1

    @nn.compact
    def __call__(self, state, inputs):
        state = state + self.param("w", nn.initializers.ones, ()) * inputs
        return state, state

    def initialize_carry(self, rng, input_shape):
        return jnp.zeros(input_shape)


def flow_of(steps, lengths=None, truncate=None):
    layer = dl.Recurrent(Keeping(), truncate=truncate)
    inputs = jnp.ones((1 if lengths is None else len(lengths), steps, 1))
    loss = lambda params: layer.apply({"params": params}, inputs, lengths)[0].sum()
    (found,) = measure(loss)({"cell": {"w": jnp.ones(())}})
    return found


@pytest.mark.parametrize("steps", [400, pytest.param(784, marks=pytest.mark.slow)])
def test_the_covering_lag_is_that_of_all_lags(steps):
    """90 % of 400 equal norms are reached at lag 359, and of 784 at lag 705; 128 lags alone would say 115."""
    found = flow_of(steps)
    assert found.covering_lag == np.ceil(0.9 * steps) - 1
    assert (len(found.log_by_lag), found.log_longer) == (steps, -np.inf)


def test_a_covering_lag_beyond_the_measured_lags_says_so(monkeypatch):
    monkeypatch.setattr(flow_module, "MAX_STEPS_TIMES_LAGS", 1)
    found = flow_of(400)
    assert (found.covering_lag, len(found.log_by_lag)) == (129, 129)
    assert found.log_longer == pytest.approx(np.log(400 - 129), rel=1e-4)


def test_a_truncated_layer_has_the_lags_of_its_window():
    found = flow_of(9, truncate=3)
    np.testing.assert_allclose(found.log_by_lag, np.log([1, 1, 1]), atol=1e-6)
    assert np.isneginf(found.log_signal).tolist() == [True] * 7 + [False] * 3
    assert found.log_gain.tolist() == [0] * 10  # that of the states themselves


@pytest.mark.parametrize("lengths", [(100, 26, 20), (20, 100, 0)])
def test_every_row_with_steps_has_an_exponent_whatever_the_padding(lengths):
    found = flow_of(100, jnp.array(lengths))
    assert np.isnan(found.row_exponents).tolist() == [length == 0 for length in lengths]
    assert found.exponents == pytest.approx(0, abs=1e-6)
    assert found.rows[[0, 20, 21, 100]].tolist() == [
        3,
        sum(length >= 20 for length in lengths),
        2 - (0 in lengths),
        1,
    ]


@pytest.mark.parametrize(("steps", "lengths"), [(0, None), (4, (0, 0)), (3, ())])
def test_a_batch_without_a_step_or_a_row_is_measured(steps, lengths):
    found = flow_of(steps, None if lengths is None else jnp.array(lengths, jnp.int32))
    assert (found.covering_lag, found.first_nonfinite, len(found.log_gradient)) == (0, -1, 0)
    assert np.isnan([found.rate, found.half_life, found.exponents[0]]).all()


def test_a_scan_of_any_program_is_measured_with_its_source_and_direction():
    """h_t = h_{t+1} / 2 + x_t in two rows, read from the end to the beginning."""

    def loss(weight, inputs):
        step = lambda state, x: (weight * state + x, state)
        return jax.lax.scan(step, jnp.zeros((2, 3)), inputs, reverse=True)[0].sum()

    (found,) = measure(loss)(jnp.float32(0.5), jnp.ones((5, 2, 3)))
    assert found.source == found.name
    assert found.name.startswith("test_flow.py:")
    assert found.reverse
    assert (found.size, found.rows.tolist(), found.gates) == (3, [2] * 6, {})
    np.testing.assert_allclose(found.log_gain, np.log(0.5) * np.arange(6), atol=1e-5)
    np.testing.assert_allclose(found.exponents, np.log([0.5] * 3), atol=1e-5)
    assert found.half_life == pytest.approx(1, rel=1e-5)


def test_a_loss_that_is_no_function_is_refused():
    with pytest.raises(TypeError, match="loss: got None, expected a function"):
        measure(None)
