"""Attention against loops in NumPy, and padding of the memory that reaches nothing."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.layers.decoding.attention import Attention, BahdanauAttention, LuongAttention, attend
from tests.helpers import attention_reference as reference

KEY = jax.random.key(0)
close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
LENGTHS = np.array([5, 2, 1, 0], np.int32)
ATTENTIONS = {
    "dot": LuongAttention(),
    "general": LuongAttention("general"),
    "additive": BahdanauAttention(features=6),
}


@jax.jit
def attend_and_gradients(scores, memory, mixture):
    loss = lambda scores, memory: (mixture * attend(scores, memory, LENGTHS)[0]).sum()
    return attend(scores, memory, LENGTHS), jax.grad(loss, (0, 1))(scores, memory)


@pytest.mark.parametrize("seed", range(3))
def test_attend_equals_a_loop_and_padding_reaches_nothing(seed):
    random = np.random.default_rng(seed)
    scores, memory, mixture = (
        random.normal(scale=scale, size=size).astype(np.float32)
        for scale, size in ((5, (4, 5)), (1, (4, 5, 3)), (1, (4, 3)))
    )
    result = jax.device_get(attend_and_gradients(scores, memory, mixture))
    (context, weights), (to_scores, to_memory) = result
    for row, length in enumerate(LENGTHS.tolist()):
        looks = reference.softmax(scores[row, :length].astype(float))
        valid = memory[row, :length].astype(float)
        close(weights[row, :length], looks)
        close(context[row], looks @ valid)
        close(to_memory[row, :length], np.outer(looks, mixture[row]))
        to_weights = valid @ mixture[row]
        close(to_scores[row, :length], looks * (to_weights - looks @ to_weights))
        for padding in (weights, to_scores, to_memory):
            assert not padding[row, length:].any()
    padding = np.arange(5) >= LENGTHS[:, None]
    for rubbish in (np.float32(np.nan), np.float32(np.inf), np.float32(-np.inf)):
        spoilt = np.where(padding, rubbish, scores), np.where(padding[..., None], rubbish, memory)
        jax.tree.map(np.testing.assert_array_equal, attend_and_gradients(*spoilt, mixture), result)


def test_rows_without_memory_compute_no_nan():
    with jax.debug_nans(True):
        loss = lambda scores: attend(scores, jnp.ones((2, 3, 1)), jnp.array([0, 2]))[0].sum()
        assert not np.asarray(jax.jit(jax.grad(loss))(jnp.ones((2, 3)))[0]).any()


def test_attend_over_any_batch_large_scores_and_no_memory():
    memory = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype(np.float32)
    scores = np.array([0.0, 1e30, 0.0, -1e30, 0.0], np.float32) * np.ones((2, 3, 1), np.float32)

    @jax.jit
    def run():
        empty = attend(jnp.zeros((2, 0)), jnp.ones((2, 0, 4)))[0]
        return attend(scores, memory), attend(scores, memory, jnp.full((2, 3), 1))[0], empty

    (context, weights), first, empty = run()
    assert weights[1, 2].tolist() == [0, 1, 0, 0, 0]
    close(context, memory[:, :, 1])
    close(first, memory[:, :, 0])
    assert empty.tolist() == [[0.0] * 4] * 2


def test_half_precision_stays():
    half = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.bfloat16)
    context, weights = jax.eval_shape(attend, half(2, 5), half(2, 5, 1))
    assert context.dtype == weights.dtype == jnp.bfloat16


@pytest.mark.parametrize("name", ATTENTIONS)
def test_scores_equal_a_loop(name):
    attention, random = ATTENTIONS[name], np.random.default_rng(0)
    memory = random.normal(size=(2, 5, 3 if name == "dot" else 4)).astype(np.float32)
    query = random.normal(size=(2, 3)).astype(np.float32)

    @jax.jit
    def run():
        variables = attention.init(KEY, memory, 3)
        return variables.get("params", {}), attention.apply(variables, memory, 3)(query)

    params, scores = run()
    for row in range(2):
        close(scores[row], reference.scores(params, query[row], memory[row]))


def test_parameters_have_the_papers_shapes():
    def shapes(attention, memory_width=4):
        variables = jax.eval_shape(
            lambda: attention.init(KEY, jnp.ones((1, 5, memory_width)), 3).get("params", {})
        )
        return jax.tree.map(jnp.shape, variables)

    assert shapes(LuongAttention("general")) == {"memory_kernel": (4, 3)}
    expected = {"query_kernel": (3, 6), "memory_kernel": (4, 6), "score_kernel": (6, 1)}
    assert shapes(BahdanauAttention(6)) == expected
    assert shapes(LuongAttention(), memory_width=3) == {}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: LuongAttention("concat"), ValueError, 'score: got \'concat\', expected "dot" or "general"'),
        (lambda: BahdanauAttention(0), ValueError, "features: got 0"),
        (
            lambda: LuongAttention().apply({}, jnp.ones((1, 5, 4)), 3),
            ValueError,
            "memory: got 4 features for queries of 3",
        ),
        (lambda: Attention().apply({}, jnp.ones((1, 5, 4)), 3), NotImplementedError, None),
        (
            lambda: attend(np.ones((2, 4), np.float32), np.ones((2, 5, 1))),
            ValueError,
            r"scores: got shape \(2, 4\)",
        ),
        (lambda: attend(np.ones((2, 4), int), np.ones((2, 4, 1))), TypeError, "scores: got int64"),
        (lambda: attend(np.ones((2, 4)), np.ones((2, 4, 1), int)), TypeError, "memory: got int64"),
        (
            lambda: attend(np.ones((2, 4)), np.ones(4)),
            ValueError,
            r"memory: got shape \(4,\), expected \[\*batch, S",
        ),
        (
            lambda: attend(np.ones((2, 4)), np.ones((2, 4, 1)), np.array([5, 0])),
            ValueError,
            "^lengths: got 5 in row 0",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
