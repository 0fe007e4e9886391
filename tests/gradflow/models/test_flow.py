"""What is measured of a model at once is what each measure gives alone, without the padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl
from dlcore.gradflow.models.flow import measure

LENGTHS = jnp.array([5, 0, 7, 4])
INPUTS = jax.random.normal(jax.random.key(1), (4, 9, 3))


class Model(nn.Module):
    @nn.compact
    def __call__(self, inputs, lengths):
        carry, outputs = dl.Bidirectional(dl.GRUCell(4), dl.LSTMCell(3))(inputs, lengths)
        return outputs.sum() + sum((leaf**2).sum() for leaf in jax.tree.leaves(carry))


@pytest.fixture(scope="module")
def measured():
    model = Model()
    params = jax.jit(model.init)(jax.random.key(0), INPUTS, LENGTHS)
    loss = lambda params: model.apply(params, INPUTS, LENGTHS)
    measure_params = measure(loss)
    return (
        measure_params(params),
        jax.jit(jax.grad(loss))(params),
        measure_params(jax.tree.map(lambda leaf: 0 * leaf, params)),
    )


def test_each_chain_is_measured_to_the_end_of_its_longest_row(measured):
    forward, backward = measured[0]
    assert [flow.name for flow in (forward, backward)] == [
        "GRUCell_0",
        "LSTMCell_0",
    ]
    assert (forward.size, backward.size) == (4, 6)
    for flow in (forward, backward):
        assert flow.log_gain.shape == flow.log_signal.shape == (8,)
        assert flow.log_gradient.shape == flow.log_by_lag.shape == (7,)
        assert flow.log_triangle.shape == (8, 8)
        assert {gate.mean.shape for gate in flow.gates.values()} == {(7, flow.size if flow is forward else 3)}
        assert flow.exponents.shape == (flow.size,)
        assert np.isfinite(flow.log_gain).all()
        assert flow.log_gain[0] == pytest.approx(0, abs=1e-6)
        assert flow.half_life == pytest.approx(np.log(2) / -flow.rate)
        assert (flow.dead, flow.nonfinite) == (1 / 4, -1)  # one row has no steps


def test_the_double_sum_is_the_models_gradient(measured):
    flows, gradient, _ = measured
    for flow, layer in zip(flows, ("GRUCell_0", "LSTMCell_0"), strict=True):
        leaves = jax.tree.leaves(gradient["params"][layer])
        norm = np.sqrt(sum((np.asarray(leaf) ** 2).sum() for leaf in leaves))
        terms = np.exp(flow.log_triangle)
        assert np.log(norm) <= np.logaddexp.reduce(flow.log_by_lag) + 1e-5  # the triangle inequality
        assert np.exp(flow.log_by_lag).sum() <= terms.sum() * (1 + 1e-5)


def test_other_parameters_need_no_other_program_and_no_gain_is_no_number(measured):
    forward, _ = measured[2]
    assert forward.log_gain[1] == pytest.approx(
        np.log(0.5), rel=1e-5
    )  # a GRU without weights halves its state
    assert forward.half_life == pytest.approx(1, rel=1e-4)


def test_a_model_without_recurrence_has_nothing_to_measure():
    assert measure(lambda x: (x**2).sum())(jnp.ones(3)) == []
