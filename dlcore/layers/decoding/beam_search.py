"""Beam search: the most likely sequences of a model's one step (`decode` says what a step is)."""

import functools
import math
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
    precise,
)
from dlcore.layers.recurrent.carry import Carry
from dlcore.utils.checks import check_integer


class Beams(NamedTuple):
    """What `beam_search` returns, in each row the best sequence first.

    Attributes:
        tokens: ``[B, beams, steps]``. scores: ``[B, beams]``. lengths: ``[B, beams]``, of each sequence with its end.
    """

    tokens: jax.Array
    scores: jax.Array
    lengths: jax.Array


class _Search(NamedTuple):
    """The beams after some steps: ``carry [B * beams, ...]``, all else ``[B, beams]``."""

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
    """The sequences of highest score that are found if each step goes on with the best ``beams`` only:

        score = log p(tokens) / ((5 + length) / 6)^length_penalty                 (Wu et al. 2016, arXiv 1609.08144)

    A finished sequence stays among the beams with its score until better ones push it out. One beam without penalty
    is `generate` by `greedy`; as many beams as there are sequences find the best of all.

    Args:
        step: the model; here it gets ``B * beams`` rows, those of one sequence side by side. What it closes over by
            row, such as an encoder's memory, is ``jnp.repeat(memory, beams, axis=0)``.
        carry: before the first step, with a first dimension B in every array; it goes with its beam.
        first: ``[B]`` integers, the tokens to begin from.
        steps: how many tokens at most.
        beams: how many sequences a row.
        end: the token that finishes a sequence; behind it are only ``end``.
        length_penalty: at least 0, which prefers short sequences; larger values favor long ones.

    Returns:
        Tokens, scores and lengths, best first. Where there are fewer sequences than beams, the last ones have score
        -inf and length 0.

    Raises:
        ValueError, TypeError: as `generate`.

    >>> follows = jnp.log(jnp.array([[0.0, 0.6, 0.4, 0.0], [0.3, 0.3, 0.3, 0.1], [0, 0, 0, 1], [0, 0, 0, 1]]))
    >>> found = beam_search(lambda carry, tokens: (carry, follows[tokens]), (), jnp.array([0]), 3, beams=2, end=3)
    >>> found.tokens[0, 0].tolist(), found.lengths[0, 0].item(), round(jnp.exp(found.scores[0, 0]).item(), 3)
    ([2, 3, 3], 2, 0.4)
    """
    check_integer("steps", steps)
    check_integer("beams", beams)
    if not (length_penalty >= 0 and math.isfinite(length_penalty)):
        raise ValueError(f"length_penalty: got {length_penalty}, expected a finite number >= 0")
    first = check_tokens("first", first)
    check_batch(carry, len(first))
    last = jnp.repeat(first[:, None], beams, axis=1)
    tiled = jax.tree.map(lambda array: jnp.repeat(array, beams, axis=0), carry)
    tiled, logits = check_step(step, tiled, last.reshape(-1))
    check_end(end, logits.shape[1])
    # To begin with there is one beam; the others have no probability.
    total = jnp.where(jnp.arange(beams) == 0, jnp.zeros_like(last, logits.dtype), -jnp.inf)
    search = _Search(tiled, last, total, jnp.zeros_like(last), jnp.ones_like(last, dtype=bool))
    advance = functools.partial(_advance, step, end, length_penalty)
    search, (tokens, parents) = lax.scan(advance, search, length=steps)
    exists = search.total > -jnp.inf
    scores = search.total / _penalty(search.lengths, length_penalty)
    tokens = jnp.moveaxis(_trace_back(tokens, parents), 0, -1)
    return Beams(jnp.where(exists[..., None], tokens, end), scores, jnp.where(exists, search.lengths, 0))


def _advance(
    step: TokenStep, end: int, length_penalty: float, search: _Search, _: Any
) -> tuple[_Search, tuple[jax.Array, jax.Array]]:
    """One more token: the beams after it, and for the way back each one's token and parent, ``[B, beams]``."""
    rows, beams = search.last.shape
    carry, logits = step(search.carry, search.last.reshape(-1))
    log_probabilities = jax.nn.log_softmax(precise(logits)).reshape(rows, beams, -1)
    # A finished sequence has one continuation, itself.
    stay = jnp.where(jnp.arange(logits.shape[-1]) == end, 0.0, -jnp.inf)
    log_probabilities = jnp.where(search.unfinished[..., None], log_probabilities, stay)
    # The best of each beam come first, in their exact order, which sums of long sequences would round away.
    best, tokens = lax.top_k(log_probabilities, min(beams, logits.shape[-1]))
    total = search.total[..., None] + best
    lengths = search.lengths + search.unfinished
    _, places = lax.top_k((total / _penalty(lengths, length_penalty)[..., None]).reshape(rows, -1), beams)
    parents, tokens = places // best.shape[-1], _pick(tokens.reshape(rows, -1), places)
    after = _Search(
        jax.tree.map(lambda array: _follow(array, parents), carry),
        tokens,
        _pick(total.reshape(rows, -1), places),
        _pick(lengths, parents),
        _pick(search.unfinished, parents) & (tokens != end),
    )
    return after, (tokens, parents)


def _penalty(lengths: jax.Array, exponent: float) -> jax.Array:
    return ((5 + lengths) / 6) ** exponent


def _pick(array: jax.Array, places: jax.Array) -> jax.Array:
    """In each row the entries at its places: ``[B, N, ...], [B, K] -> [B, K, ...]``."""
    return jax.vmap(lambda row, places: row[places])(array, places)


def _follow(array: jax.Array, parents: jax.Array) -> jax.Array:
    """What each beam has from its parent: of ``[B * beams, ...]``, by ``[B, beams]``."""
    return _pick(array.reshape(*parents.shape, *array.shape[1:]), parents).reshape(array.shape)


def _trace_back(tokens: jax.Array, parents: jax.Array) -> jax.Array:
    """The sequences that end in the last step's beams, from ``[steps, B, beams]`` tokens and parents."""

    def back(beam: jax.Array, now: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        tokens, parents = now
        return _pick(parents, beam), _pick(tokens, beam)

    last = jnp.zeros_like(parents[-1]) + jnp.arange(parents.shape[-1], dtype=parents.dtype)
    return lax.scan(back, last, (tokens, parents), reverse=True)[1]
