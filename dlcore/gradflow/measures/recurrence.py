"""What is measured: any step that is applied T times with the same parameters, and the states it went through.

    s_t = step(theta, s_{t-1}, x_t),    t = 1 .. T                          (lecture: unrolled RNN)

The state is all that a step hands to the next one, (c, h) of an LSTM and every layer of a stack: the derivative of h
while c is held fixed is another number, and a much smaller one.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax

from dlcore.ops.arrays import where_rows
from dlcore.ops.lengths import check_lengths

Tree: TypeAlias = Any
Step: TypeAlias = Callable[[Tree, Tree, Tree], Tree]
"""``params, state [B, ...], inputs [B, ...] -> state [B, ...]``; row b of the result depends on row b alone."""


class Recurrence(NamedTuple):
    """A step and all it is applied to.

    Attributes:
        step: ``(params, state, inputs) -> state``, pure, each row of the batch for itself.
        params: theta, any pytree of floating point arrays.
        initial_state: s_0, any pytree of arrays ``[B, ...]``: the whole carry.
        inputs: x_1 .. x_T, any pytree of arrays ``[T, B, ...]``, time first; without features ``[T, B, 0]``.
        lengths: ``[B]`` integers, how many of the steps are a row's own; None: all.
    """

    step: Step
    params: Tree
    initial_state: Tree
    inputs: Tree
    lengths: jax.Array | None = None


def trajectory(recurrence: Recurrence) -> Tree:
    """All states ``[T + 1, B, ...]``: ``states[0]`` is the initial one, ``states[t]`` that after step t.

    A row of length L keeps its state after its step L, and nothing in its padding, NaN included, reaches a state.

    Raises:
        ValueError, TypeError: a shape does not fit, or the step returns something else than a state.

    >>> double = lambda params, state, inputs: params * state + inputs
    >>> trajectory(Recurrence(double, jnp.array(2.0), jnp.ones(1), jnp.zeros((3, 1)))).tolist()
    [[1.0], [2.0], [4.0], [8.0]]
    """
    initial = check_recurrence(recurrence)

    def body(state: Tree, now: tuple[jax.Array, Tree]) -> tuple[Tree, Tree]:
        number, inputs = now
        state = masked_step(recurrence, recurrence.params, state, inputs, valid_rows(recurrence, number))
        return state, state

    _, after = lax.scan(body, initial, (jnp.arange(step_count(recurrence)), recurrence.inputs))
    return jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), initial, after)


def state_cotangents(loss: Callable[[Tree], jax.Array], states: Tree) -> Tree:
    """How the loss depends on each state where all others stay as they are, ``d_t = dL / ds_t`` directly.

    This is what a gradient with respect to stacked states or outputs is, and not the signal that comes back through
    time: of a loss on the last state it is 0 in all others.

    Args:
        loss: of all states ``[T + 1, B, ...]``, a scalar. states: where, from `trajectory`.

    Returns:
        ``d_0 .. d_T``, shaped as the states.

    >>> direct(lambda states: states[-1].sum(), jnp.ones((3, 1))).tolist()
    [[0.0], [0.0], [1.0]]
    """
    return jax.grad(loss)(states)


def step_count(recurrence: Recurrence) -> int:
    """T."""
    return int(jax.tree.leaves(recurrence.inputs)[0].shape[0])


def valid_rows(recurrence: Recurrence, number: int | jax.Array) -> jax.Array | None:
    """The rows ``[B]`` for which step ``number``, counted from 0, is not behind their end; None: all."""
    return None if recurrence.lengths is None else number < recurrence.lengths


def masked_step(
    recurrence: Recurrence, params: Tree, state: Tree, inputs: Tree, own: jax.Array | None
) -> Tree:
    """The step in rows whose own it is; the others keep their state."""
    if own is None:
        return recurrence.step(params, state, inputs)
    inputs = jax.tree.map(lambda leaf: where_rows(own, leaf, jnp.zeros_like(leaf)), inputs)
    after = recurrence.step(params, state, inputs)
    return jax.tree.map(lambda new, old: where_rows(own, new, old), after, state)


def at_step(tree: Tree, number: int | jax.Array) -> Tree:
    """Entry ``number`` of arrays ``[T, ...]``, read where they lie: a scan over a part of them would copy that."""

    def entry(leaf: jax.Array) -> jax.Array:
        if not len(leaf):  # a scan over no steps traces its body, which never runs
            return jnp.zeros_like(leaf, shape=leaf.shape[1:])
        return lax.dynamic_index_in_dim(leaf, number, keepdims=False)

    return jax.tree.map(entry, tree)


def check_recurrence(recurrence: Recurrence) -> Tree:
    """The initial state in the dtype that the step computes in; raises where something does not fit."""
    for name in ("params", "initial_state", "inputs"):
        if not jax.tree.leaves(getattr(recurrence, name)):
            raise ValueError(f"{name}: got a tree without arrays, expected at least one")
    batch = jax.tree.leaves(recurrence.initial_state)[0].shape[:1]
    time = jax.tree.leaves(recurrence.inputs)[0].shape[:1]
    _check_leading("initial_state", recurrence.initial_state, "[B, ...]", batch)
    _check_leading("inputs", recurrence.inputs, "[T, B, ...]", time + batch)
    if recurrence.lengths is not None:
        check_lengths(recurrence.lengths, batch + time)
    return _as_stepped(recurrence)


def check_states(recurrence: Recurrence, states: Tree, direct: Tree) -> None:
    """ValueError unless both are shaped as what `trajectory` returns."""
    like = jax.tree.map(lambda leaf: (step_count(recurrence) + 1, *leaf.shape), check_recurrence(recurrence))
    for name, tree in (("states", states), ("direct", direct)):
        shapes = jax.tree.map(jnp.shape, tree)
        if shapes != like:
            raise ValueError(f"{name}: got {shapes}, expected {like}, as trajectory(recurrence) returns")


def _check_leading(name: str, tree: Tree, axes: str, lead: tuple[int, ...]) -> None:
    for leaf in jax.tree.leaves(tree):
        if leaf.shape[: len(lead)] != lead or leaf.ndim < axes.count(","):
            raise ValueError(f"{name}: got shape {leaf.shape}, expected {axes} that begins with {lead}")


def _as_stepped(recurrence: Recurrence) -> Tree:
    state = recurrence.initial_state
    first = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), recurrence.inputs)
    after = jax.eval_shape(recurrence.step, recurrence.params, state, first)
    shapes, expected = (jax.tree.map(jnp.shape, tree) for tree in (after, state))
    if shapes != expected:
        raise ValueError(
            f"step: got a state {shapes}, expected {expected} as initial_state; return the whole carry"
        )
    return jax.tree.map(lambda leaf, like: jnp.asarray(leaf, like.dtype), state, after)
