"""Generates frames of several symbols each, such as the voices of a choir, symbol by symbol."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax

from dlcore.layers.decoding.generate import Sampler, check_tokens, greedy
from dlcore.layers.recurrent.carry import Carry
from dlcore.ops.arrays import at_least_float32, check_integers, check_key
from dlcore.utils.checks import check_callable, check_integer

ReadFrame: TypeAlias = Callable[[Carry, jax.Array, jax.Array], tuple[Carry, Any]]
"""A function ``carry, frame before [B, V], time -> carry, context``."""
PredictVoice: TypeAlias = Callable[[Any, jax.Array, int], jax.Array]
"""A function ``context, frame [B, V], v -> logits [B, C]`` that looks only at the first v symbols of the frame."""


def generate_frames(
    read: ReadFrame,
    predict: PredictVoice,
    carry: Carry,
    given: jax.Array,
    steps: int,
    rng: jax.Array | None = None,
    *,
    sampler: Sampler = greedy,
) -> jax.Array:
    """Generates frames ``x [B, steps, V]`` by the chain rule over the V symbols of a frame:

        carry_t, context_t = read(carry_{t-1}, x_{t-1}, t),    x_{t,v} ~ predict(context_t, x_{t,1..v-1}, v)

    Before the first frame there is one of zeros, and zeros stand for the symbols of a frame that are not known yet.

    Args:
        read: the model's step from frame to frame; its carry keeps structure, shapes and dtypes.
        predict: the logits of one symbol, for v = 0, ..., V - 1.
        carry: the state before the first step.
        given: integers ``[B, T, V]``, the first frames, which are not drawn; T may be 0.
        steps: number of frames of the result, at least T.
        rng: a key, needed if the sampler draws. The same key gives the same frames.
        sampler: as in `generate`.

    Returns:
        int32 ``[B, steps, V]``. The first T frames are the given ones.

    Raises:
        ValueError: the given frames are not ``[B, T, V]``, or steps is below 1 or T.
        TypeError: the given frames are not integers, ``steps`` is not one, or a function or the rng is something else.

    >>> logits = lambda context, frame, v: 9.0 * jax.nn.one_hot(context + (frame[:, 0] if v else 1), 10)
    >>> read = lambda carry, frame, time: (carry, frame[:, -1])
    >>> generate_frames(read, logits, (), jnp.zeros((1, 0, 2), int), 3).tolist()
    [[[1, 1], [2, 3], [4, 7]]]
    """
    check_callable("read", read, "lambda carry, frame, time: (carry, context)")
    check_callable("predict", predict, "lambda context, frame, v: logits")
    check_callable("sampler", sampler, "dl.greedy")
    if rng is not None:
        check_key("rng", rng)
    given = check_integers("given", given)
    if given.ndim != 3 or 0 in (given.shape[0], given.shape[2]):
        raise ValueError(f"given: got shape {given.shape}, expected [B, T, V], in which T may be 0")
    rows, known, voices = given.shape
    check_integer("steps", steps, max(known, 1))
    given = jnp.pad(given.astype(jnp.int32), ((0, 0), (0, steps - known), (0, 0)))

    def body(state: tuple[Carry, jax.Array], t: jax.Array) -> tuple[Any, jax.Array]:
        carry, context = read(*state, t)
        frame = jnp.zeros((rows, voices), jnp.int32)
        for v in range(voices):
            key = None if rng is None else jax.random.fold_in(rng, t * voices + v)
            drawn = sampler(key, at_least_float32(predict(context, frame, v)))
            drawn = check_tokens("sampler", drawn, (rows,))
            frame = frame.at[:, v].set(jnp.where(t < known, given[:, t, v], drawn))
        return (carry, frame), frame

    start = carry, jnp.zeros((rows, voices), jnp.int32)
    return jnp.moveaxis(lax.scan(body, start, jnp.arange(steps))[1], 0, 1)
