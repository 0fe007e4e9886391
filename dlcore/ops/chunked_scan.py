"""A long sequence window by window: chunks computed again for the gradient, and gradients that end (truncated BPTT)."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax

Tree: TypeAlias = Any
Window: TypeAlias = Callable[[Tree, Tree, int | jax.Array], tuple[Tree, Tree]]
"""``carry, inputs [B, steps, ...], number of the first step -> carry, outputs [B, steps, ...]``."""


class Loop(NamedTuple):
    """How a sequence is walked through.

    Attributes:
        reverse: from the last step to the first; a shorter row begins at its own last step.
        unroll: steps in one iteration of the compiled loop; of two, the state is copied half as often.
        time_chunk: steps after which the state is kept; what lies between is computed again for the gradient, so
            that memory grows with ``T / time_chunk + time_chunk`` states. None keeps every step.
        truncate: steps after which the gradient's way back ends (truncated BPTT). None never ends it.
    """

    reverse: bool = False
    unroll: int = 2
    time_chunk: int | None = None
    truncate: int | None = None


def chunked_scan(window: Window, carry: Tree, inputs: Tree, loop: Loop) -> tuple[Tree, Tree]:
    """``window`` over inputs ``[B, T, ...]``: all at once, or in truncated windows of rematerialized chunks."""
    if loop.time_chunk is not None:
        window = functools.partial(_in_pieces, window, loop.time_chunk, loop.reverse, True)
    if loop.truncate is None:
        return window(carry, inputs, 0)

    def truncated(counted: tuple[Tree, jax.Array], inputs: Tree, start: Any) -> tuple[Any, Tree]:
        carry, count = counted
        # The first window's way back ends in the initial carry, as without truncation.
        carry = jax.tree.map(lambda array: jnp.where(count > 0, lax.stop_gradient(array), array), carry)
        carry, outputs = window(carry, inputs, start)
        return (carry, count + 1), outputs

    counted = (carry, jnp.int32(0))
    (carry, _), outputs = _in_pieces(truncated, loop.truncate, loop.reverse, False, counted, inputs, 0)
    return carry, outputs


def _in_pieces(
    window: Window, size: int, reverse: bool, remat: bool, carry: Tree, inputs: Tree, start: int | jax.Array
) -> tuple[Tree, Tree]:
    """Scans over pieces of ``size`` steps; what is left over is a shorter one at the end of time."""
    total = jax.tree.leaves(inputs)[0].shape[1]
    count, rest = divmod(total, size)
    if not count:
        return window(carry, inputs, start)
    within = jax.tree.map(lambda array: array[:, : total - rest], inputs)

    def one(carry: Tree, now: tuple[jax.Array, Tree]) -> tuple[Tree, Tree]:
        number, piece = now
        piece = jax.tree.map(functools.partial(_piece, number), lax.stop_gradient(within), piece)
        return window(carry, piece, start + number * size)

    def whole(carry: Tree) -> tuple[Tree, Tree]:
        pieces = jax.tree.map(
            lambda array: jnp.moveaxis(array.reshape(len(array), count, size, *array.shape[2:]), 1, 0), within
        )
        body = jax.checkpoint(one, prevent_cse=False) if remat else one
        carry, outputs = lax.scan(body, carry, (jnp.arange(count), pieces), reverse=reverse)
        return carry, jax.tree.map(_joined, outputs)

    def tail(carry: Tree) -> tuple[Tree, Tree]:
        over = jax.tree.map(lambda array: array[:, total - rest :], inputs)
        run = jax.checkpoint(window, prevent_cse=False) if remat else window
        return run(carry, over, start + count * size)

    if not rest:
        return whole(carry)
    if reverse:
        carry, end = tail(carry)
        carry, outputs = whole(carry)
    else:
        carry, outputs = whole(carry)
        carry, end = tail(carry)
    return carry, jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), outputs, end)


def _joined(pieces: jax.Array) -> jax.Array:
    """``[pieces, B, size, ...] -> [B, T, ...]``."""
    count, rows, size, *features = pieces.shape
    return jnp.moveaxis(pieces, 0, 1).reshape(rows, count * size, *features)


@jax.custom_jvp
def _piece(number: jax.Array, whole: jax.Array, piece: jax.Array) -> jax.Array:
    """Piece ``number`` of the whole ``[B, T, ...]``, which equals ``piece [B, size, ...]``.

    Values come from the whole, so that no copy of it in pieces is needed, and kept; derivatives go to the piece, so
    that they are not summed into an array of the whole's size in every step of the scan.
    """
    return lax.dynamic_slice_in_dim(whole, number * piece.shape[1], piece.shape[1], axis=1)


@_piece.defjvp
def _piece_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
    return _piece(*primals), tangents[2]
