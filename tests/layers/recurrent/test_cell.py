"""The base class of all cells: noise against a plain loop with masks drawn from the key, settings, dtypes, errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl
from dlcore.layers.recurrent.cell import Cell
from tests.helpers import reference
from tests.helpers.cells import as_carry, parts, problem

KEY = jax.random.key(0)
NOISE = {"input_dropout": 0.3, "recurrent_dropout": 0.4}
CELLS = {
    "layer norm": (dl.LayerNormLSTMCell(3, zoneout=(0.2, 0.5), **NOISE), reference.layer_norm_lstm, ()),
    "projected": (dl.ProjectedLSTMCell(4, projection=3, zoneout=0.3, **NOISE), reference.projected_lstm, ()),
    "convolution": (dl.ConvGRUCell(2, (2, 3), zoneout=0.3, **NOISE), reference.conv_gru, (3, 2)),
}


def draw(key, purpose, t, rate, shape):
    """A mask as `noise` documents it: a function of key, purpose and time step."""
    folded = jax.random.fold_in(jax.random.fold_in(key, purpose), t)
    return np.asarray(jax.random.bernoulli(folded, rate, shape))


def noisy_loop(cell, step, arguments, key):
    """The cell in training, row by row in NumPy; a mask has 1 in the spatial dimensions."""
    params, inputs, state = parts(arguments)
    rows, steps, *features = inputs.shape
    ones, depth, width = [1] * (len(features) - 1), features[-1], state[-1].shape[-1]
    masked_steps = 1 if cell.variational else steps
    kept = draw(key, 0, 0, 1 - cell.input_dropout, (rows, masked_steps, *ones, depth))
    inputs = inputs * (kept / (1 - cell.input_dropout))
    rates = cell.zoneout if isinstance(cell.zoneout, tuple) else (cell.zoneout,) * len(state)
    outputs = []
    for t in range(steps):
        kept = draw(key, 1, 0 if cell.variational else t, 1 - cell.recurrent_dropout, (rows, *ones, width))
        mask = kept / (1 - cell.recurrent_dropout)
        after = [
            step(params, as_carry(tuple(part[row] for part in state)), inputs[row, t], mask[row])
            for row in range(rows)
        ]
        after = [row if isinstance(row, tuple) else (row,) for row in after]
        new = [np.stack(part) for part in zip(*after, strict=True)]
        keep = [draw(key, 2 + part, t, rate, new[part].shape) for part, rate in enumerate(rates)]
        state = tuple(map(np.where, keep, state, new))
        outputs.append(state[-1])
    return state, np.stack(outputs, axis=1)


@pytest.mark.parametrize(
    ("variational", "name"),
    [
        (True, "layer norm"),
        pytest.param(True, "projected", marks=pytest.mark.slow),
        pytest.param(False, "convolution", marks=pytest.mark.slow),
        pytest.param(True, "convolution", marks=pytest.mark.slow),
        pytest.param(False, "layer norm", marks=pytest.mark.slow),
    ],
)
def test_noise_is_that_of_a_loop_with_masks_from_the_key(name, variational):
    cell, step, image = CELLS[name]
    cell = cell.clone(variational=variational)
    arguments = problem(cell, (3, 3, *image, 2), 0.5)
    params, inputs, state = jax.tree.map(jnp.float32, parts(arguments))
    rngs = {"dropout": jax.random.key(5)}

    @jax.jit
    def run(params, inputs, carry):
        options = {"train": True, "rngs": rngs, "method": "sequence"}
        return cell.apply({"params": params}, carry, inputs, **options)

    carry, outputs = run(params, inputs, as_carry(state))
    key = cell.apply({}, rngs=rngs, method=lambda cell: cell.make_rng("dropout"))
    final, expected = noisy_loop(cell, step, arguments, key)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5)
    for part, reached in zip(jax.tree.leaves(carry), final, strict=True):
        np.testing.assert_allclose(part, reached, rtol=1e-5, atol=1e-5)


def test_evaluation_averages_zoneout_and_knows_no_dropout():
    cell, step, _ = CELLS["layer norm"]
    arguments = problem(cell, (3, 1, 2))
    params, inputs, state = parts(arguments)
    typed = jax.tree.map(jnp.float32, ({"params": params}, state, inputs[:, 0]))
    carry, _ = jax.jit(cell.apply)(*typed)
    (new_c, new_h), _ = reference.unroll(step, params, inputs, state)
    np.testing.assert_allclose(carry[0], 0.2 * state[0] + 0.8 * new_c, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(carry[1], 0.5 * state[1] + 0.5 * new_h, rtol=1e-5, atol=1e-6)


def test_a_call_needs_a_random_key_only_if_it_draws():
    quiet = dl.LayerNormGRUCell(3)
    noisy = quiet.clone(recurrent_dropout=0.5)
    variables = jax.eval_shape(quiet.init, KEY, jnp.zeros(3), jnp.ones(2))

    def trace(cell, **options):
        return jax.eval_shape(functools.partial(cell.apply, **options), variables, jnp.zeros(3), jnp.ones(2))

    trace(quiet, train=True)
    trace(noisy)
    with pytest.raises(Exception, match="dropout"):
        trace(noisy, train=True)


def test_a_cell_of_ones_own_states_its_step_only():
    """h_t = h_{t-1} + x_t W, from a subclass of a few lines."""

    class Sum(Cell):
        @nn.nowrap
        def _step(self, weights, carry, inputs, mask=None):
            return carry + self._product(weights, "input", inputs)

    layer = dl.Recurrent(Sum(2, kernel_init=nn.initializers.ones, zoneout=0.5))
    (carry, outputs), variables = jax.jit(layer.init_with_output)(KEY, jnp.ones((1, 3, 1)))
    assert outputs[0, :, 0].tolist() == [0.5, 1.0, 1.5]  # evaluation takes the mean of old and new state
    assert carry.tolist() == [[1.5, 1.5]]
    assert set(variables["params"]["cell"]) == {"input_kernel", "recurrent_kernel", "bias"}
    assert layer.cell.apply({}, method=lambda cell: cell.gate_names) == ()
    with pytest.raises(NotImplementedError):
        Cell(2).init(KEY, jnp.zeros(2), jnp.ones(1))


@pytest.mark.parametrize("cell", [dl.LSTMCell(3), dl.LayerNormLSTMCell(3), dl.ConvLSTMCell(3, (2,))])
def test_the_parts_of_a_carry_are_drawn_from_different_keys(cell):
    shape = (2, *[4] * (cell.num_feature_axes - 1), 5)
    cell = cell.clone(carry_init=nn.initializers.normal())
    c, h = cell.initialize_carry(KEY, shape)
    assert c.shape == h.shape == (*shape[:-1], 3)
    assert (c != h).all()
    assert cell.clone(dtype=jnp.bfloat16).initialize_carry(KEY, shape)[0].dtype == jnp.bfloat16


def first_step(cell, carry=None, inputs=None):
    inputs = jnp.ones((4, 5)) if inputs is None else inputs
    carry = cell.initialize_carry(KEY, inputs.shape) if carry is None else carry
    return cell.init(KEY, carry, inputs)


GRU, LSTM = dl.GRUCell(2), dl.LSTMCell(2)
REFUSED = {
    "features: got 0, expected an integer >= 1": lambda: dl.LSTMCell(0),
    "features: got 2.5, expected an integer >= 1": lambda: dl.LSTMCell(2.5),
    "features: got 2.5, expected an integer >= 2": lambda: dl.LayerNormGRUCell(2.5),
    "input_dropout: got 1.0, expected a number in [0, 1)": lambda: dl.RNNCell(2, input_dropout=1.0),
    "recurrent_dropout: got -0.1, expected a number": lambda: dl.ConvGRUCell(2, 3, recurrent_dropout=-0.1),
    "zoneout: got 1.5, expected a number": lambda: dl.LSTMCell(2, zoneout=(0.1, 1.5)),
    "input_dropout: got '0.5', expected a number in [0, 1)": lambda: dl.GRUCell(2, input_dropout="0.5"),
    "zoneout: got (), expected one rate": lambda: dl.GRUCell(2, zoneout=()),
    "variational: got 'no', expected True or False": lambda: dl.GRUCell(2, variational="no"),
    "param_dtype: got": lambda: dl.GRUCell(2, param_dtype=jnp.int32),
    "kernel_init: got 'x', expected a function": lambda: dl.GRUCell(2, kernel_init="x"),
    "features: got Array(4": lambda: dl.GRUCell(jnp.int32(4)),
    "train: got 'x', expected True or False": lambda: GRU.init(
        KEY, jnp.ones((4, 2)), jnp.ones((4, 5)), train="x"
    ),
    "carry: got complex numbers, expected real ones": lambda: first_step(
        GRU, jnp.ones((4, 2), jnp.complex64)
    ),
    "carry: got (), expected (4, 2)": lambda: first_step(GRU, "text"),
    "inputs: got list, expected an array": lambda: GRU.init(KEY, jnp.ones((4, 2)), [[1.0] * 5] * 4),
    "zoneout: got (0.1, 0.2), expected one rate, or 1, one for each part": lambda: dl.RNNCell(
        2, zoneout=(0.1, 0.2)
    ),
    "zoneout: got (0.1,), expected one rate, or 2, one for each part": lambda: dl.ConvLSTMCell(
        2, 3, zoneout=(0.1,)
    ),
    "carry: got (4, 3), expected (4, 2)": lambda: first_step(GRU, jnp.zeros((4, 3))),
    "carry: got (4, 2), expected ((4, 2), (4, 2))": lambda: first_step(LSTM, jnp.zeros((4, 2))),
    "inputs: got int32, expected floating point numbers": lambda: first_step(
        GRU, inputs=jnp.ones((4, 5), jnp.int32)
    ),
    "inputs: got shape (), expected rank 1 or more: [..., features]": lambda: first_step(
        GRU, inputs=jnp.ones(())
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_settings_and_shapes_that_do_not_fit_are_refused(message):
    with pytest.raises((ValueError, TypeError)) as caught:
        REFUSED[message]()
    assert message in str(caught.value)
