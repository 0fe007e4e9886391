"""Dropout and zoneout in time: which masks are the same, what is drawn, what evaluation does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl

KEY = jax.random.key(0)
INPUTS = jnp.ones((2, 6, 8))


def outputs(cell, seed=1, **options):
    layer = dl.Recurrent(cell)
    variables = layer.init(KEY, INPUTS, train=False)
    return layer.apply(variables, INPUTS, train=True, rngs={"dropout": jax.random.key(seed)}, **options)[1]


def summing(**options):
    """h_t = the sum of its inputs' products: what the masks did to constant inputs is seen in every output."""
    return dl.RNNCell(
        8,
        activation=lambda z: z,
        kernel_init=lambda key, shape, dtype: jnp.eye(*shape, dtype=dtype),
        recurrent_kernel_init=nn.initializers.zeros,
        **options,
    )


def test_a_variational_input_mask_is_one_for_all_steps_and_another_for_each_row_and_call():
    masks = np.asarray(outputs(summing(input_dropout=0.5)))
    assert set(np.unique(masks)) == {0.0, 2.0}
    np.testing.assert_array_equal(masks, np.broadcast_to(masks[:, :1], masks.shape))
    assert (masks[0] != masks[1]).any()
    np.testing.assert_array_equal(masks, outputs(summing(input_dropout=0.5)))
    assert (masks != np.asarray(outputs(summing(input_dropout=0.5), seed=2))).any()


def test_otherwise_each_step_has_a_mask_of_its_own():
    masks = np.asarray(outputs(summing(input_dropout=0.5, variational=False)))
    assert (masks[:, 1:] != masks[:, :-1]).any(axis=(0, 2)).all()


@pytest.mark.parametrize("variational", [True, False])
def test_recurrent_masks_meet_the_recurrent_kernel_only(variational):
    """h_t = m_t * h_{t-1}, from ones: the powers of 2 that survive say which masks there were."""
    cell = dl.RNNCell(
        8,
        activation=lambda z: z,
        kernel_init=nn.initializers.zeros,
        recurrent_kernel_init=lambda key, shape, dtype: jnp.eye(*shape, dtype=dtype),
        carry_init=nn.initializers.ones,
        recurrent_dropout=0.5 if variational else 0.2,
        variational=variational,
    )
    states = np.asarray(outputs(cell))
    if variational:
        assert set(np.unique(states[:, -1])) == {0.0, 64.0}
        np.testing.assert_array_equal(states, (states[:, :1] > 0) * 2.0 ** np.arange(1, 7)[:, None])
    else:
        alive = (states > 0).sum(axis=(0, 2))
        assert alive[0] > alive[2] > 0


@pytest.mark.parametrize("reset", ["before", "after"])
def test_a_grus_path_of_kept_state_is_not_broken_by_recurrent_dropout(reset):
    """With the update gate open (z = 1) the state stays, whatever the masks are."""
    cell = dl.GRUCell(
        8,
        reset=reset,
        recurrent_dropout=0.9,
        carry_init=nn.initializers.ones,
        bias_init=nn.initializers.constant(100.0),
    )
    np.testing.assert_allclose(outputs(cell), np.ones((2, 6, 8)), rtol=1e-6)


def test_zoneout_keeps_old_units_in_training_and_averages_in_evaluation():
    cell = summing(zoneout=0.25)  # h_t is 1, or h_{t-1}, from 0
    states = np.asarray(outputs(cell))
    assert set(np.unique(states)) == {0.0, 1.0}
    assert (np.diff(states, axis=1) >= 0).all()
    assert 0.05 < (states[:, 0] == 0).mean() < 0.6
    layer = dl.Recurrent(cell)
    averaged = layer.apply(layer.init(KEY, INPUTS, train=False), INPUTS, train=False)[1]
    np.testing.assert_allclose(averaged[0, :, 0], 1 - 0.25 ** np.arange(1, 7), rtol=1e-6)


def test_an_lstms_cell_and_output_have_rates_of_their_own():
    cell = dl.LSTMCell(8, zoneout=(0.0, 0.99))
    layer = dl.Recurrent(cell)
    variables = layer.init(KEY, INPUTS, train=False)
    (cells, hidden), _ = layer.apply(variables, INPUTS, train=True, rngs={"dropout": KEY})
    assert np.asarray(cells).all()
    assert (np.asarray(hidden) == 0).any()


def test_padding_and_chunks_change_no_mask():
    cell = dl.LSTMCell(8, input_dropout=0.2, recurrent_dropout=0.3, zoneout=0.1, variational=False)
    layers = [dl.Recurrent(cell), dl.Recurrent(cell, time_chunk=4)]
    variables, rngs = layers[0].init(KEY, INPUTS, train=False), {"dropout": KEY}
    whole, chunks = (
        jax.jit(lambda v, layer=layer: layer.apply(v, INPUTS, train=True, rngs=rngs)[1])(variables)
        for layer in layers
    )
    np.testing.assert_allclose(whole, chunks, rtol=1e-6)
    padded = layers[0].apply(variables, INPUTS, jnp.array([6, 4]), train=True, rngs=rngs)[1]
    np.testing.assert_allclose(padded[1, :4], whole[1, :4], rtol=1e-6)


def test_rates_of_0_and_evaluation_need_no_random_numbers():
    cell = dl.GRUCell(4, input_dropout=0.5, recurrent_dropout=0.5)
    layer = dl.Recurrent(cell)
    variables = layer.init(KEY, INPUTS, train=False)
    plain = dl.Recurrent(dl.GRUCell(4)).apply(variables, INPUTS)[1]
    np.testing.assert_array_equal(layer.apply(variables, INPUTS, train=False)[1], plain)
    with pytest.raises(ValueError, match="train"):
        layer.apply(variables, INPUTS)


def test_noise_works_step_by_step_and_in_flax():
    cell = dl.GRUCell(4, input_dropout=0.5, recurrent_dropout=0.5, zoneout=0.1, train=True)
    layer = nn.RNN(cell, split_rngs={"params": False, "dropout": True})
    states, _ = layer.init_with_output({"params": KEY, "dropout": KEY}, INPUTS)
    assert np.isfinite(states).all()
    alone = cell.init_with_output({"params": KEY, "dropout": KEY}, jnp.zeros(4), INPUTS[0, 0])[0][1]
    assert alone.shape == (4,)


def test_cells_within_cells_and_cells_that_know_no_train_are_told_what_they_can_hear():
    cell = dl.FeedbackCell([dl.GRUCell(3, recurrent_dropout=0.5), nn.GRUCell(3)])
    layer = dl.Recurrent(cell)
    variables = layer.init(KEY, INPUTS, train=False)
    states = [
        layer.apply(variables, INPUTS, train=True, rngs={"dropout": jax.random.key(seed)})[1]
        for seed in (1, 2)
    ]
    assert (np.asarray(states[0]) != np.asarray(states[1])).any()
    carry = layer.initialize_carry(INPUTS.shape)
    layer.apply(variables, carry, INPUTS[:, 0], train=False, method="step")
