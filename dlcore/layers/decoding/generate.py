"""Autoregressive decoding: generates whole sequences from the step of a model.

A model is given as a pure function of one step, a `TokenStep`:

    step(carry, tokens [B]) -> carry, logits [B, V]

A Flax model becomes one by ``lambda carry, tokens: model.apply(variables, carry, tokens, method="step")``. The loops
are ``lax.scan``, so everything here works under ``jax.jit`` and ``jax.vmap``.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax

from dlcore.layers.recurrent.carry import Carry, describe_carry
from dlcore.ops.arrays import at_least_float32, check_floats, check_integers, check_key
from dlcore.ops.recurrence import keep_valid
from dlcore.utils.checks import check_callable, check_integer, check_number, shown

TokenStep: TypeAlias = Callable[[Carry, jax.Array], tuple[Carry, jax.Array]]
"""A function ``carry, tokens [B] -> carry, logits [B, V]``."""
Sampler: TypeAlias = Callable[[Any, jax.Array], jax.Array]
"""A function ``rng, logits [B, V] -> tokens [B]``."""


def greedy(rng: jax.Array | None, logits: jax.Array) -> jax.Array:
    """A sampler: the most likely token of each row, ``[B, V] -> [B]``, the first one on a tie; ``rng`` is unused."""
    return jnp.argmax(_check_logits(logits), axis=-1)


def sample(temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None) -> Sampler:
    """Makes a sampler ``sampler(rng, logits [B, V]) -> tokens [B]`` that draws from ``softmax(logits / temperature)``.

    Args:
        temperature: above 0; values below 1 sharpen the distribution, values above 1 flatten it.
        top_k: draws among the k most likely tokens only.
        top_p: draws from the nucleus only (Holtzman et al. 2020, arXiv 1904.09751), the smallest set of most likely
            tokens whose probabilities sum to at least p; 1 means all tokens. With ``top_k`` the probabilities are
            those among the k.

    Raises:
        ValueError: an argument is out of its bounds; or, when the sampler is called, ``top_k`` exceeds V or rng is
            None.
        TypeError: an argument is not a number, or ``top_k`` not an integer; or, when the sampler is called, rng is no
            key or the logits are not floating point.

    >>> logits = jnp.log(jnp.array([[0.5, 0.3, 0.15, 0.05]]))
    >>> draw = jax.jit(jax.vmap(sample(top_p=0.6), (0, None)))
    >>> draws = draw(jax.random.split(jax.random.key(0), 100), logits)
    >>> sorted(set(draws[:, 0].tolist()))
    [0, 1]
    """
    check_number("temperature", temperature, "(0, inf)")  # `greedy` is the limit at 0
    if top_k is not None:
        check_integer("top_k", top_k)
    if top_p is not None:
        check_number("top_p", top_p, "(0, 1]")

    def sampler(rng: jax.Array | None, logits: jax.Array) -> jax.Array:
        if rng is None:
            raise ValueError(
                "rng: got None, expected a key such as jax.random.key(0); only `greedy` needs none"
            )
        check_key("rng", rng)
        logits = _check_logits(logits)
        # The maximum is subtracted first, so that dividing by a small temperature cannot overflow to infinity.
        logits = (logits - logits.max(axis=-1, keepdims=True)) / temperature
        if top_k is None and top_p is None:
            return jax.random.categorical(rng, logits)
        order = jnp.argsort(logits, axis=-1, descending=True)
        ranked = _truncate(jnp.take_along_axis(logits, order, axis=-1), top_k, top_p)
        rank = jax.random.categorical(rng, ranked)
        return jnp.take_along_axis(order, rank[..., None], axis=-1)[..., 0]

    return sampler


def _check_logits(logits: jax.Array) -> jax.Array:
    logits = check_floats("logits", logits, 1, "[B, V]")
    if not logits.shape[-1]:
        raise ValueError(f"logits: got shape {logits.shape}, expected [B, V] with at least one token")
    return logits


def _truncate(ranked: jax.Array, top_k: int | None, top_p: float | None) -> jax.Array:
    """Logits in descending order, with -inf after the k best and after the nucleus of these."""
    vocabulary = ranked.shape[-1]
    if top_k is not None:
        if top_k > vocabulary:
            raise ValueError(f"top_k: got {top_k}, expected 1 to {vocabulary}, the number of tokens")
        ranked = jnp.where(jnp.arange(vocabulary) < top_k, ranked, -jnp.inf)
    if top_p is not None and top_p < 1:
        cumulative = jnp.cumsum(jax.nn.softmax(ranked), axis=-1)
        before = jnp.concatenate([jnp.zeros_like(cumulative[..., :1]), cumulative[..., :-1]], axis=-1)
        ranked = jnp.where(before < top_p, ranked, -jnp.inf)
    return ranked


class Generated(NamedTuple):
    """The result of `generate`.

    Attributes:
        tokens: int32 ``[B, steps]``.
        log_probabilities: ``[B, steps]``, the logarithm of each token's probability in ``softmax(logits)``.
        lengths: int32 ``[B]``, the number of generated tokens of each row, with its end token.
        carry: the state after the model has read ``first`` and all generated tokens of a row except its last one.
    """

    tokens: jax.Array
    log_probabilities: jax.Array
    lengths: jax.Array
    carry: Carry


def generate(
    step: TokenStep,
    carry: Carry,
    first: jax.Array,
    steps: int,
    rng: jax.Array | None = None,
    *,
    sampler: Sampler = greedy,
    end: int | None = None,
) -> Generated:
    """Generates sequences token by token; the model reads each token before it gives the logits of the next one:

        carry_n, logits_n = step(carry_{n-1}, token_{n-1}),    token_n = sampler(fold_in(rng, n), logits_n)

    for n = 0, ..., steps - 1, where ``carry_{-1} = carry`` and ``token_{-1} = first``.

    Args:
        step: the model, ``step(carry, tokens [B]) -> carry, logits [B, V]``. Its carry keeps structure and shapes.
        carry: the state before the first step.
        first: ``[B]`` integers, the tokens to begin from; they are not returned.
        steps: number of tokens to generate.
        rng: a key, needed if the sampler draws. The same key gives the same tokens.
        sampler: `greedy`, a sampler that `sample` makes, or any ``sampler(rng, logits [B, V]) -> tokens [B]``.
        end: the token that finishes a row. After it the row's tokens are ``end`` with log-probabilities 0, and its
            carry does not change; every array of the carry must have a first dimension B. None means that no row ends.

    Returns:
        `Generated`: tokens, log-probabilities, lengths and the last carry.

    Raises:
        ValueError: shapes or the carry's structure do not fit, or a number is out of its bounds.
        TypeError: tokens are not an array of integers, a number is not an integer, logits are not floating point, or
            the step, the sampler or the rng is something else.

    >>> follows = 9 * jnp.eye(4)[jnp.array([1, 2, 3, 0])]  # after 0 comes 1, after 1 comes 2, ...
    >>> generated = generate(lambda carry, tokens: (carry, follows[tokens]), (), jnp.array([0, 2]), 4, end=3)
    >>> generated.tokens.tolist(), generated.lengths.tolist()
    ([[1, 2, 3, 3], [3, 3, 3, 3]], [3, 1])
    """
    check_integer("steps", steps)
    check_callable("sampler", sampler, "dl.greedy")
    if rng is not None:
        check_key("rng", rng)
    first = check_tokens("first", first)
    carry, logits = check_step(step, carry, first)
    if end is not None:
        check_end(end, logits.shape[1])
        check_batch(carry, len(first))

    def body(state: tuple[Carry, jax.Array, jax.Array], n: jax.Array) -> tuple[Any, Any]:
        before, last, unfinished = state
        carry, logits = step(before, last)
        logits = at_least_float32(logits)
        key = None if rng is None else jax.random.fold_in(rng, n)
        tokens = check_tokens("sampler", sampler(key, logits), last.shape)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), tokens[:, None], axis=-1)[:, 0]
        if end is None:
            return (carry, tokens, unfinished), (tokens, chosen, unfinished)
        carry, chosen = keep_valid(unfinished, before, carry, chosen)
        tokens = jnp.where(unfinished, tokens, end)
        return (carry, tokens, unfinished & (tokens != end)), (tokens, chosen, unfinished)

    state = carry, first, jnp.ones_like(first, dtype=bool)
    (carry, _, _), (tokens, chosen, unfinished) = lax.scan(body, state, jnp.arange(steps))
    return Generated(tokens.T, chosen.T, unfinished.sum(axis=0, dtype=jnp.int32), carry)


def check_tokens(name: str, tokens: Any, shape: tuple[int, ...] | None = None) -> jax.Array:
    """The tokens as an int32 array ``[B]``.

    Args:
        name: what error messages call the tokens.
        tokens: the tokens to check.
        shape: the shape that they must have; None allows any ``[B]``.

    Raises:
        TypeError: the tokens are not an array of integers (a list is not one).
        ValueError: they do not have rank 1, or not the given shape.
    """
    tokens = check_integers(name, tokens)
    if tokens.ndim != 1 or (shape is not None and tokens.shape != shape):
        raise ValueError(
            f"{name}: got tokens of shape {tokens.shape}, expected {shape or '[B]'}, one for each row"
        )
    return tokens


def check_step(step: TokenStep, carry: Carry, tokens: jax.Array) -> tuple[Carry, jax.ShapeDtypeStruct]:
    """The pair of the carry, cast to the dtypes that a step returns, and the shape of the logits in float32 at least.

    Args:
        step: the model; it is only traced, not run.
        carry: the state before the first step.
        tokens: ``[B]`` integers.

    Raises:
        ValueError: the step changes the structure or a shape of the carry, or the logits are not ``[B, V]``.
        TypeError: the step is no function, the carry no tree of arrays, or the result not a pair whose second part is
            an array of floating point numbers.
    """
    check_callable("step", step, "lambda carry, tokens: model.apply(variables, carry, tokens, method='step')")
    for leaf in jax.tree.leaves(carry):
        if not hasattr(leaf, "dtype"):
            raise TypeError(f"carry: got {shown(leaf)} in it, expected a tree of arrays")
    returned = jax.eval_shape(step, carry, tokens)
    if not isinstance(returned, tuple | list) or len(returned) != 2:
        raise TypeError(f"step: got {shown(returned)} returned, expected a pair, carry and logits")
    after, logits = returned
    if describe_carry(after) != describe_carry(carry):
        raise ValueError(
            f"step: got a carry {describe_carry(carry)} and returned {describe_carry(after)}, expected the same "
            "structure and shapes"
        )
    if not (hasattr(logits, "dtype") and jnp.issubdtype(logits.dtype, jnp.floating)):
        raise TypeError(
            f"step: got logits {shown(logits)}, expected an array of floating point numbers [B, V]"
        )
    if logits.ndim != 2 or len(logits) != len(tokens):
        raise ValueError(
            f"step: got logits of shape {logits.shape}, expected [{len(tokens)}, V], one row a token"
        )
    carry = jax.tree.map(lambda array, like: jnp.asarray(array, like.dtype), carry, after)
    return carry, jax.eval_shape(at_least_float32, logits)


def check_batch(carry: Carry, rows: int) -> None:
    """Checks the first dimension of a carry.

    Raises:
        ValueError: an array of the carry has another first dimension than ``rows``.
    """
    if any(jnp.shape(leaf)[:1] != (rows,) for leaf in jax.tree.leaves(carry)):
        raise ValueError(
            f"carry: got {describe_carry(carry)}, expected a first dimension of {rows} rows in every array; "
            "jax.tree.map(lambda array: array.swapaxes(0, 1), carry) moves the layers of a stack after it"
        )


def check_end(end: int, vocabulary: int) -> None:
    """Checks an end token.

    Raises:
        ValueError: ``end`` is not in 0..``vocabulary`` - 1.
        TypeError: ``end`` is not an integer.
    """
    if check_integer("end", end, minimum=0) >= vocabulary:
        raise ValueError(f"end: got {end}, expected 0 to {vocabulary - 1}, one of the {vocabulary} tokens")
