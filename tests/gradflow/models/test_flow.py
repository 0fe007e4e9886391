"""All measures of a model's recurrences at once: without padding, and consistent with each other and with the model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl
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
        assert np.isfinite(flow.log_gain).all()
        assert flow.log_gain[0] == pytest.approx(0, abs=1e-6)


def test_both_half_lives_are_those_of_their_rates(measured):
    for flow in measured[0]:
        assert flow.rate == pytest.approx(np.polyfit(np.arange(8), flow.log_gain, 1)[0], rel=1e-3)
        assert flow.gain_half_life == pytest.approx(np.log(2) / -flow.rate)
        assert flow.half_life == pytest.approx(np.log(2) / -flow.exponents[0])


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
