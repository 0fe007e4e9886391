"""Beam search: looks for the most likely sequences of a model that is given as a step; see `generate`."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from dlcore.layers.decoding.generate import (
    TokenStep,
    check_batch,
    check_end,
    check_step,
    check_tokens,
)
from dlcore.layers.recurrent.carry import Carry
from dlcore.ops.arrays import at_least_float32
from dlcore.utils.checks import check_integer, check_number


class Beams(NamedTuple):
    """The result of `beam_search`, with the best sequence of each row first.

    Attributes:
        tokens: int32 ``[B, beams, steps]``; after a sequence's end token all tokens are ``end``.
        scores: ``[B, beams]``, as `beam_search` defines them.
        lengths: int32 ``[B, beams]``, the number of tokens of each sequence, with its end token.
    """

    tokens: jax.Array
    scores: jax.Array
    lengths: jax.Array


class _SearchState(NamedTuple):
    """The beams after some steps.

    Attributes:
        carry: arrays ``[B * beams, ...]``.
        last: the last token of each beam, ``[B, beams]``.
        total: log p of the tokens so far, ``[B, beams]``; -inf if there is no such beam.
        lengths: ``[B, beams]``.
        unfinished: ``[B, beams]``.
    """

    carry: Carry
    last: jax.Array
    total: jax.Array
    lengths: jax.Array
    unfinished: jax.Array


def beam_search(
    step: TokenStep,
    carry: Carry,
    first: jax.Array,
    steps: int,
    *,
    beams: int,
    end: int,
    length_penalty: float = 0.0,
) -> Beams:
    """Looks for the sequences of highest score. Each step keeps only the best ``beams`` of all continuations of a row:

        score = log p(tokens) / ((5 + length) / 6)^length_penalty                 (Wu et al. 2016, arXiv 1609.08144)

    A finished sequence keeps its score, and stays among the beams until better ones replace it. One beam without
    penalty gives what `generate` gives with `greedy`. With as many beams as there are sequences the best of all is
    found.

    Args:
        step: the model, ``step(carry, tokens) -> carry, logits [..., V]``. It gets ``B * beams`` tokens, with the beams
            of one row side by side. If it uses another array with one entry for each row, such as an encoder's
            memory, give it ``jnp.repeat(memory, beams, axis=0)``.
        carry: the state before the first step, with a first dimension B in every array.
        first: ``[B]`` integers, the tokens to begin from.
        steps: the largest number of tokens.
        beams: number of sequences for each row.
        end: the token that finishes a sequence; only ``end`` follows it.
        length_penalty: 0 or more. 0 prefers short sequences; larger values favor long ones.

    Returns:
        `Beams` with the tokens, scores and lengths of each row, best first. If there are fewer sequences than beams,
        the last ones have score -inf, length 0 and only ``end`` as tokens.

    Raises:
        ValueError: shapes or the carry's structure do not fit, or a number is out of its bounds.
        TypeError: tokens are not an array of integers, a number is not an integer, logits are not floating point, or
            the step is not a function.

    >>> follows = jnp.log(jnp.array([[0.0, 0.6, 0.4, 0.0], [0.3, 0.3, 0.3, 0.1], [0, 0, 0, 1], [0, 0, 0, 1]]))
    >>> found = beam_search(lambda carry, tokens: (carry, follows[tokens]), (), jnp.array([0]), 3, beams=2, end=3)
    >>> found.tokens[0, 0].tolist(), found.lengths[0, 0].item(), round(jnp.exp(found.scores[0, 0]).item(), 3)
    ([2, 3, 3], 2, 0.4)
    """
    check_integer("steps", steps)
    check_integer("beams", beams)
    check_number("length_penalty", length_penalty, "[0, inf)")
    first = check_tokens("first", first)
    check_batch(carry, len(first))
    last = jnp.repeat(first[:, None], beams, axis=1)
    tiled = jax.tree.map(lambda array: jnp.repeat(array, beams, axis=0), carry)
    tiled, logits = check_step(step, tiled, last.reshape(-1))
    check_end(end, logits.shape[1])
    # The search begins with one beam; the others have probability 0.
    total = jnp.where(jnp.arange(beams) == 0, jnp.zeros_like(last, logits.dtype), -jnp.inf)
    search = _SearchState(tiled, last, total, jnp.zeros_like(last), jnp.ones_like(last, dtype=bool))
    advance = functools.partial(_advance, step, end, length_penalty)
    search, (tokens, parents) = lax.scan(advance, search, length=steps)
    exists = search.total > -jnp.inf
    scores = search.total / _penalty(search.lengths, length_penalty)
    tokens = jnp.moveaxis(_trace_back(tokens, parents), 0, -1)
    return Beams(jnp.where(exists[..., None], tokens, end), scores, jnp.where(exists, search.lengths, 0))


def _advance(
    step: TokenStep, end: int, length_penalty: float, search: _SearchState, _: Any
) -> tuple[_SearchState, tuple[jax.Array, jax.Array]]:
    """The beams after one more token, and each one's token and parent ``[B, beams]``, for `_trace_back`."""
    rows, beams = search.last.shape
    carry, logits = step(search.carry, search.last.reshape(-1))
    log_probabilities = jax.nn.log_softmax(at_least_float32(logits)).reshape(rows, beams, -1)
    # A finished sequence has one continuation, with itself.
    stay = jnp.where(jnp.arange(logits.shape[-1]) == end, 0.0, -jnp.inf)
    log_probabilities = jnp.where(search.unfinished[..., None], log_probabilities, stay)
    # The best tokens of each beam are chosen by their own log-probabilities. In sums over long sequences rounding would
    # lose their order.
    best, tokens = lax.top_k(log_probabilities, min(beams, logits.shape[-1]))
    total = search.total[..., None] + best
    lengths = search.lengths + search.unfinished
    _, places = lax.top_k((total / _penalty(lengths, length_penalty)[..., None]).reshape(rows, -1), beams)
    parents, tokens = places // best.shape[-1], _pick(tokens.reshape(rows, -1), places)
    after = _SearchState(
        jax.tree.map(lambda array: _of_parents(array, parents), carry),
        tokens,
        _pick(total.reshape(rows, -1), places),
        _pick(lengths, parents),
        _pick(search.unfinished, parents) & (tokens != end),
    )
    return after, (tokens, parents)


def _penalty(lengths: jax.Array, exponent: float) -> jax.Array:
    return ((5 + lengths) / 6) ** exponent


def _pick(array: jax.Array, places: jax.Array) -> jax.Array:
    """The entries of each row at its places: ``[B, N, ...], [B, K] -> [B, K, ...]``."""
    return jax.vmap(lambda row, places: row[places])(array, places)


def _of_parents(array: jax.Array, parents: jax.Array) -> jax.Array:
    """The entries ``[B * beams, ...]`` of each beam's parent, for parents ``[B, beams]``."""
    return _pick(array.reshape(*parents.shape, *array.shape[1:]), parents).reshape(array.shape)


def _trace_back(tokens: jax.Array, parents: jax.Array) -> jax.Array:
    """The sequences that end in the last step's beams, from tokens and parents ``[steps, B, beams]``."""

    def back(beam: jax.Array, tokens_parents: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        tokens, parents = tokens_parents
        return _pick(parents, beam), _pick(tokens, beam)

    last = jnp.zeros_like(parents[-1]) + jnp.arange(parents.shape[-1], dtype=parents.dtype)
    return lax.scan(back, last, (tokens, parents), reverse=True)[1]
