"""Attention: how much each step of a memory ``[*batch, S, M]`` counts for a query.

`attention_decoder` uses it in each step of a decoder.
"""

import dataclasses
from collections.abc import Callable
from typing import ClassVar, Literal, TypeAlias

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from flax.typing import Dtype, Initializer

from dlcore.layers.fields import check_fields, parameter
from dlcore.ops.arrays import at_least_float32, broadcast_weights, check_floats
from dlcore.ops.lengths import check_lengths, valid_steps, zero_padding
from dlcore.utils.checks import check_integer

Scores: TypeAlias = Callable[[jax.Array], jax.Array]
"""A function ``query [*batch, width] -> scores [*batch, S]``."""


def attend(
    scores: jax.Array, memory: jax.Array, lengths: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """The mean of each row of a memory, weighted by the softmax of its scores over the valid steps:

        w_s = exp(e_s) / sum_{s' < length} exp(e_s'),    c = sum_s w_s m_s

    Args:
        scores: e, ``[*batch, S]``.
        memory: m, ``[*batch, S, M]``.
        lengths: ``[*batch]`` integers, the number of valid steps of each row; None if all steps are valid.

    Returns:
        The pair of the context c ``[*batch, M]`` and the weights w ``[*batch, S]``. The weights are exactly 0 in
        padding, and both are 0 in rows of length 0. Nothing in the padding, NaN included, reaches them or a gradient.

    Raises:
        ValueError: shapes do not fit, or a length is outside 0..S.
        TypeError: scores or memory are not real floating point numbers, or the lengths are not integers.

    >>> memory = jnp.array([[[1.0], [3.0], [jnp.nan]]])
    >>> context, weights = attend(jnp.zeros((1, 3)), memory, jnp.array([2]))
    >>> context.tolist(), weights.tolist()
    ([[2.0]], [[0.5, 0.5, 0.0]])
    """
    check_floats("scores", scores)
    lengths = check_memory(memory, lengths)
    if scores.shape != memory.shape[:-1]:
        raise ValueError(
            f"scores: got shape {scores.shape} for a memory of shape {memory.shape}, expected {memory.shape[:-1]}"
        )
    weights = masked_softmax(scores, lengths)
    return weighted_mean(weights, memory if lengths is None else zero_padding(memory, lengths)), weights


def masked_softmax(scores: jax.Array, lengths: jax.Array | None) -> jax.Array:
    """The softmax of scores ``[*batch, S]`` over the valid steps of each row, of the same shape; 0 in padding.

    It is computed in float32 at least and has the dtype of the scores. ``lengths [*batch]``, or None if all steps are
    valid, are not checked.
    """
    wide = at_least_float32(scores)
    if lengths is None:
        return jax.nn.softmax(wide).astype(scores.dtype)
    valid = valid_steps(lengths, scores.shape[-1])
    # With -inf in place of the least number, a row of length 0 would compute NaN before it becomes 0.
    weights = jax.nn.softmax(jnp.where(valid, wide, jnp.finfo(wide.dtype).min)).astype(scores.dtype)
    return jnp.where(valid, weights, jnp.zeros((), weights.dtype))


def weighted_mean(weights: jax.Array, memory: jax.Array) -> jax.Array:
    """``sum_s w_s m_s``: ``[*batch, S], [*batch, S, M] -> [*batch, M]``."""
    return jnp.einsum("...s,...sm->...m", weights, memory)


def check_memory(memory: jax.Array, lengths: jax.Array | None, name: str = "lengths") -> jax.Array | None:
    """Checks a memory ``[*batch, S, M]`` and its lengths.

    Args:
        memory: real floating point numbers.
        lengths: ``[*batch]`` integers, or None.
        name: what error messages call the lengths.

    Returns:
        The lengths as `check_lengths` returns them, or None.

    Raises:
        ValueError: the memory has fewer than 2 dimensions, or the lengths do not fit it.
        TypeError: the memory is not real floating point, or the lengths are not an array of integers.
    """
    check_floats("memory", memory, 2, "[*batch, S, features]")
    return None if lengths is None else check_lengths(lengths, memory.shape, memory.ndim - 2, name)


class Attention(nn.Module):
    """The base class of attentions, which score how well each step of a memory answers a query.

    ``scores = attention(memory, width)`` computes once what depends on the memory ``[*batch, S, M]`` only. The result
    is a pure function, ``scores(query [*batch, width]) -> [*batch, S]``, that any loop can call.

    Attributes:
        kernel_init: initializer of the kernels.
        dtype: dtype of the computation; None promotes memory and parameters, as in flax.
        param_dtype: dtype of the parameters.
        attends: which state of the decoder is the query: ``"after"`` takes the state after the cell's step,
            ``"before"`` the state before it; see `AttentionDecoder`.
    """

    _: dataclasses.KW_ONLY
    kernel_init: Initializer = nn.initializers.lecun_normal()
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32

    attends: ClassVar[Literal["after", "before"]] = "after"

    def __post_init__(self) -> None:
        check_fields(self)
        super().__post_init__()

    def __call__(self, memory: jax.Array, width: int) -> Scores:
        """A function from queries ``[*batch, width]`` to their scores ``[*batch, S]`` against this memory.

        Args:
            memory: ``[*batch, S, M]``.
            width: number of features of a query.
        """
        raise NotImplementedError

    def _kernel(self, name: str, rows: int, columns: int) -> jax.Array:
        return parameter(self, name, self.kernel_init, (rows, columns), self.param_dtype)


class LuongAttention(Attention):
    """Multiplicative attention (Luong, Pham & Manning 2015, arXiv 1508.04025):

        e_s = q . m_s         "dot"
        e_s = q . (m_s W)     "general", with ``memory_kernel [M, width]``

    Attributes:
        score: ``"dot"`` or ``"general"``.

    Raises:
        ValueError: the score is unknown; or, in a call, it is "dot" and the memory is not as wide as the query.

    >>> attention, memory = LuongAttention(), jnp.array([[[1.0, 0.0], [0.0, 2.0]]])
    >>> attention.apply({}, memory, 2)(jnp.array([[3.0, 4.0]])).tolist()
    [[3.0, 8.0]]
    """

    score: Literal["dot", "general"] = "dot"

    @nn.compact
    def __call__(self, memory: jax.Array, width: int) -> Scores:
        check_memory(memory, None)
        check_integer("width", width)
        if self.score == "general":
            kernel = self._kernel("memory_kernel", memory.shape[-1], width)
            memory, kernel = promote_dtype(memory, kernel, dtype=self.dtype)
            memory = memory @ kernel
        elif memory.shape[-1] != width:
            raise ValueError(
                f'memory: got {memory.shape[-1]} features for queries of {width}, expected as many for score="dot"; '
                'use score="general", which has a kernel between them'
            )
        return lambda query: jnp.einsum("...h,...sh->...s", query, memory)


class BahdanauAttention(Attention):
    """Additive attention (Bahdanau, Cho & Bengio 2015, arXiv 1409.0473):

        e_s = tanh(q W + m_s U) . v

    The parameters are W, ``query_kernel [width, features]``, U, ``memory_kernel [M, features]``, and v,
    ``score_kernel [features, 1]``. ``m U`` is computed once.

    Attributes:
        features: the width of ``q W`` and ``m U``.

    Raises:
        ValueError: features is below 1.
        TypeError: features is not an integer.

    >>> attention, memory = BahdanauAttention(features=8), jnp.ones((2, 5, 3))
    >>> variables = attention.init(jax.random.key(0), memory, 4)
    >>> attention.apply(variables, memory, 4)(jnp.ones((2, 4))).shape
    (2, 5)
    """

    features: int

    attends: ClassVar[Literal["after", "before"]] = "before"

    @nn.compact
    def __call__(self, memory: jax.Array, width: int) -> Scores:
        check_memory(memory, None)
        check_integer("width", width)
        query_kernel = self._kernel("query_kernel", width, self.features)
        memory_kernel = self._kernel("memory_kernel", memory.shape[-1], self.features)
        score_kernel = self._kernel("score_kernel", self.features, 1)
        memory, query_kernel, memory_kernel, score_kernel = promote_dtype(
            memory, query_kernel, memory_kernel, score_kernel, dtype=self.dtype
        )
        keys = memory @ memory_kernel

        def scores(query: jax.Array) -> jax.Array:
            asked = (query @ query_kernel)[..., None, :]
            asked = broadcast_weights(asked, jnp.broadcast_shapes(asked.shape, keys.shape))
            return (jnp.tanh(asked + keys) @ score_kernel)[..., 0]

        return scores
