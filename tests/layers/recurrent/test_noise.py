"""Dropout and zoneout in time: which steps share a mask, what is drawn, and what evaluation does."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl
from dlcore.layers.recurrent.noise import Noise, train_option

KEY = jax.random.key(0)
INPUTS = jnp.ones((2, 6, 8))


@functools.cache
def program(cell):
    layer = dl.Recurrent(cell)

    def run(key):
        return layer.apply(layer.init(KEY, INPUTS), INPUTS, train=True, rngs={"dropout": key})

    return jax.jit(run)


def outputs(cell, seed=1):
    return np.asarray(program(cell)(jax.random.key(seed))[1])


def identity_kernel(key, shape, dtype):
    return jnp.eye(*shape, dtype=dtype)


def linear(z):
    return z


def summing(**options):
    """h_t = x_t: the outputs show what the masks did to constant inputs."""
    zeros = nn.initializers.zeros
    return dl.RNNCell(
        8, activation=linear, kernel_init=identity_kernel, recurrent_kernel_init=zeros, **options
    )


def test_all_steps_share_a_variational_input_mask_and_each_row_and_call_has_another():
    cell = summing(input_dropout=0.5)
    masks = outputs(cell)
    assert set(np.unique(masks)) == {0.0, 2.0}
    np.testing.assert_array_equal(masks, np.broadcast_to(masks[:, :1], masks.shape))
    assert (masks[0] != masks[1]).any()
    np.testing.assert_array_equal(masks, outputs(cell))
    assert (masks != outputs(cell, seed=2)).any()


def test_otherwise_each_step_has_its_own_input_mask():
    masks = outputs(summing(input_dropout=0.5, variational=False))
    assert (masks[:, 1:] != masks[:, :-1]).any(axis=(0, 2)).all()


@pytest.mark.parametrize("variational", [True, False])
def test_recurrent_masks_meet_the_recurrent_kernel_only(variational):
    """h_t = m_t * h_{t-1}, from ones: the powers of 2 that survive show the masks."""
    cell = dl.RNNCell(
        8,
        activation=linear,
        kernel_init=nn.initializers.zeros,
        recurrent_kernel_init=identity_kernel,
        carry_init=nn.initializers.ones,
        recurrent_dropout=0.5 if variational else 0.2,
        variational=variational,
    )
    states = outputs(cell)
    if variational:
        assert set(np.unique(states[:, -1])) == {0.0, 64.0}
        np.testing.assert_array_equal(states, (states[:, :1] > 0) * 2.0 ** np.arange(1, 7)[:, None])
    else:
        alive = (states > 0).sum(axis=(0, 2))
        assert alive[0] > alive[2] > 0


@pytest.mark.parametrize(
    "cell",
    [
        dl.GRUCell(8),
        pytest.param(dl.GRUCell(8, reset="after"), marks=pytest.mark.slow),
        pytest.param(dl.LayerNormGRUCell(8), marks=pytest.mark.slow),
    ],
    ids=["before", "after", "layer norm"],
)
def test_recurrent_dropout_does_not_break_a_grus_path_of_kept_state(cell):
    """With the update gate open (z = 1) the state stays, whatever the masks are."""
    cell = cell.clone(
        recurrent_dropout=0.9, carry_init=nn.initializers.ones, bias_init=nn.initializers.constant(100.0)
    )
    np.testing.assert_allclose(outputs(cell), np.ones((2, 6, 8)), rtol=1e-6)


def test_zoneout_keeps_old_units_in_training_and_averages_in_evaluation():
    cell = summing(zoneout=0.25)  # h_t is 1, or h_{t-1}, from 0
    states = outputs(cell)
    assert set(np.unique(states)) == {0.0, 1.0}
    assert (np.diff(states, axis=1) >= 0).all()
    assert 0.05 < (states[:, 0] == 0).mean() < 0.6
    (_, averaged), _ = jax.jit(dl.Recurrent(cell).init_with_output)(KEY, INPUTS)
    np.testing.assert_allclose(averaged[0, :, 0], 1 - 0.25 ** np.arange(1, 7), rtol=1e-6)


@pytest.mark.slow
def test_an_lstms_cell_and_output_have_their_own_rates():
    (cells, hidden), _ = program(dl.LSTMCell(8, zoneout=(0.0, 0.99)))(KEY)
    assert np.asarray(cells).all()
    assert (np.asarray(hidden) == 0).any()


def test_whole_feature_maps_are_dropped_and_pixels_keep_their_state():
    films = np.ones((3, 4, 5, 1), np.float32) * np.float32(2) ** -np.arange(
        6
    )  # the sum over channels tells which were dropped
    ones, zeros = nn.initializers.ones, nn.initializers.zeros
    cell = dl.ConvLSTMCell(4, (1,), kernel_init=ones, recurrent_kernel_init=zeros)

    def run(**options):
        layer = dl.Recurrent(cell.clone(**options))

        @jax.jit
        def states(key):
            return layer.apply(layer.init(KEY, films), films, train=True, rngs={"dropout": key})[1]

        return np.asarray(states(KEY))

    dropped = run(input_dropout=0.5)
    assert (dropped == dropped[:, :, :1]).all()
    assert (dropped[:, 0, 0, 0] != dropped[0, 0, 0, 0]).any()
    kept = run(zoneout=0.5)
    assert (kept != kept[:, :, :1]).any()


@pytest.mark.slow
def test_padding_and_chunks_change_no_mask():
    cell = dl.LSTMCell(8, input_dropout=0.2, recurrent_dropout=0.3, zoneout=0.1, variational=False)
    layer, chunked = dl.Recurrent(cell), dl.Recurrent(cell, time_chunk=4)

    @jax.jit
    def run(lengths):
        variables, options = layer.init(KEY, INPUTS), {"train": True, "rngs": {"dropout": KEY}}
        return (
            layer.apply(variables, INPUTS, **options)[1],
            chunked.apply(variables, INPUTS, **options)[1],
            layer.apply(variables, INPUTS, lengths, **options)[1],
        )

    whole, chunks, padded = run(jnp.array([6, 4]))
    np.testing.assert_allclose(whole, chunks, rtol=1e-6)
    np.testing.assert_allclose(padded[1, :4], whole[1, :4], rtol=1e-6)


def test_evaluation_is_the_default_and_drops_nothing():
    noisy, plain = dl.GRUCell(4, input_dropout=0.5, recurrent_dropout=0.5), dl.GRUCell(4)

    shapes = [jax.eval_shape(dl.Recurrent(cell).init, KEY, INPUTS) for cell in (noisy, plain)]
    assert shapes[0] == shapes[1]
    random = np.random.default_rng(0)
    variables = jax.tree.map(lambda leaf: random.normal(size=leaf.shape).astype(leaf.dtype), shapes[0])

    def run(cell, variables):
        step = cell.apply({"params": variables["params"]["cell"]}, jnp.zeros(4), INPUTS[0, 0])
        return dl.Recurrent(cell).apply(variables, INPUTS), step

    evaluated, expected = jax.jit(lambda variables: [run(cell, variables) for cell in (noisy, plain)])(
        variables
    )
    jax.tree.map(np.testing.assert_array_equal, evaluated, expected)


@pytest.mark.slow
def test_a_single_step_draws():
    cell = dl.GRUCell(4, input_dropout=0.5, recurrent_dropout=0.5, zoneout=0.1)
    variables = dl.GRUCell(4).init(KEY, jnp.zeros(4), INPUTS[0, 0])
    step = jax.jit(
        lambda key: cell.apply(variables, jnp.zeros(4), INPUTS[0, 0], train=True, rngs={"dropout": key})
    )
    assert (np.asarray(step(jax.random.key(1))[1]) != np.asarray(step(jax.random.key(2))[1])).any()


def test_rates_of_0_draw_nothing():
    for noise in (Noise(0.0, 0.0, (0.0,), KEY), Noise(0.5, 0.5, (0.0,), None)):
        assert noise.drop_inputs(INPUTS, INPUTS.shape) is INPUTS
        assert noise.recurrent_mask((2, 8), jnp.float32) is None
        assert noise.zone_out(INPUTS, INPUTS + 1, 0)[0, 0, 0] == 2


def test_only_a_cell_that_knows_train_is_told():
    assert train_option(dl.LSTMCell(2), True) == {"train": True}
    assert train_option(dl.FeedbackCell([dl.LSTMCell(2)]), False) == {"train": False}
    assert train_option(nn.LSTMCell(2), True) == {}
