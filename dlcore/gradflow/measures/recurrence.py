"""The object that is measured: a step that is applied T times with the same parameters, and the states it produces.

    s_t = step(theta, s_{t-1}, x_t),    t = 1 .. T                          (lecture: unrolled RNN)

The state is everything that a step hands to the next one: (c, h) of an LSTM, and every layer of a stack. The
derivative of h while c is held fixed is a different and much smaller number.

In code, steps are counted from 0: step ``t`` takes ``states[t]`` to ``states[t + 1]``.
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
    """A step and everything it is applied to.

    Attributes:
        step: pure function ``(params, state, inputs) -> state`` that treats each row of the batch separately.
        params: theta, any pytree of floating point arrays.
        initial_state: s_0, the whole carry, any pytree of arrays ``[B, ...]``.
        inputs: x_1 .. x_T, any pytree of arrays ``[T, B, ...]``, time first; ``[T, B, 0]`` if there are no features.
        lengths: ``[B]`` integers, the number of valid steps of each row; None: all steps are valid.
    """

    step: Step
    params: Tree
    initial_state: Tree
    inputs: Tree
    lengths: jax.Array | None = None


def trajectory(recurrence: Recurrence) -> Tree:
    """Computes all states of the recurrence, from the initial state to the one after step T.

    A row of length L keeps its state after step L. No value in the padding, not even NaN, reaches a state.

    Returns:
        A tree like the initial state, of arrays ``[T + 1, B, ...]``: entry 0 is the initial state, entry t the state
        after t steps.

    Raises:
        ValueError: as in `check_recurrence`.
        TypeError: lengths are not integers.

    >>> double = lambda params, state, inputs: params * state + inputs
    >>> trajectory(Recurrence(double, jnp.array(2.0), jnp.ones(1), jnp.zeros((3, 1)))).tolist()
    [[1.0], [2.0], [4.0], [8.0]]
    """
    initial = check_recurrence(recurrence)

    def body(state: Tree, step: tuple[jax.Array, Tree]) -> tuple[Tree, Tree]:
        t, inputs = step
        state = masked_step(recurrence, recurrence.params, state, inputs, valid_rows(recurrence, t))
        return state, state

    _, after = lax.scan(body, initial, (jnp.arange(step_count(recurrence)), recurrence.inputs))
    return jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), initial, after)


def state_cotangents(loss: Callable[[Tree], jax.Array], states: Tree) -> Tree:
    """Computes ``d_t = dL / ds_t``, the direct derivative of the loss by each state while all others stay fixed.

    A gradient with respect to stacked states or outputs is this derivative. It is not the signal that comes back
    through time: for a loss of the last state alone it is 0 at all other states.

    Args:
        loss: function of the tree of all states that returns a scalar.
        states: arrays ``[T + 1, B, ...]`` from `trajectory`, at which the loss is differentiated.

    Returns:
        ``d_0 .. d_T``: a tree like the states, with arrays of the same shapes.

    >>> state_cotangents(lambda states: states[-1].sum(), jnp.ones((3, 1))).tolist()
    [[0.0], [0.0], [1.0]]
    """
    return jax.grad(loss)(states)


def step_count(recurrence: Recurrence) -> int:
    """Returns T, the number of steps, padding included, as an int."""
    return int(jax.tree.leaves(recurrence.inputs)[0].shape[0])


def row_lengths(recurrence: Recurrence) -> jax.Array:
    """Returns the number of valid steps of each row, ``[B]`` int32 of 0 to T. Errors are those of `check_lengths`."""
    rows = len(jax.tree.leaves(recurrence.initial_state)[0])
    if recurrence.lengths is None:
        return jnp.full(rows, step_count(recurrence), jnp.int32)
    return check_lengths(recurrence.lengths, (rows, step_count(recurrence)))


def valid_rows(recurrence: Recurrence, t: int | jax.Array) -> jax.Array | None:
    """Returns booleans ``[B]``, True where step ``t`` is not padding; None if the recurrence has no lengths."""
    return None if recurrence.lengths is None else t < recurrence.lengths


def masked_step(
    recurrence: Recurrence, params: Tree, state: Tree, inputs: Tree, valid: jax.Array | None
) -> Tree:
    """Applies the step to the valid rows; the others keep their state.

    Args:
        recurrence: provides the step.
        params: the parameters, which may differ from those of the recurrence.
        state: the state before the step, arrays ``[B, ...]``.
        inputs: the inputs of the step, arrays ``[B, ...]``.
        valid: booleans ``[B]`` from `valid_rows`; None: all rows are valid.

    Returns:
        The state after the step, arrays ``[B, ...]``.
    """
    if valid is None:
        return recurrence.step(params, state, inputs)
    inputs = jax.tree.map(lambda leaf: where_rows(valid, leaf, jnp.zeros_like(leaf)), inputs)
    after = recurrence.step(params, state, inputs)
    return jax.tree.map(lambda new, old: where_rows(valid, new, old), after, state)


def at_step(tree: Tree, t: int | jax.Array) -> Tree:
    """Returns entry ``t`` of each array ``[T, ...]`` of a tree: a tree of arrays ``[...]``.

    The entry is read in place: a scan over a slice would copy the slice.
    """

    def entry(leaf: jax.Array) -> jax.Array:
        if not len(leaf):  # a scan over no steps still traces its body, which never runs
            return jnp.zeros_like(leaf, shape=leaf.shape[1:])
        return lax.dynamic_index_in_dim(leaf, t, keepdims=False)

    return jax.tree.map(entry, tree)


def check_recurrence(recurrence: Recurrence) -> Tree:
    """Checks that the parts of a recurrence fit together.

    Returns:
        The initial state, arrays ``[B, ...]``, in the dtypes of the state that the step returns.

    Raises:
        ValueError: the params, initial_state or inputs hold no array; the shapes of initial_state, inputs and lengths
            disagree about B or T; a known length is outside 0 to T; or the step returns a state of another structure
            or other shapes.
        TypeError: lengths are not an array of integers.
    """
    for name in ("params", "initial_state", "inputs"):
        if not jax.tree.leaves(getattr(recurrence, name)):
            raise ValueError(f"{name}: got a tree without arrays, expected at least one")
    batch = jax.tree.leaves(recurrence.initial_state)[0].shape[:1]
    time = jax.tree.leaves(recurrence.inputs)[0].shape[:1]
    _check_leading("initial_state", recurrence.initial_state, "[B, ...]", batch)
    _check_leading("inputs", recurrence.inputs, "[T, B, ...]", time + batch)
    if recurrence.lengths is not None:
        check_lengths(recurrence.lengths, batch + time)
    return _initial_in_step_dtype(recurrence)


def check_states(recurrence: Recurrence, states: Tree, cotangents: Tree) -> None:
    """Checks that states and cotangents fit the recurrence.

    Args:
        recurrence: the recurrence.
        states: a tree like the initial state, of arrays ``[T + 1, B, ...]``.
        cotangents: a tree like the states, with arrays of the same shapes.

    Raises:
        ValueError: one of the trees has another structure or other shapes; or as in `check_recurrence`.
        TypeError: lengths are not integers.
    """
    expected = jax.tree.map(
        lambda leaf: (step_count(recurrence) + 1, *leaf.shape), check_recurrence(recurrence)
    )
    for name, tree in (("states", states), ("cotangents", cotangents)):
        shapes = jax.tree.map(jnp.shape, tree)
        if shapes != expected:
            raise ValueError(f"{name}: got {shapes}, expected {expected}, as trajectory(recurrence) returns")


def _check_leading(name: str, tree: Tree, axes: str, leading: tuple[int, ...]) -> None:
    for leaf in jax.tree.leaves(tree):
        if leaf.shape[: len(leading)] != leading or leaf.ndim < axes.count(","):
            raise ValueError(f"{name}: got shape {leaf.shape}, expected {axes} that begins with {leading}")


def _initial_in_step_dtype(recurrence: Recurrence) -> Tree:
    state = recurrence.initial_state
    first = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), recurrence.inputs)
    after = jax.eval_shape(recurrence.step, recurrence.params, state, first)
    shapes, expected = (jax.tree.map(jnp.shape, tree) for tree in (after, state))
    if shapes != expected:
        raise ValueError(
            f"step: got a state {shapes}, expected {expected} as initial_state; return the whole carry"
        )
    return jax.tree.map(lambda leaf, like: jnp.asarray(leaf, like.dtype), state, after)
