"""Lyapunov exponents: the mean rates at which a recurrent network stretches and shrinks differences of its state.

    lambda_i = lim 1/T sum_t log |R_t[i, i]|,        J_t Q_{t-1} = Q_t R_t

(Benettin et al. 1980; of recurrent networks Vogt et al. 2020, arXiv 2006.14123, and Engelken, Wolf & Abbott 2020, arXiv
2006.02427). The product of Jacobians in the lecture's double sum grows or vanishes as ``exp(lambda_1 lag)``: below 0
gradients vanish, above they explode, and ``ln 2 / -lambda_1`` is their half-life.

The state is the full carry: an LSTM has 2 H exponents, and differentiating h alone with c held fixed gives other ones.
"""

import jax
import jax.numpy as jnp
from jax import lax

from dlcore.gradflow.measures import decompositions, wide_range
from dlcore.gradflow.measures.jacobians import random_basis
from dlcore.gradflow.measures.recurrence import (
    Recurrence,
    Tree,
    at_step,
    check_recurrence,
    step_count,
    valid_rows,
)
from dlcore.gradflow.measures.tangents import flatten_state, push_tangents
from dlcore.utils.checks import check_integer


def lyapunov_spectrum(
    recurrence: Recurrence,
    exponents: int | None = None,
    warm_up: int | None = None,
    every: int = 1,
    key: jax.Array | None = None,
) -> jax.Array:
    """The largest Lyapunov exponents of each row along its trajectory, in nats a step.

    Memory is the state and ``n k`` numbers a row, whatever T. Differentiable in the parameters, in inputs and in the
    initial state: pushing exponents to 0 in training is gradient flossing (Engelken 2023, arXiv 2312.17306); the way
    back stores all steps.

    Args:
        recurrence: what is measured.
        exponents: k, how many; None: all n.
        warm_up: steps in which the directions settle, and which do not count; None: a quarter of T.
        every: steps between QR decompositions. More than 1 is faster, and wrong as soon as the columns fall together
            within the dtype's precision: in float32 after about 20 steps.
        key: of the random directions at the beginning; None: ``jax.random.key(0)``.

    Returns:
        ``[B, k]``, largest first. ``-inf``: a direction that the step loses entirely. NaN: a row without steps
        behind the warm-up, or one whose states are not finite.

    Raises:
        ValueError: exponents or every below 1, more exponents than n, a warm-up outside 0 to T - 1. TypeError: no
            integers.

    >>> rotate_and_halve = jnp.array([[0.0, 0.5], [-0.5, 0.0]])
    >>> system = Recurrence(lambda w, s, x: s @ w + x, rotate_and_halve, jnp.zeros((1, 2)), jnp.ones((8, 1, 2)))
    >>> (spectrum(system) / jnp.log(2)).round(4).tolist()
    [[-1.0, -1.0]]
    """
    steps, initial = step_count(recurrence), check_recurrence(recurrence)
    exponents, warm_up = _checked(exponents, warm_up, steps, flatten_state(initial).shape[1])
    every = check_integer("every", every)
    orthonormal = _normalized if exponents == 1 else _orthonormal

    def body(
        carry: tuple[Tree, jax.Array, jax.Array], number: jax.Array
    ) -> tuple[tuple[Tree, jax.Array, jax.Array], None]:
        state, basis, total = carry
        own = valid_rows(recurrence, number)
        state, basis = push_tangents(recurrence, state, at_step(recurrence.inputs, number), basis, own)
        if every == 1:
            basis, logs = orthonormal(basis)
        else:
            basis, logs = lax.cond((number + 1 - warm_up) % every == 0, orthonormal, _as_it_is, basis)
        return (state, basis, total + jnp.where(number >= warm_up, logs, 0)), None

    basis = random_basis(recurrence, exponents, key)
    start = (initial, basis, jnp.zeros_like(basis[:, 0]))
    (_, basis, total), _ = lax.scan(body, start, jnp.arange(steps))
    if every > 1:  # what came behind the last decomposition
        total = total + orthonormal(basis)[1]
    lengths = jnp.full(len(basis), steps) if recurrence.lengths is None else recurrence.lengths
    counted = (lengths - warm_up)[:, None]
    mean = jnp.where(counted > 0, total / jnp.maximum(counted, 1), jnp.nan)
    return -jnp.sort(-mean, axis=-1)


def largest_exponent(
    recurrence: Recurrence, warm_up: int | None = None, key: jax.Array | None = None
) -> jax.Array:
    """``lambda_1 [B]``, the sign of which says whether gradients vanish or explode; without any decomposition.

    Otherwise as `spectrum`.
    """
    return lyapunov_spectrum(recurrence, 1, warm_up, key=key)[:, 0]


def _checked(exponents: int | None, warm_up: int | None, steps: int, size: int) -> tuple[int, int]:
    exponents = size if exponents is None else check_integer("exponents", exponents)
    if exponents > size:
        raise ValueError(f"exponents: got {exponents}, expected at most the size of the state, {size}")
    warm_up = steps // 4 if warm_up is None else check_integer("warm_up", warm_up, minimum=0)
    if warm_up and warm_up >= steps:
        raise ValueError(f"warm_up: got {warm_up}, expected less than the number of steps, {steps}")
    return exponents, warm_up


def _orthonormal(basis: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Q of ``[B, n, k]``, and ``log |diag R|`` ``[B, k]``."""
    basis, triangle = decompositions.qr(basis)
    return basis, jnp.log(jnp.abs(jnp.diagonal(triangle, axis1=1, axis2=2)))


def _normalized(basis: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`_orthonormal` of a single column."""
    numbers = wide_range.from_floats(basis, 1)
    square = jnp.sum(numbers.values**2, axis=1, keepdims=True)
    return numbers.values / jnp.sqrt(jnp.where(square == 0, 1, square)), wide_range.log_norm(numbers)[:, None]


def _as_it_is(basis: jax.Array) -> tuple[jax.Array, jax.Array]:
    return basis, jnp.zeros_like(basis[:, 0])
