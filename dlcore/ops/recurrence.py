"""The time loop, and one derivative for all cells that multiply and then gate.

A gated cell's step is

    z_t = x_t W + h_{t-1} U + b,    carry_t = gates(carry_{t-1}, z_t)

so its differential is ``dz_t = D_t + dh_{t-1} U``. The term ``D = x dW + h dU + dx W + db`` of ALL steps is computed
by a few matrix products outside the loop. `gated_scan` states only that differential. JAX derives its transpose,
which is backpropagation through time with the weights' gradient as one product after the loop. Forward mode, second
derivatives, ``vmap``, rematerialization and sharding need nothing more.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero

from dlcore.ops.arrays import add_bias, are_whole, at_least_float32, where_rows
from dlcore.ops.chunked_scan import Loop, Tree, chunked_scan


class Kernels(NamedTuple):
    """The weights of a gated cell, with its G gates side by side.

    Attributes:
        input_kernel: W ``[F, G * H]``.
        recurrent_kernel: U ``[H, G * H]``, or None without feedback.
        bias: b ``[G * H]``, or None.
        recurrent_bias: ``[H]``, a second bias of g in the GRU that resets after the product; None for other cells.
    """

    input_kernel: jax.Array
    recurrent_kernel: Any
    bias: jax.Array | None = None
    recurrent_bias: jax.Array | None = None


def dropped(hidden: jax.Array, mask: jax.Array | None) -> jax.Array:
    """``h * mask``, which has the shape of h; h itself if the mask is None."""
    return hidden if mask is None else hidden * mask


def pre_activations(weights: Kernels, inputs: jax.Array, hidden: jax.Array) -> jax.Array:
    """``z = x W + h U + b``: ``[..., F], [..., H] -> [..., G * H]``, without the terms whose weights are None."""
    z = times(inputs, weights.input_kernel)
    z = z if weights.recurrent_kernel is None else z + hidden @ weights.recurrent_kernel
    return add_bias(z, weights.bias)


def gate_values(
    names: Sequence[str], weights: Kernels, inputs: jax.Array, hidden: jax.Array
) -> dict[str, jax.Array]:
    """A dict with the value of each gate, ``sigma(x W + h U + b) [..., H]``, by its name.

    Args:
        names: the gates in the order of the kernels, which hold the candidate g after them. The gates of the lecture's
            LSTM are i, f and o, those of its GRU z and r.
        weights: the kernels of all gates and the candidate.
        inputs: x, ``[..., F]``.
        hidden: h, ``[..., H]``.
    """
    width = len(names) * hidden.shape[-1]
    gate_weights = jax.tree.map(lambda kernel: kernel[..., :width], weights._replace(recurrent_bias=None))
    gates = jnp.split(jax.nn.sigmoid(pre_activations(gate_weights, inputs, hidden)), len(names), axis=-1)
    return dict(zip(names, gates, strict=True))


def times(inputs: jax.Array, kernel: jax.Array) -> jax.Array:
    """``x W``: ``[..., F], [F, N] -> [..., N]``; elementwise if F is 1, which XLA fuses with what follows."""
    if kernel.shape[0] > 1:
        return inputs @ kernel
    # Both are wide, so that the kernel's gradient is summed in float32.
    product = at_least_float32(inputs) * at_least_float32(kernel[0])
    return product.astype(jnp.result_type(inputs, kernel))


def times_transposed(hidden: jax.Array, transposed: jax.Array) -> jax.Array:
    """The product ``h U`` from ``h [B, H]`` and the transposed kernel ``U^T [N, H]``: ``[B, N]``.

    Its derivative, which every step of the backward pass computes, is then a product with U^T as it is stored.
    """
    return lax.dot_general(hidden, transposed, (((1,), (1,)), ((), ())))


class Equations(Protocol):
    """Protocol: one cell as pure functions, as in `ops.rnn`, `ops.lstm` and `ops.gru`. The object must be hashable.

    ``weights`` are `Kernels`, or a tree that holds them. ``carry`` is a tree of arrays ``[B, H]``. ``saved`` is a tree
    of the arrays ``[B, ...]`` of a step that its differential needs.
    """

    def step(
        self, weights: Tree, carry: Tree, inputs: jax.Array, mask: jax.Array | None = None
    ) -> tuple[Tree, Tree]:
        """``carry_{t-1}, x_t [B, F] -> carry_t, saved_t``; a dropout mask ``[B, H]`` multiplies the h that meets U."""
        ...

    def hidden(self, carry: Tree) -> jax.Array:
        """The ``h_t [B, H]`` of a carry, which is the cell's output."""
        ...

    def drive(self, weights: Tree, inputs: jax.Array, saved: Tree) -> jax.Array:
        """``z [..., G * H]`` of any number of steps from weights and inputs ``[..., F]``; ``saved`` holds the h.

        Beside z stand the values of further products with weights, if the cell has some: ``[..., N]``.
        """
        ...

    def constants(self, weights: Tree) -> Tree:
        """The weights by which `differential` multiplies in every step, in the layout that it needs."""
        ...

    def differential(self, constants: Tree, saved: Tree, carry_dot: Tree, drive_dot: jax.Array) -> Tree:
        """``d carry_{t-1}, D_t [B, N] -> d carry_t``, linear in both."""
        ...


def gated_scan(
    equations: Equations,
    weights: Tree,
    carry: Tree,
    inputs: jax.Array,
    lengths: jax.Array | None = None,
    loop: Loop = Loop(),  # noqa: B008  an immutable constant
) -> tuple[Tree, jax.Array]:
    """Runs a gated cell over a whole sequence.

    Args:
        equations: the cell.
        weights: its parameters.
        carry: the state before the first step, a tree of arrays ``[B, H]``.
        inputs: ``[B, T, F]``.
        lengths: ``[B]`` integers, the number of valid steps of each row; None if all steps are valid.
        loop: direction and windows.

    Returns:
        The carry after the last valid step that each row runs (the first in time if the loop is reversed), and the
        outputs ``[B, T, H]``, which are 0 in the padding.
    """

    def window(carry: Tree, inputs: jax.Array, start: int | jax.Array) -> tuple[Tree, jax.Array]:
        rows, valid = _time_major(inputs, lengths, start)
        carry, outputs = _run(equations, loop, weights, carry, rows, valid)
        return carry, jnp.swapaxes(outputs, 0, 1)

    return chunked_scan(window, _varying_as(carry, (weights, inputs, lengths)), inputs, loop, lengths)


def masked_scan(
    step: Callable[[Tree, jax.Array, Any], tuple[Tree, Any]],
    carry: Tree,
    inputs: jax.Array,
    lengths: jax.Array | None = None,
    loop: Loop = Loop(),  # noqa: B008  an immutable constant
) -> tuple[Tree, Any]:
    """Runs a function ``step(carry_{t-1}, x_t, t) -> carry_t, y_t`` over inputs ``[B, T, ...]``; else as `gated_scan`.

    Carry and y_t are trees of arrays ``[B, ...]``; the outputs are a tree of arrays ``[B, T, ...]``. A step may compute
    in another dtype than that of the given carry. The carry is cast to it before the first step.
    """
    first = jnp.zeros_like(inputs, shape=(len(inputs), *inputs.shape[2:]))
    after, _ = jax.eval_shape(step, carry, first, 0)
    carry = jax.tree.map(lambda array, like: array.astype(like.dtype), carry, after)

    def window(carry: Tree, inputs: jax.Array, start: int | jax.Array) -> tuple[Tree, jax.Array]:
        rows, valid = _time_major(inputs, lengths, start)

        def body(carry: Tree, now: tuple[jax.Array, jax.Array, jax.Array | None]) -> tuple[Tree, jax.Array]:
            inputs, t, valid = now
            return keep_valid(valid, carry, *step(carry, inputs, t))

        steps = (rows, start + jnp.arange(len(rows)), valid)
        carry, outputs = lax.scan(body, carry, steps, reverse=loop.reverse, unroll=loop.unroll)
        return carry, jax.tree.map(lambda array: jnp.swapaxes(array, 0, 1), outputs)

    return chunked_scan(window, _varying_as(carry, (inputs, lengths)), inputs, loop, lengths)


def _time_major(
    inputs: jax.Array, lengths: jax.Array | None, start: int | jax.Array
) -> tuple[jax.Array, jax.Array | None]:
    """Inputs ``[T, B, ...]`` with 0 in the padding, and the mask ``[T, B]`` of valid steps, None without lengths."""
    rows = jnp.swapaxes(inputs, 0, 1)
    if lengths is None:
        return rows, None
    valid = (start + jnp.arange(len(rows)))[:, None] < lengths
    return where_rows(valid, rows, jnp.zeros_like(rows)), valid


def keep_valid(valid: jax.Array | None, before: Tree, after: Tree, outputs: Tree) -> tuple[Tree, Tree]:
    """The pair of carry and outputs: the new ones in rows where the step is valid, the old carry and 0 in the others.

    ``valid [B]`` is boolean, or None if the step is valid in all rows. The other arguments are trees of arrays
    ``[B, ...]``: the carry before the step, the carry after it, and the step's outputs.
    """
    if valid is None:
        return after, outputs
    return jax.tree.map(functools.partial(where_rows, valid), after, before), jax.tree.map(
        lambda array: where_rows(valid, array, jnp.zeros_like(array)), outputs
    )


def _varying_as(carry: Tree, others: Tree) -> Tree:
    """The same carry, in the type that a scan over ``others`` gives it within ``jax.shard_map``.

    There a value's type says over which devices the value varies, and the carry of a scan must have one type from the
    first step on. The constants below give the carry that type; the compiler folds them away.
    """
    trues = [jnp.ones_like(leaf, shape=(), dtype=bool) for leaf in jax.tree.leaves(others)]
    true = functools.reduce(jnp.logical_and, trues)
    return jax.tree.map(lambda array: jnp.where(true, array, array), carry)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _run(
    equations: Equations, loop: Loop, weights: Tree, carry: Tree, inputs: jax.Array, valid: jax.Array | None
) -> tuple[Tree, jax.Array]:
    return _forward(equations, loop, weights, carry, inputs, valid)[:2]


def _forward(
    equations: Equations, loop: Loop, weights: Tree, carry: Tree, inputs: jax.Array, valid: jax.Array | None
) -> tuple[Tree, jax.Array, Tree]:
    def body(carry: Tree, now: tuple[jax.Array, jax.Array | None]) -> tuple[Tree, tuple[jax.Array, Tree]]:
        inputs, valid = now
        after, saved = equations.step(weights, carry, inputs)
        after, hidden = keep_valid(valid, carry, after, equations.hidden(after))
        return after, (hidden, saved)

    carry, (outputs, saved) = lax.scan(body, carry, (inputs, valid), reverse=loop.reverse, unroll=loop.unroll)
    return carry, outputs, saved


def _run_jvp(equations: Equations, loop: Loop, primals: Tree, tangents: Tree) -> Tree:
    (weights, carry, inputs, valid), (weights_dot, carry_dot, inputs_dot, _) = primals, tangents
    carry, outputs, saved = _forward(equations, loop, weights, carry, inputs, valid)
    weights_dot, carry_dot = jax.tree.map(_instantiate, (weights_dot, carry_dot), is_leaf=_is_zero)
    carry_dot = _varying_as(carry_dot, carry)
    drive_dot = _drive_dot(equations, weights, weights_dot, inputs, inputs_dot, saved)
    constants = equations.constants(weights)

    def body(carry_dot: Tree, now: tuple[jax.Array, Tree, jax.Array | None]) -> tuple[Tree, jax.Array]:
        drive_dot, saved, valid = now
        after_dot = equations.differential(constants, saved, carry_dot, drive_dot)
        return keep_valid(valid, carry_dot, after_dot, equations.hidden(after_dot))

    carry_dot, outputs_dot = lax.scan(
        body, carry_dot, (drive_dot, saved, valid), reverse=loop.reverse, unroll=loop.unroll
    )
    return (carry, outputs), (carry_dot, outputs_dot)


_run.defjvp(_run_jvp, symbolic_zeros=True)


def _drive_dot(
    equations: Equations, weights: Tree, weights_dot: Tree, inputs: jax.Array, inputs_dot: Any, saved: Tree
) -> jax.Array:
    """D of all steps, ``[T, B, G * H]``."""
    shape = inputs.shape[:2]
    if are_whole((weights, inputs, saved)):
        # XLA is slow on a CPU at products over two dimensions, so T and B become one; a TPU's program does not change.
        # If B were split over several devices, the merged dimension could not be, and each would gather all rows.
        inputs, saved = jax.tree.map(_as_rows, (inputs, saved))
        inputs_dot = inputs_dot if _is_zero(inputs_dot) else _as_rows(inputs_dot)
    if _is_zero(inputs_dot):  # the first layer's inputs are data, whose gradient needs no product
        _, drive_dot = jax.jvp(
            lambda weights: equations.drive(weights, inputs, saved), [weights], [weights_dot]
        )
    else:
        _, drive_dot = jax.jvp(
            lambda weights, inputs: equations.drive(weights, inputs, saved),
            [weights, inputs],
            [weights_dot, inputs_dot],
        )
    return drive_dot.reshape(*shape, -1)


def _as_rows(array: jax.Array) -> jax.Array:
    """``[T, B, H] -> [T * B, H]``."""
    return array.reshape(-1, array.shape[-1])


def _is_zero(tangent: Any) -> bool:
    return isinstance(tangent, SymbolicZero)


def _instantiate(tangent: Any) -> Any:
    """The tangent as an array, also if it is a symbolic zero."""
    return jnp.zeros(tangent.shape, tangent.dtype) if _is_zero(tangent) else tangent
