"""The object that is measured: a step that is applied T times with the same parameters, and the states it produces.

    s_t = step(theta, s_{t-1}, x_t),    t = 1 .. T                          (lecture: unrolled RNN)

The state is everything that a step hands to the next one: (c, h) of an LSTM, and every layer of a stack. The
derivative of h while c is held fixed is a different and much smaller number.

In code, steps are counted from 0: step ``t`` takes ``states[t]`` to ``states[t + 1]``.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax

from dlcore.ops.arrays import check_array, check_floats, where_rows
from dlcore.ops.lengths import check_lengths
from dlcore.utils.checks import check_callable, check_instance

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
        cuts: ``[T, B]`` booleans, True where the gradient stops at the state before step t, as at the first step of a
            window of truncated backpropagation through time; None: it passes all steps. Cuts change gradients, the
            backward signal and the double sum. They change no state, and no derivative of a state by another one.
    """

    step: Step
    params: Tree
    initial_state: Tree
    inputs: Tree
    lengths: jax.Array | None = None
    cuts: jax.Array | None = None


def trajectory(recurrence: Recurrence) -> Tree:
    """Computes all states of the recurrence, from the initial state to the one after step T.

    A row of length L keeps its state after step L. No value in the padding, not even NaN, reaches a state.

    Returns:
        A tree like the initial state, of arrays ``[T + 1, B, ...]``: entry 0 is the initial state, entry t the state
        after t steps.

    Raises:
        ValueError: as in `check_recurrence`.
        TypeError: as in `check_recurrence`.

    >>> double = lambda params, state, inputs: params * state + inputs
    >>> trajectory(Recurrence(double, jnp.array(2.0), jnp.ones(1), jnp.zeros((3, 1)))).tolist()
    [[1.0], [2.0], [4.0], [8.0]]
    """
    recurrence = check_recurrence(recurrence)
    initial = recurrence.initial_state

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

    Raises:
        ValueError: the loss returns an array with axes.
        TypeError: the loss is not a function, it returns something else than an array of floating point numbers, or
            the states are not arrays of them.

    >>> state_cotangents(lambda states: states[-1].sum(), jnp.ones((3, 1))).tolist()
    [[0.0], [0.0], [1.0]]
    """
    check_callable("loss", loss, "lambda states: states[-1].sum()")

    def scalar(states: Tree) -> jax.Array:
        value = check_floats("loss", loss(states))
        if value.ndim:
            raise ValueError(
                f"loss: got a result of shape {value.shape}, expected a scalar; take its sum or mean"
            )
        return value

    return jax.grad(scalar)(_arrays("states", states, check_floats))


def step_count(recurrence: Recurrence) -> int:
    """Returns T, the number of steps, padding included, as an int."""
    return int(jax.tree.leaves(recurrence.inputs)[0].shape[0])


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


def pass_gradient(recurrence: Recurrence, state: Tree, t: int | jax.Array) -> Tree:
    """Returns the state before step ``t``, arrays ``[B, ...]``, without a gradient in the rows that are cut there."""
    if recurrence.cuts is None:
        return state
    cut = at_step(recurrence.cuts, t)
    return jax.tree.map(lambda leaf: where_rows(cut, lax.stop_gradient(leaf), leaf), state)


def check_recurrence(recurrence: Recurrence) -> Recurrence:
    """Checks that the parts of a recurrence fit together.

    Returns:
        The same recurrence, of JAX arrays: the initial state in the dtypes of the state that the step returns, and the
        lengths as int32 from 0 to T.

    Raises:
        ValueError: the params, initial_state or inputs hold no array; the shapes of initial_state, inputs, lengths and
            cuts disagree about B or T; a known length is outside 0 to T; or the step returns a state of another
            structure or other shapes.
        TypeError: a part is not an array or a tree of arrays; params or the state are not floating point numbers,
            lengths not integers or cuts not booleans; the step is not a function, or the recurrence is no `Recurrence`.
    """
    check_instance("recurrence", recurrence, Recurrence, "a Recurrence(step, params, initial_state, inputs)")
    check_callable("step", recurrence.step, "lambda params, state, inputs: state")
    numbers = jax.tree.map(
        lambda leaf: jnp.asarray(leaf) if isinstance(leaf, float) else leaf, recurrence.params
    )
    params = _arrays("params", numbers, check_floats)
    state = _arrays("initial_state", recurrence.initial_state, check_array)
    inputs = _arrays("inputs", recurrence.inputs, check_array)
    batch, time = jnp.shape(jax.tree.leaves(state)[0])[:1], jnp.shape(jax.tree.leaves(inputs)[0])[:1]
    _check_leading("initial_state", state, "[B, ...]", batch)
    if not any(math.prod(leaf.shape[1:]) for leaf in jax.tree.leaves(state)):
        raise ValueError("initial_state: got rows without a number, expected at least one")
    _check_leading("inputs", inputs, "[T, B, ...]", time + batch)
    state = _in_step_dtype(recurrence.step, params, state, inputs)
    return Recurrence(
        recurrence.step,
        params,
        state,
        inputs,
        _checked_lengths(recurrence.lengths, batch + time),
        _checked_cuts(recurrence.cuts, time + batch),
    )


def check_states(
    recurrence: Recurrence, states: Tree, cotangents: Tree, name: str = "cotangents"
) -> tuple[Recurrence, Tree, Tree]:
    """Checks that states and cotangents fit the recurrence.

    Args:
        recurrence: the recurrence.
        states: a tree like the initial state, of arrays ``[T + 1, B, ...]``.
        cotangents: a tree like the states, with arrays of the same shapes.
        name: what error messages call the cotangents.

    Returns:
        The recurrence as `check_recurrence` returns it, and the states and cotangents in the dtypes of its state.

    Raises:
        ValueError: one of the trees has another structure or other shapes; or as in `check_recurrence`.
        TypeError: one of the trees holds something else than floating point arrays; or as in `check_recurrence`.
    """
    recurrence = check_recurrence(recurrence)
    like, steps = recurrence.initial_state, step_count(recurrence)
    expected = jax.tree.map(lambda leaf: (steps + 1, *leaf.shape), like)
    checked = []
    for which, tree in (("states", states), (name, cotangents)):
        tree = _arrays(which, tree, check_floats)
        shapes = jax.tree.map(jnp.shape, tree)
        if shapes != expected:
            raise ValueError(f"{which}: got {shapes}, expected {expected}, as trajectory(recurrence) returns")
        checked.append(jax.tree.map(lambda leaf, state: leaf.astype(state.dtype), tree, like))
    return recurrence, *checked


def _arrays(name: str, tree: Tree, check: Callable[[str, Any], Any]) -> Tree:
    """The tree with JAX arrays as leaves, each of which passes the check; at least one."""
    leaves, structure = jax.tree.flatten(tree)
    if not leaves:
        raise ValueError(f"{name}: got a tree without arrays, expected at least one")
    for leaf in leaves:
        check(name, leaf)
    return jax.tree.unflatten(structure, list(map(jnp.asarray, leaves)))


def _check_leading(name: str, tree: Tree, axes: str, leading: tuple[int, ...]) -> None:
    for leaf in jax.tree.leaves(tree):
        if leaf.shape[: len(leading)] != leading or leaf.ndim < axes.count(","):
            raise ValueError(f"{name}: got shape {leaf.shape}, expected {axes} that begins with {leading}")


def _in_step_dtype(step: Step, params: Tree, state: Tree, inputs: Tree) -> Tree:
    first = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), inputs)
    after = jax.eval_shape(step, params, state, first)
    shapes, expected = (jax.tree.map(jnp.shape, tree) for tree in (after, state))
    if shapes != expected:
        raise ValueError(
            f"step: got a state {shapes}, expected {expected} as initial_state; return the whole carry"
        )
    for leaf in jax.tree.leaves(after):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise TypeError(f"step: got a state of {leaf.dtype}, expected floating point numbers")
    return jax.tree.map(lambda leaf, like: jnp.asarray(leaf, like.dtype), state, after)


def _checked_lengths(lengths: jax.Array | None, shape: tuple[int, ...]) -> jax.Array | None:
    """Lengths for inputs of the shape ``(B, T)``, as int32 from 0 to T."""
    return None if lengths is None else check_lengths(lengths, shape)


def _checked_cuts(cuts: jax.Array | None, shape: tuple[int, ...]) -> jax.Array | None:
    if cuts is None:
        return None
    check_array("cuts", cuts, 2, "[T, B]", "booleans")
    if cuts.dtype != bool:
        raise TypeError(f"cuts: got {cuts.dtype}, expected booleans; cuts.astype(bool)")
    if cuts.shape != shape:
        raise ValueError(f"cuts: got shape {cuts.shape}, expected [T, B] = {shape}")
    return jnp.asarray(cuts)
