"""The time loop, and one derivative for all cells that multiply and then gate.

A gated cell's step is

    z_t = x_t W + h_{t-1} U + b,    carry_t = gates(carry_{t-1}, z_t)

so its differential is ``dz_t = D_t + dh_{t-1} U``, where ``D = x dW + h dU + dx W + db`` of ALL steps is a few
matrix products outside the loop. `run` states just that differential; its transpose, which JAX derives, is then
backpropagation through time with the weights' gradient as one product after the loop. Forward mode, second
derivatives, ``vmap``, rematerialization and sharding need nothing more.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero

from dlcore.ops.arrays import where_rows
from dlcore.ops.chunked_scan import Loop, Tree, chunked_scan


class Kernels(NamedTuple):
    """The weights of a gated cell, its G gates side by side.

    Attributes:
        input_kernel: W ``[F, G * H]``. recurrent_kernel: U ``[H, G * H]``; None: no feedback.
        bias: b ``[G * H]``, or None. recurrent_bias: ``[H]``, of the GRU that resets after the product, or None.
    """

    input_kernel: jax.Array
    recurrent_kernel: Any
    bias: jax.Array | None = None
    recurrent_bias: jax.Array | None = None


def dropped(hidden: jax.Array, mask: jax.Array | None) -> jax.Array:
    """``h * mask``, or h."""
    return hidden if mask is None else hidden * mask


def pre_activations(weights: Kernels, inputs: jax.Array, hidden: jax.Array) -> jax.Array:
    """``z = x W + h U + b``: ``[..., F], [..., H] -> [..., G * H]``."""
    z = times(inputs, weights.input_kernel)
    z = z if weights.recurrent_kernel is None else z + hidden @ weights.recurrent_kernel
    return z if weights.bias is None else z + weights.bias


def gate_values(
    names: Sequence[str], weights: Kernels, inputs: jax.Array, hidden: jax.Array
) -> dict[str, jax.Array]:
    """The gates ``sigma(x W + h U + b)`` by name: the first in the order of the kernels, behind which g comes.

    Of the lecture's LSTM i, f and o, of its GRU z and r: ``[..., F], [..., H] -> [..., H]`` each.
    """
    width = len(names) * hidden.shape[-1]
    of_gates = jax.tree.map(lambda kernel: kernel[..., :width], weights._replace(recurrent_bias=None))
    gates = jnp.split(jax.nn.sigmoid(pre_activations(of_gates, inputs, hidden)), len(names), axis=-1)
    return dict(zip(names, gates, strict=True))


def times(inputs: jax.Array, kernel: jax.Array) -> jax.Array:
    """``x W``; a single feature is multiplied, which the compiler fuses with what follows."""
    return inputs * kernel[0] if kernel.shape[0] == 1 else inputs @ kernel


def times_transposed(hidden: jax.Array, transposed: jax.Array) -> jax.Array:
    """``h U`` from ``U^T``: so the transpose of this, which every step of the way back computes, is a plain product."""
    return lax.dot_general(hidden, transposed, (((1,), (1,)), ((), ())))


class Equations(Protocol):
    """One cell as pure functions; `ops.rnn`, `ops.lstm` and `ops.gru` are such. Hashable.

    ``saved`` is whatever of a step its differential needs, arrays ``[B, ...]``.
    """

    def step(
        self, weights: Kernels, carry: Tree, inputs: jax.Array, mask: jax.Array | None = None
    ) -> tuple[Tree, Tree]:
        """``carry_{t-1}, x_t -> carry_t, saved_t``; a mask ``[B, H]`` multiplies the h that meets U (dropout)."""
        ...

    def hidden(self, carry: Tree) -> jax.Array:
        """The ``h_t [B, H]`` of a carry: what the cell puts out."""
        ...

    def drive(self, weights: Kernels, inputs: jax.Array, saved: Tree) -> jax.Array:
        """``z`` of any number of steps as a function of weights and inputs, where the states are given."""
        ...

    def constants(self, weights: Kernels) -> Tree:
        """What the differential multiplies with in every step, laid out for it."""
        ...

    def differential(self, constants: Tree, saved: Tree, carry_dot: Tree, drive_dot: jax.Array) -> Tree:
        """``d carry_{t-1}, D_t -> d carry_t``, linear in both."""
        ...


def gated_scan(
    equations: Equations,
    weights: Kernels,
    carry: Tree,
    inputs: jax.Array,
    lengths: jax.Array | None = None,
    loop: Loop = Loop(),  # noqa: B008  an immutable constant
) -> tuple[Tree, jax.Array]:
    """A gated cell over a whole sequence.

    Args:
        equations: the cell. weights: its parameters.
        carry: the initial one, arrays ``[B, ...]``.
        inputs: ``[B, T, F]``.
        lengths: ``[B]`` integers, how many steps are a row's own; None: all.
        loop: direction and windows.

    Returns:
        The carry after each row's last step, and the outputs ``[B, T, H]``, 0 behind a row's end.
    """

    def window(carry: Tree, inputs: jax.Array, start: int | jax.Array) -> tuple[Tree, jax.Array]:
        rows, valid = _time_major(inputs, lengths, start)
        carry, outputs = _run(equations, loop, weights, carry, rows, valid)
        return carry, jnp.swapaxes(outputs, 0, 1)

    return chunked_scan(window, _varying_as(carry, (weights, inputs, lengths)), inputs, loop)


def masked_scan(
    step: Callable[[Tree, jax.Array, Any], tuple[Tree, Any]],
    carry: Tree,
    inputs: jax.Array,
    lengths: jax.Array | None = None,
    loop: Loop = Loop(),  # noqa: B008  an immutable constant
) -> tuple[Tree, Any]:
    """Any ``step(carry_{t-1}, x_t, t) -> carry_t, y_t`` over inputs ``[B, T, ...]``; otherwise as `run`.

    Some steps compute in another dtype than their carry begins with; the carry has that dtype from the beginning.
    """
    first = jnp.zeros_like(inputs, shape=(len(inputs), *inputs.shape[2:]))
    after, _ = jax.eval_shape(step, carry, first, 0)
    carry = jax.tree.map(lambda array, like: array.astype(like.dtype), carry, after)

    def window(carry: Tree, inputs: jax.Array, start: int | jax.Array) -> tuple[Tree, jax.Array]:
        rows, valid = _time_major(inputs, lengths, start)

        def body(carry: Tree, now: tuple[jax.Array, jax.Array, jax.Array | None]) -> tuple[Tree, jax.Array]:
            inputs, number, valid = now
            return keep_valid(valid, carry, *step(carry, inputs, number))

        steps = (rows, start + jnp.arange(len(rows)), valid)
        carry, outputs = lax.scan(body, carry, steps, reverse=loop.reverse, unroll=loop.unroll)
        return carry, jax.tree.map(lambda array: jnp.swapaxes(array, 0, 1), outputs)

    return chunked_scan(window, _varying_as(carry, (inputs, lengths)), inputs, loop)


def _time_major(
    inputs: jax.Array, lengths: jax.Array | None, start: int | jax.Array
) -> tuple[jax.Array, jax.Array | None]:
    """Inputs ``[T, B, ...]``, 0 behind each row's end, and where they are valid ``[T, B]``; None where all are."""
    rows = jnp.swapaxes(inputs, 0, 1)
    if lengths is None:
        return rows, None
    valid = (start + jnp.arange(len(rows)))[:, None] < lengths
    return where_rows(valid, rows, jnp.zeros_like(rows)), valid


def keep_valid(valid: jax.Array | None, before: Tree, after: Tree, outputs: Tree) -> tuple[Tree, Tree]:
    """The new carry and the outputs of rows whose step it is; the old carry and 0 of the others."""
    if valid is None:
        return after, outputs
    return jax.tree.map(functools.partial(where_rows, valid), after, before), jax.tree.map(
        lambda array: where_rows(valid, array, jnp.zeros_like(array)), outputs
    )


def _varying_as(carry: Tree, others: Tree) -> Tree:
    """The same carry, in the type that a scan over ``others`` gives it within ``jax.shard_map``.

    There a value's type says over which devices it varies, and a scan's carry has one type from the beginning. The
    constants that say so here are folded away by the compiler.
    """
    true = [jnp.ones_like(leaf, shape=(), dtype=bool) for leaf in jax.tree.leaves(others)]
    always = functools.reduce(jnp.logical_and, true)
    return jax.tree.map(lambda array: jnp.where(always, array, array), carry)


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
    weights_dot, carry_dot = jax.tree.map(_array, (weights_dot, carry_dot), is_leaf=_is_zero)
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
    if jax.default_backend() == "cpu" and jax.device_count() == 1:
        # There, XLA is slow at products over two dimensions; of one whose B lies on many devices it can make none.
        inputs, saved = jax.tree.map(_as_rows, (inputs, saved))
        inputs_dot = inputs_dot if _is_zero(inputs_dot) else _as_rows(inputs_dot)
    if _is_zero(inputs_dot):  # the first layer's inputs are data: no product for their gradient
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


def _array(tangent: Any) -> Any:
    return jnp.zeros(tangent.shape, tangent.dtype) if _is_zero(tangent) else tangent
