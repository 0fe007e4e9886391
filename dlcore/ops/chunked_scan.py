"""Runs a long sequence in windows.

A window is either a chunk, whose states are computed again for the gradient to save memory, or a truncated window, at
whose first step the gradient stops (truncated backpropagation through time).
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax

from dlcore.ops.arrays import where_rows

Tree: TypeAlias = Any
Window: TypeAlias = Callable[[Tree, Tree, int | jax.Array], tuple[Tree, Tree]]
"""A function ``carry, inputs [B, steps, ...], index of the first step -> carry, outputs [B, steps, ...]``."""


class Loop(NamedTuple):
    """How a sequence of T steps is run.

    Attributes:
        reverse: True runs from the last step to the first; a shorter row begins at its own last step.
        unroll: number of steps in one iteration of the compiled loop. With two steps in one iteration the state is
            copied half as often.
        time_chunk: number of steps in one chunk. For the gradient only the state at the start of each chunk is kept,
            and the states within a chunk are computed again, so that memory grows with
            ``T / time_chunk + time_chunk`` states. None keeps every state.
        truncate: number of steps in one truncated window; no gradient passes from one window to an earlier one
            (truncated BPTT). None means that the gradient passes through all steps.
    """

    reverse: bool = False
    unroll: int = 2
    time_chunk: int | None = None
    truncate: int | None = None


def chunked_scan(
    window: Window, carry: Tree, inputs: Tree, loop: Loop, lengths: jax.Array | None = None
) -> tuple[Tree, Tree]:
    """Runs ``window`` over a whole sequence: in one call, or in truncated windows, chunks, or both.

    Args:
        window: a function that runs any number of consecutive steps, see `Window`.
        carry: the state before the first step, a tree of arrays ``[B, ...]``.
        inputs: a tree of arrays ``[B, T, ...]``.
        loop: the direction and the sizes of the windows. ``unroll`` has no effect here: ``window`` must apply it.
        lengths: ``[B]`` integers, the number of valid steps of each row; None if all steps are valid. ``window`` must
            keep the carry of a row in its padding. Here they say where a row is truncated: only between two of its
            own windows, so that padding changes no gradient.

    Returns:
        The pair of the final carry and the outputs, a tree of arrays ``[B, T, ...]``.
    """
    if loop.time_chunk is not None:
        window = functools.partial(_scan_pieces, window, loop.time_chunk, loop.reverse, True)
    if loop.truncate is None:
        return window(carry, inputs, 0)

    rows, steps = jax.tree.leaves(inputs)[0].shape[:2]
    ends = jnp.full(rows, steps) if lengths is None else lengths

    def truncated(carry: Tree, inputs: Tree, start: int | jax.Array) -> tuple[Tree, Tree]:
        # The gradient of a row's first window reaches its initial carry, as without truncation.
        next_window = start + jax.tree.leaves(inputs)[0].shape[1]
        cut = next_window < ends if loop.reverse else (start > 0) & (start < ends)
        carry = jax.tree.map(lambda array: where_rows(cut, lax.stop_gradient(array), array), carry)
        return window(carry, inputs, start)

    return _scan_pieces(truncated, loop.truncate, loop.reverse, False, carry, inputs, 0)


def _scan_pieces(
    window: Window, size: int, reverse: bool, remat: bool, carry: Tree, inputs: Tree, start: int | jax.Array
) -> tuple[Tree, Tree]:
    """Scans over pieces of ``size`` steps. Steps that fill no whole piece form a shorter one at the end of time."""
    steps = jax.tree.leaves(inputs)[0].shape[1]
    count, rest = divmod(steps, size)
    if not count:
        return window(carry, inputs, start)
    full = jax.tree.map(lambda array: array[:, : steps - rest], inputs)

    def body(carry: Tree, indexed_piece: tuple[jax.Array, Tree]) -> tuple[Tree, Tree]:
        index, piece = indexed_piece
        piece = jax.tree.map(functools.partial(_piece, index), full, piece)
        return window(carry, piece, start + index * size)

    def run_full(carry: Tree) -> tuple[Tree, Tree]:
        pieces = jax.tree.map(
            lambda array: jnp.moveaxis(array.reshape(len(array), count, size, *array.shape[2:]), 1, 0), full
        )
        run = jax.checkpoint(body, prevent_cse=False) if remat else body
        carry, outputs = lax.scan(run, carry, (jnp.arange(count), pieces), reverse=reverse)
        return carry, jax.tree.map(_join_pieces, outputs)

    def run_rest(carry: Tree) -> tuple[Tree, Tree]:
        piece = jax.tree.map(lambda array: array[:, steps - rest :], inputs)
        run = jax.checkpoint(window, prevent_cse=False) if remat else window
        return run(carry, piece, start + count * size)

    if not rest:
        return run_full(carry)
    if reverse:
        carry, end = run_rest(carry)
        carry, outputs = run_full(carry)
    else:
        carry, outputs = run_full(carry)
        carry, end = run_rest(carry)
    return carry, jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), outputs, end)


def _join_pieces(pieces: jax.Array) -> jax.Array:
    """``[pieces, B, size, ...] -> [B, T, ...]``."""
    count, rows, size, *features = pieces.shape
    return jnp.moveaxis(pieces, 0, 1).reshape(rows, count * size, *features)


@jax.custom_jvp
def _piece(index: jax.Array, whole: jax.Array, piece: jax.Array) -> jax.Array:
    """The piece at ``index`` of the whole ``[B, T, ...]``; it equals ``piece [B, size, ...]``.

    The values come from the whole, so that no copy of it in pieces must be made and kept. The first derivative goes to
    the piece, so that no step of the scan adds it to an array of the whole's size. JAX drops this rule where it takes
    the derivative of a derivative; the derivative of the slice, which goes to the whole, is then the same number.
    """
    return lax.dynamic_slice_in_dim(whole, index * piece.shape[1], piece.shape[1], axis=1)


@_piece.defjvp
def _piece_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
    return _piece(*primals), tangents[2]
