"""LSTM and GRU equations for any product: they are those of the fused cells if the product is a matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl
from dlcore.layers.recurrent.gates import GRUGates, LSTMGates

KEY = jax.random.key(0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stepped", "fused"),
    [
        pytest.param(LSTMGates(3), dl.LSTMCell(3), marks=pytest.mark.slow, id="lstm"),
        pytest.param(GRUGates(3), dl.GRUCell(3), id="gru"),
    ],
)
def test_with_plain_products_outputs_and_gates_are_those_of_the_fused_cell(stepped, fused):
    inputs = jax.random.normal(KEY, (2, 5, 4))

    @jax.jit
    def run(inputs):
        carry = fused.initialize_carry(KEY, inputs[:, 0].shape)
        variables = fused.init(KEY, carry, inputs[:, 0])
        results = [cell.apply(variables, carry, inputs, method="sequence") for cell in (stepped, fused)]
        after = results[0][0]
        gates = [
            cell.apply(variables, after, inputs[:, 0], method="gate_values") for cell in (stepped, fused)
        ]
        return stepped.init(KEY, carry, inputs[:, 0]), variables, list(zip(results, gates, strict=True))

    theirs, variables, (own, expected) = run(inputs)
    jax.tree.map(np.testing.assert_array_equal, theirs, variables)
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6), own, expected
    )


def test_the_forget_gate_starts_open():
    cell = LSTMGates(2, 3.0, recurrent_kernel_init=nn.initializers.zeros)
    bias = jax.jit(cell.init)(KEY, cell.initialize_carry(KEY, (1,)), jnp.ones(1))["params"]["bias"]
    assert bias.tolist() == [0, 0, 3, 3, 0, 0, 0, 0]
