"""Stacks: the order of the layers, state, shortcuts, and padded batches whose rows equal the rows alone."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import dlcore as dl

KEY = jax.random.key(0)


def randomized(stack, inputs, change=lambda values: values):
    """Normally distributed variables, which need no compilation."""
    random = np.random.default_rng(0)
    shapes = jax.eval_shape(stack.init, KEY, inputs)
    return jax.tree.map(lambda leaf: change(random.normal(size=leaf.shape)).astype(np.float32), shapes)


def test_stack_is_conv_relu_pool_repeated():
    blocks = [dl.ConvBlock(3), dl.ConvBlock(5, kernel_size=2, padding=0, pool=None)]

    @jax.jit
    def both(inputs):
        outputs, variables = dl.ConvStack(blocks).init_with_output(KEY, inputs)
        first, second = (variables["params"][f"block_{index}"]["conv_0"] for index in range(2))
        maps = dl.max_pool(nn.relu(dl.Conv(3, 3, padding=1).apply({"params": first}, inputs)))
        return outputs, nn.relu(dl.Conv(5, 2).apply({"params": second}, maps))

    outputs, expected = both(jax.random.normal(KEY, (2, 8, 8, 1)))
    np.testing.assert_allclose(outputs, expected, rtol=1e-6)
    assert outputs.shape == (2, 3, 3, 5)


def test_stack_in_training_updates_statistics_and_drops():
    stack = dl.ConvStack([dl.ConvBlock(8, norm="batch", dropout=0.5)])
    inputs = jax.random.normal(KEY, (16, 4, 4, 1))

    @jax.jit
    def run(inputs):
        still, variables = stack.init_with_output(KEY, inputs)
        trained = stack.apply(variables, inputs, train=True, rngs={"dropout": KEY}, mutable=["batch_stats"])
        return still, variables, trained

    still, variables, (outputs, updated) = run(inputs)
    before, after = (state["batch_stats"]["block_0"]["norm_0"] for state in (variables, updated))
    assert not np.array_equal(before["mean"], after["mean"])
    assert 0.4 < (np.asarray(outputs) == 0).mean() < 0.9
    assert (np.asarray(still) == 0).mean() < 0.3  # a maximum after a ReLU is rarely 0 without dropout


def test_a_block_given_twice_has_two_sets_of_parameters():
    params = jax.jit(dl.ConvStack([dl.ConvBlock(4, pool=None)] * 2).init)(KEY, jnp.ones((1, 4, 4, 4)))
    one, other = (params["params"][f"block_{index}"]["conv_0"]["kernel"] for index in range(2))
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("features", [3, 5])
def test_a_residual_block_adds_its_input_before_the_last_relu(features):
    block = dl.ConvBlock(features, convolutions=2, residual=True, pool=None)

    @jax.jit
    def both(inputs):
        outputs, variables = dl.ConvStack([block]).init_with_output(KEY, inputs)
        params = variables["params"]["block_0"]
        conv = lambda name, x: dl.Conv(features, 3, padding=1).apply({"params": params[name]}, x)
        shortcut = inputs
        if features != 3:
            shortcut = jnp.einsum("bhwd,dk->bhwk", inputs, params["projection"]["kernel"][0, 0])
        return outputs, nn.relu(conv("conv_1", nn.relu(conv("conv_0", inputs))) + shortcut), params

    outputs, expected, params = both(jax.random.normal(KEY, (2, 6, 6, 3)))
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)
    assert ("projection" in params) == (features != 3)


def test_a_residual_block_that_shrinks_its_maps_is_refused():
    stack = dl.ConvStack([dl.ConvBlock(3, padding="VALID", residual=True)])
    with pytest.raises(ValueError, match=r"padding: got 'VALID' in a residual block, which changes \(6, 6\)"):
        jax.eval_shape(stack.init, KEY, jnp.ones((1, 6, 6, 3)))
    strided = dl.ConvStack([dl.ConvBlock(4, strides=2, residual=True, pool=None)])
    outputs, _ = jax.eval_shape(strided.init_with_output, KEY, jnp.ones((1, 7, 7, 3)))
    assert outputs.shape == (1, 4, 4, 4)


@pytest.mark.parametrize(
    ("blocks", "error", "message"),
    [
        ([], ValueError, "blocks: got none, expected at least one ConvBlock"),
        ([4], TypeError, r"blocks\[0\]: got 4, expected a ConvBlock"),
        ([dl.ConvBlock(4), dl.Conv(4, 3)], TypeError, r"blocks\[1\]: got Conv, expected a ConvBlock"),
        (None, TypeError, "blocks: got None, expected a list of ConvBlocks"),
        (dl.ConvBlock(4), TypeError, "blocks: got .*, expected a list of ConvBlocks"),
        (
            [dl.ConvBlock(4), dl.ConvBlock(4, (3,))],
            ValueError,
            r"blocks\[1\]: got a block of 1 dimensions, expected 2",
        ),
    ],
)
def test_what_is_no_list_of_blocks_is_refused(blocks, error, message):
    with pytest.raises(error, match=message):
        dl.ConvStack(blocks)


def test_inputs_lengths_and_train_are_refused_by_name():
    stack = dl.ConvStack([dl.ConvBlock(4)])
    for wrong in ([[1.0]], None, jnp.ones((1, 4, 4, 1), jnp.int32)):
        with pytest.raises(TypeError, match="inputs: got"):
            stack.init(KEY, wrong)
    for shape in ((), (4,), (4, 4), (1, 4, 4)):
        with pytest.raises(ValueError, match="inputs: got shape"):
            stack.init(KEY, jnp.ones(shape))
    with pytest.raises(TypeError, match="train: got 'x', expected True or False"):
        stack.init(KEY, jnp.ones((1, 4, 4, 1)), train="x")
    with pytest.raises(TypeError, match="lengths: got list"):
        stack.init(KEY, jnp.ones((1, 4, 4, 1)), [4])


def test_the_pool_of_a_block_is_not_told_to_change_the_padding_of_the_convolutions():
    stack = dl.ConvStack([dl.ConvBlock(4)])
    with pytest.raises(
        ValueError, match=r"size 9 and pool 2, .* 1 of 9 pixels would be dropped: say remainder"
    ):
        stack.init(KEY, jnp.ones((1, 9, 9, 1)))


def test_temporal_blocks_see_no_future_and_the_steps_of_their_receptive_field():
    stack = dl.ConvStack(dl.temporal_blocks(features=4, levels=3))
    inputs = jax.random.normal(KEY, (1, 40, 2))
    # Positive weights on positive inputs: every path counts, and no ReLU cuts one.
    variables = randomized(stack, inputs, np.abs)
    gradient = jax.jit(jax.grad(lambda x: stack.apply(variables, x)[0, 35].sum()))(jnp.abs(inputs))
    (seen,) = np.nonzero(np.asarray(gradient)[0].any(-1))
    assert (seen.min(), seen.max()) == (35 - 28, 35)
    assert dl.receptive_field(stack) == (29,)


LENGTHS = np.array([0, 1, 5, 12], np.int32)
STEPS = 12
STACKS = {
    "plain": [dl.ConvBlock(4, (3,)), dl.ConvBlock(3, (3,))],
    "batch norm": [dl.ConvBlock(4, (3,), norm="batch"), dl.ConvBlock(3, (5,), norm="batch", pool=None)],
    "layer norm": [dl.ConvBlock(4, (3,), norm="layer"), dl.ConvBlock(3, (3,), norm="layer")],
    "strides and padding": [
        dl.ConvBlock(4, (4,), 2, 2, pool=3, pool_strides=2),
        dl.ConvBlock(3, (2,), padding=1),
    ],
    "residual": [
        dl.ConvBlock(2, (3,), padding="CIRCULAR", residual=True),
        dl.ConvBlock(3, (3,), 2, residual=True, pool=None),
    ],
    "temporal": dl.temporal_blocks(3, 3),
    "average, dilated": [dl.ConvBlock(4, (3,), dilation=2, pool_kind="average")] * 2,
    "images": [dl.ConvBlock(4, 3, norm="batch"), dl.ConvBlock(3, (3, 1), pool=(2, 1), residual=True)],
}


# These differ from the others only in ways that "images" and the tests of `sizes` and `pooling` show, too.
ALSO = ["plain", "batch norm", "layer norm", "average, dilated"]
NAMES = [pytest.param(name, marks=pytest.mark.slow) if name in ALSO else name for name in STACKS]


@pytest.mark.parametrize("name", NAMES)
def test_rows_of_a_padded_batch_equal_the_rows_alone_and_nan_in_padding_reaches_nothing(name):
    trailing = (6, 2) if name == "images" else (2,)
    padding = np.arange(STEPS) >= LENGTHS[:, None]
    inputs = np.random.default_rng(0).normal(size=(len(LENGTHS), STEPS, *trailing)).astype(np.float32)
    stack = dl.ConvStack([dataclasses.replace(block, remainder="floor") for block in STACKS[name]])
    # Statistics and offsets other than 0 and 1 make padding show.
    variables = randomized(stack, inputs, lambda values: 0.5 * np.abs(values) + 0.3)
    params, state = variables.pop("params"), variables
    counts = np.asarray(stack.output_lengths(LENGTHS))

    def loss(params, inputs):
        outputs, new_state = stack.apply(
            {"params": params, **state}, inputs, LENGTHS, train=True, mutable=["batch_stats"]
        )
        return (outputs**2).sum(), (outputs, new_state)

    @jax.jit
    def run(inputs):
        apply = lambda *arguments: stack.apply({"params": params, **state}, *arguments)
        alone = {
            row: apply(inputs[row : row + 1, :length])[0]
            for row, length in enumerate(LENGTHS.tolist())
            if counts[row]
        }
        trained = jax.grad(loss, argnums=(0, 1), has_aux=True)(params, inputs)
        return apply(inputs, LENGTHS), alone, trained

    spoilt, filled = (
        jax.device_get(run(np.where(padding.reshape(*padding.shape, *[1] * len(trailing)), value, inputs)))
        for value in (np.float32(np.nan), np.float32(1e3))
    )
    jax.tree.map(np.testing.assert_array_equal, spoilt, filled)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(spoilt))
    together, alone, (gradients, _) = spoilt
    assert not gradients[1][padding].any()
    assert counts[0] == 0
    assert counts.max() > 0
    assert together.shape[1] >= counts.max()
    for row, count in enumerate(counts):
        assert (together[row, count:] == 0).all()
        if count:
            assert len(alone[row]) == count
            np.testing.assert_allclose(together[row, :count], alone[row], rtol=1e-5, atol=1e-5)


def test_batch_statistics_are_those_of_the_valid_places():
    stack = dl.ConvStack([dl.ConvBlock(3, (1,), norm="batch", pool=None)])
    inputs = np.asarray(jax.random.normal(KEY, (len(LENGTHS), STEPS, 2))) + 2
    variables = jax.jit(stack.init)(KEY, inputs)
    update = jax.jit(partial(stack.apply, train=True, mutable=["batch_stats"]))
    _, updated = update(variables, inputs, LENGTHS)
    maps = inputs @ np.asarray(variables["params"]["block_0"]["conv_0"]["kernel"][0])
    valid = maps[np.arange(STEPS) < LENGTHS[:, None]]
    statistics = updated["batch_stats"]["block_0"]["norm_0"]
    np.testing.assert_allclose(statistics["mean"], 0.1 * valid.mean(0), rtol=1e-5)
    np.testing.assert_allclose(statistics["var"], 0.9 + 0.1 * valid.var(0), rtol=1e-4)
    _, updated = update(variables, inputs, 0 * LENGTHS)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(updated))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.uint32])
def test_lengths_of_every_integer_dtype_give_the_outputs_of_int32(dtype):
    stack = dl.ConvStack([dl.ConvBlock(3, (5,), 2, norm="batch", remainder="floor")])
    inputs, lengths = (
        np.random.default_rng(0).normal(size=(3, 120, 1)).astype(np.float32),
        np.array([0, 77, 120]),
    )
    variables = randomized(stack, inputs, np.abs)
    run = jax.jit(lambda lengths: (stack.apply(variables, inputs, lengths), stack.output_lengths(lengths)))
    narrow, wide = run(lengths.astype(dtype)), run(lengths)
    jax.tree.map(np.testing.assert_array_equal, narrow, wide)
