"""Stacks: the pipeline, state, shortcuts, and rows of a padded batch that do not see their padding."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl
from dlcore.ops.lengths import valid_steps

KEY = jax.random.key(0)


def test_stack_is_conv_relu_pool_repeated():
    blocks = [dl.ConvBlock(3), dl.ConvBlock(5, kernel_size=2, padding=0, pool=None)]
    inputs = jax.random.normal(KEY, (2, 8, 8, 1))
    outputs, variables = dl.ConvStack(blocks).init_with_output(KEY, inputs, train=False)
    first, second = (variables["params"][f"block_{n}"]["conv_0"] for n in range(2))
    maps = dl.max_pool(nn.relu(dl.Conv(3, 3, padding=1).apply({"params": first}, inputs)))
    expected = nn.relu(dl.Conv(5, 2).apply({"params": second}, maps))
    np.testing.assert_allclose(outputs, expected, rtol=1e-6)
    assert outputs.shape == (2, 3, 3, 5)


def test_stack_in_training_updates_statistics_and_drops():
    stack = dl.ConvStack([dl.ConvBlock(8, norm="batch", dropout=0.5)])
    inputs = jax.random.normal(KEY, (16, 4, 4, 1))
    variables = stack.init(KEY, inputs, train=False)
    outputs, updated = stack.apply(
        variables, inputs, train=True, rngs={"dropout": KEY}, mutable=["batch_stats"]
    )
    before, after = (state["batch_stats"]["block_0"]["norm_0"] for state in (variables, updated))
    assert not np.array_equal(before["mean"], after["mean"])
    assert 0.4 < (np.asarray(outputs) == 0).mean() < 0.9
    still = stack.apply(variables, inputs, train=False)
    np.testing.assert_array_equal(still, stack.apply(variables, inputs, train=False))


def test_a_block_given_twice_has_two_sets_of_parameters():
    params = dl.ConvStack([dl.ConvBlock(4, pool=None)] * 2).init(KEY, jnp.ones((1, 4, 4, 4)), train=False)
    one, other = (params["params"][f"block_{n}"]["conv_0"]["kernel"] for n in range(2))
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("features", [3, 5])
def test_a_residual_block_adds_its_input_before_the_last_relu(features):
    block = dl.ConvBlock(features, convolutions=2, residual=True, pool=None)
    inputs = jax.random.normal(KEY, (2, 6, 6, 3))
    outputs, variables = dl.ConvStack([block]).init_with_output(KEY, inputs, train=False)
    params = variables["params"]["block_0"]
    conv = lambda name, x, **options: dl.Conv(features, 3, padding=1, **options).apply(
        {"params": params[name]}, x
    )
    shortcut = inputs
    if features != 3:
        shortcut = jnp.einsum("bhwd,dk->bhwk", inputs, params["projection"]["kernel"][0, 0])
    expected = nn.relu(conv("conv_1", nn.relu(conv("conv_0", inputs))) + shortcut)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)
    assert ("projection" in params) == (features != 3)


def test_a_residual_block_that_shrinks_its_maps_is_refused():
    stack = dl.ConvStack([dl.ConvBlock(3, padding="VALID", residual=True)])
    with pytest.raises(ValueError, match=r"padding: got 'VALID' in a residual block, which changes \(6, 6\)"):
        stack.init(KEY, jnp.ones((1, 6, 6, 3)), train=False)
    strided = dl.ConvStack([dl.ConvBlock(4, strides=2, residual=True, pool=None)])
    assert strided.init_with_output(KEY, jnp.ones((1, 7, 7, 3)), train=False)[0].shape == (1, 4, 4, 4)


def test_temporal_blocks_see_no_future_and_as_far_back_as_they_say():
    stack = dl.ConvStack(dl.temporal_blocks(features=4, levels=3))
    inputs = jax.random.normal(KEY, (1, 40, 2))
    variables = stack.init(KEY, inputs, train=False)
    # Positive weights on positive inputs: every path counts, none is cut by a ReLU.
    variables = jax.tree.map(jnp.abs, variables)
    gradient = jax.grad(lambda x: stack.apply(variables, x, train=False)[0, 35].sum())(jnp.abs(inputs))
    (seen,) = np.nonzero(np.asarray(gradient)[0].any(-1))
    assert (seen.min(), seen.max()) == (35 - 28, 35)
    assert dl.receptive_field(stack) == (29,)


LENGTHS = jnp.array([0, 1, 5, 12, 17])
STACKS = {
    "plain": [dl.ConvBlock(4, (3,)), dl.ConvBlock(3, (3,))],
    "batch norm": [dl.ConvBlock(4, (3,), norm="batch"), dl.ConvBlock(3, (5,), norm="batch", pool=None)],
    "layer norm": [dl.ConvBlock(4, (3,), norm="layer"), dl.ConvBlock(3, (3,), norm="layer")],
    "strides and padding": [
        dl.ConvBlock(4, (4,), 2, 2, pool=3, pool_strides=2),
        dl.ConvBlock(3, (2,), padding=1),
    ],
    "residual": [dl.ConvBlock(2, (3,), residual=True), dl.ConvBlock(3, (3,), 2, residual=True, pool=None)],
    "temporal": dl.temporal_blocks(3, 3),
    "average, dilated": [dl.ConvBlock(4, (3,), dilation=2, pool_kind="average")] * 2,
    "images": [dl.ConvBlock(4, 3, norm="batch"), dl.ConvBlock(3, (3, 1), pool=(2, 1), residual=True)],
}


def padded_batch(name):
    trailing = (6, 2) if name == "images" else (2,)
    inputs = np.random.default_rng(0).normal(size=(5, 17, *trailing)).astype(np.float32)
    inputs[~np.asarray(valid_steps(LENGTHS, 17))] = np.nan
    blocks = [dataclasses.replace(block, remainder="floor") for block in STACKS[name]]
    stack = dl.ConvStack(blocks)
    variables = jax.jit(partial(stack.init, train=False))(KEY, jnp.ones((1, 17, *trailing)))
    # Statistics and offsets that are not 0 and 1, so that padding would show.
    shift = lambda path, leaf: leaf + 0.3 if leaf.ndim == 1 else leaf
    return stack, jax.tree_util.tree_map_with_path(shift, variables), jnp.asarray(inputs)


@pytest.mark.parametrize("name", STACKS)
def test_rows_of_a_padded_batch_are_what_they_are_alone(name):
    stack, variables, inputs = padded_batch(name)
    apply = jax.jit(partial(stack.apply, train=False))
    together = apply(variables, inputs, LENGTHS)
    after = np.asarray(stack.output_lengths(LENGTHS))
    assert together.shape[1] >= after.max()
    for row, length in enumerate(LENGTHS.tolist()):
        assert (np.asarray(together[row, after[row] :]) == 0).all()
        if after[row]:
            alone = apply(variables, inputs[row : row + 1, :length])[0]
            assert len(alone) == after[row]
            np.testing.assert_allclose(together[row, : after[row]], alone, rtol=1e-6, atol=1e-6)
    assert after[0] == 0
    assert after.max() > 0


@pytest.mark.parametrize("name", STACKS)
def test_nan_in_padding_is_inert_in_training_gradients_included(name):
    stack, variables, inputs = padded_batch(name)

    def loss(params, inputs):
        state = {name: value for name, value in variables.items() if name != "params"}
        outputs, new_state = stack.apply(
            {"params": params, **state}, inputs, LENGTHS, train=True, mutable=["batch_stats"]
        )
        return (outputs**2).sum(), (outputs, new_state)

    other = jnp.where(jnp.isnan(inputs), 1e3, inputs)
    gradient = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
    results = [gradient(variables["params"], x) for x in (inputs, other)]
    for one, two in zip(*map(jax.tree.leaves, results), strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_array_equal(one, two)
    to_inputs = np.asarray(results[0][0][1])
    assert (to_inputs[~np.asarray(valid_steps(LENGTHS, 17))] == 0).all()


def test_batch_statistics_are_those_of_the_valid_places():
    stack = dl.ConvStack([dl.ConvBlock(3, (1,), norm="batch", pool=None)])
    inputs = jax.random.normal(KEY, (5, 17, 2)) + 2
    variables = stack.init(KEY, inputs, train=False)
    _, updated = stack.apply(variables, inputs, LENGTHS, train=True, mutable=["batch_stats"])
    maps = inputs @ variables["params"]["block_0"]["conv_0"]["kernel"][0]
    valid = np.asarray(maps)[np.asarray(valid_steps(LENGTHS, 17))]
    statistics = updated["batch_stats"]["block_0"]["norm_0"]
    np.testing.assert_allclose(statistics["mean"], 0.1 * valid.mean(0), rtol=1e-5)
    np.testing.assert_allclose(statistics["var"], 0.9 + 0.1 * valid.var(0), rtol=1e-4)
    _, updated = stack.apply(variables, inputs, 0 * LENGTHS, train=True, mutable=["batch_stats"])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(updated))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"features": 0}, ValueError, "features: got 0"),
        ({"features": 4.5}, TypeError, r"features: got 4\.5, expected an integer"),
        ({"dropout": 1.0}, ValueError, r"dropout: got 1\.0"),
        ({"norm": "b"}, ValueError, "norm: got 'b'"),
        ({"pool_kind": "mean"}, ValueError, "pool_kind: got 'mean'"),
        ({"pool": 0}, ValueError, "pool: got 0"),
        ({"pool": (2,)}, ValueError, r"pool: got \(2,\), expected an integer or 2 of them"),
        ({"strides": 0}, ValueError, "strides: got 0"),
        ({"convolutions": 0}, ValueError, "convolutions: got 0"),
        ({"kernel_size": ()}, ValueError, r"kernel_size: got \(\)"),
    ],
)
def test_block_refuses_bad_settings(options, error, message):
    with pytest.raises(error, match=message):
        dl.ConvBlock(**{"features": 4, **options})
