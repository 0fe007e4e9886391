"""The description of a stack against its real sizes, parameters and gradients."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlcore as dl


def random_stack(seed):
    random = np.random.default_rng(seed)
    rank = 1 + seed % 2
    pick = lambda low, high: tuple(map(int, random.integers(low, high, rank)))
    return [
        dl.ConvBlock(
            int(random.integers(1, 5)),
            pick(1, 4),
            pick(1, 3),
            dilation=pick(1, 3),
            convolutions=int(random.integers(1, 3)),
            norm=(None, "batch", "layer")[random.integers(3)],
            residual=bool(random.integers(2)),
            pool=(pool := (None, 2, pick(1, 4))[random.integers(3)]),
            pool_strides=(None, 1)[random.integers(2)] if pool else None,
            pool_kind=("max", "average")[random.integers(2)],
            remainder="floor",
        )
        for _ in range(random.integers(1, 4))
    ]


def some(seeds, fast):
    """The first seeds, and the others marked as slow."""
    return [*range(fast), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(fast, seeds))]


@pytest.mark.parametrize("seed", some(50, fast=2))
def test_receptive_field_is_the_support_of_the_gradient(seed):
    blocks = [dataclasses.replace(block, norm=None, pool_kind="average") for block in random_stack(seed)]
    stack, field = dl.ConvStack(blocks), dl.receptive_field(blocks)
    sizes = [3 * extent + 20 for extent in field]
    inputs = jnp.ones((1, *sizes, 1))
    shapes = jax.eval_shape(stack.init, jax.random.key(0), inputs)
    variables = jax.tree.map(lambda leaf: np.full(leaf.shape, 0.1, np.float32), shapes)

    def middle_output(inputs):
        outputs = stack.apply(variables, inputs)
        return outputs[(0, *(size // 2 for size in outputs.shape[1:-1]))].sum()

    support = np.nonzero(np.asarray(jax.jit(jax.grad(middle_output))(inputs))[0, ..., 0])
    assert tuple(int(places.max() - places.min() + 1) for places in support) == field


@pytest.mark.parametrize("seed", some(50, fast=10))
def test_sizes_and_parameter_counts_are_exact(seed):
    blocks = random_stack(seed)
    sizes = (40 + seed % 7, 37)[: 1 + seed % 2]
    stack = dl.ConvStack(blocks)
    outputs, variables = jax.eval_shape(
        lambda: stack.init_with_output(jax.random.key(0), jnp.ones((1, *sizes, 3)))
    )
    description = dl.describe(stack, (*sizes, 3))
    assert description.rows[-1].output_size == outputs.shape[1:]
    count = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    assert dl.parameter_count(stack, (*sizes, 3)) == description.parameters == count


def test_the_lectures_comparison_with_fully_connected():
    """A 6 x 6 image and two 3 x 3 filters give 4 x 4 x 2 maps from 9 weights each; a dense layer needs 36 x 32."""
    conv, pool = dl.describe([dl.ConvBlock(2, 3, padding="VALID")], (6, 6, 1)).rows
    assert conv.output_size == (4, 4, 2)
    assert (conv.weights, conv.biases) == (3 * 3 * 1 * 2, 2)
    assert conv.multiply_adds == 4 * 4 * 2 * 9
    assert conv.dense_weights == 36 * 32
    assert pool.output_size == (2, 2, 2)
    assert (pool.weights, pool.biases, pool.receptive_field) == (0, 0, (4, 4))


def test_the_table_shows_every_layer_and_the_totals():
    blocks = [dl.ConvBlock(32, norm="batch"), dl.ConvBlock(64, convolutions=2, residual=True)]
    table = str(dl.describe(dl.ConvStack(blocks), (28, 28, 1)))
    for text in (
        "0: conv 3x3",
        "28x28x32",
        "batch norm",
        "1: max-pool 2x2",
        "7x7x64",
        "projection",
        "57,664",
    ):
        assert text in table


def test_stacks_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="stack: got none, expected at least one ConvBlock"):
        dl.describe([], (6, 6, 1))
    with pytest.raises(ValueError, match=r"input_shape: got .* expected 2 spatial dimensions"):
        dl.describe([dl.ConvBlock(2)], (6, 1))
    with pytest.raises(ValueError, match="pool: got 2, which spans 2 pixels"):
        dl.describe([dl.ConvBlock(2)] * 4, (8, 8, 1))


@pytest.mark.parametrize(
    ("block", "input_shape", "message"),
    [
        ({"padding": "VALID", "residual": True}, (8, 8, 1), "padding: got 'VALID' in a residual block"),
        ({"groups": 3, "features": 3}, (8, 8, 2), "groups: got 3 for 2 input channels"),
        ({"groups": 2, "features": 3}, (8, 8, 2), "groups: got 2"),
        ({}, (9, 9, 1), "the last 1 of 9 pixels would be dropped"),
        ({}, (), r"input_shape: got \(\), expected 2 spatial dimensions"),
        ({}, (8, 8, 0), "input_shape: got 0"),
    ],
)
def test_what_a_stack_refuses_its_description_refuses(block, input_shape, message):
    with pytest.raises(ValueError, match=message):
        dl.describe([dl.ConvBlock(**{"features": 4, **block})], input_shape)


def test_what_is_no_stack_and_no_shape_is_refused_by_name():
    for function in (lambda stack: dl.describe(stack, (8, 8, 1)), dl.receptive_field):
        for wrong, message in (
            (None, "stack: got None"),
            ([4], r"stack\[0\]: got 4"),
            ("text", r"stack\[0\]: got 't'"),
        ):
            with pytest.raises(TypeError, match=message):
                function(wrong)
    for wrong in (None, 8, "8", (8, 8, "1"), (8.0, 8, 1)):
        with pytest.raises(TypeError, match="input_shape: got"):
            dl.parameter_count([dl.ConvBlock(4)], wrong)
    with pytest.raises(ValueError, match=r"stack\[1\]: got a block of 1 dimensions"):
        dl.receptive_field([dl.ConvBlock(4), dl.ConvBlock(4, (3,))])
