"""Lyapunov exponents: the mean rates at which a recurrent network stretches and shrinks differences of its state.

    lambda_i = lim 1/T sum_t log |R_t[i, i]|,        J_t Q_{t-1} = Q_t R_t

(Benettin et al. 1980; for recurrent networks Vogt et al. 2020, arXiv 2006.14123, and Engelken, Wolf & Abbott 2020,
arXiv 2006.02427). The product of Jacobians in the lecture's double sum grows or decays as ``exp(lambda_1 lag)``: below
0 gradients vanish with the half-life ``ln 2 / -lambda_1``, above 0 they explode. Tables call lambda_1 ``exponent_1``.

The state is the whole carry: an LSTM has 2 H exponents. Differentiating h alone while c is held fixed gives others.
"""

import jax
import jax.numpy as jnp
from jax import lax

from dlcore.gradflow.measures import decompositions, wide_range
from dlcore.gradflow.measures.recurrence import (
    Recurrence,
    Tree,
    at_step,
    check_recurrence,
    step_count,
    valid_rows,
)
from dlcore.gradflow.measures.tangents import flatten_state, push_tangents, random_basis
from dlcore.utils.checks import check_integer

ROUNDING = 4
"""A column of n numbers counts as lost below this many times ``sqrt(n)`` roundings of its largest number."""


def lyapunov_spectrum(
    recurrence: Recurrence,
    exponents: int | None = None,
    warm_up: int | None = None,
    every: int = 1,
    key: jax.Array | None = None,
) -> jax.Array:
    """Computes the largest Lyapunov exponents of each row along its trajectory, in nats a step.

    Memory is one state and ``n k`` numbers for each row, whatever T. The result is differentiable in the parameters,
    the inputs and the initial state: moving exponents to 0 in training is gradient flossing (Engelken 2023, arXiv
    2312.17306). The backward pass stores all steps.

    Args:
        recurrence: the recurrence that is measured.
        exponents: k, the number of exponents; None: all n.
        warm_up: number of first steps that do not count, in which the directions settle; None: a quarter of each row's
            valid steps.
        every: number of steps between QR decompositions, at most. More than 1 is faster, but the columns must not
            become parallel within the dtype's precision in so many steps: in float32 they do after about 20.
        key: random key of the first directions; None: ``jax.random.key(0)``.

    Returns:
        An array ``[B, k]``, the largest exponent of each row first. ``-inf`` means that a direction was lost: a step
        maps it to 0, or to a vector that the dtype's precision cannot tell from one in the span of the directions
        before it. A row is NaN if it has no steps after the warm-up or its states are not finite.

    Raises:
        ValueError: exponents or every is below 1, exponents is more than n, or warm_up is outside 0 to T - 1; or as in
            `check_recurrence`.
        TypeError: exponents, warm_up or every is not an integer, or the key no random key; or as in
            `check_recurrence`.

    >>> rotate_and_halve = jnp.array([[0.0, 0.5], [-0.5, 0.0]])
    >>> system = Recurrence(lambda w, s, x: s @ w + x, rotate_and_halve, jnp.zeros((1, 2)), jnp.ones((8, 1, 2)))
    >>> (lyapunov_spectrum(system) / jnp.log(2)).round(4).tolist()
    [[-1.0, -1.0]]
    """
    recurrence = check_recurrence(recurrence)
    steps, initial = step_count(recurrence), recurrence.initial_state
    exponents = _checked_exponents(exponents, flatten_state(initial).shape[1])
    skipped, counted = split_steps(recurrence, warm_up)
    every = min(check_integer("every", every), max(steps, 1))
    orthonormalize = _normalize if exponents == 1 else _orthonormalize

    def body(
        carry: tuple[Tree, jax.Array, jax.Array], t: jax.Array
    ) -> tuple[tuple[Tree, jax.Array, jax.Array], None]:
        state, basis, total = carry
        inputs, valid = at_step(recurrence.inputs, t), valid_rows(recurrence, t)
        state, basis = push_tangents(recurrence, state, inputs, basis, valid)
        if every == 1:
            basis, logs = orthonormalize(basis)
        else:  # at the end of every row's warm-up, and each ``every`` steps before and after it
            due = jnp.any((t + 1 - skipped) % every == 0)
            basis, logs = lax.cond(due, orthonormalize, _unchanged, basis)
        return (state, basis, total + jnp.where((t >= skipped)[:, None], logs, 0)), None

    basis = random_basis(recurrence, exponents, key)
    start = (initial, basis, jnp.zeros_like(basis[:, 0]))
    (_, basis, total), _ = lax.scan(body, start, jnp.arange(steps))
    if every > 1:  # the steps after the last decomposition
        total = total + orthonormalize(basis)[1]
    counted = counted[:, None]
    mean = jnp.where(counted > 0, total / jnp.maximum(counted, 1), jnp.nan)
    return -jnp.sort(-mean, axis=-1)


def largest_exponent(
    recurrence: Recurrence, warm_up: int | None = None, key: jax.Array | None = None
) -> jax.Array:
    """Computes ``lambda_1`` of each row, whose sign tells whether gradients vanish (below 0) or explode (above 0).

    Its steps need no QR decomposition. Arguments and errors are those of `lyapunov_spectrum`.

    Returns:
        An array ``[B]``, in nats a step.
    """
    return lyapunov_spectrum(recurrence, 1, warm_up, key=key)[:, 0]


def split_steps(recurrence: Recurrence, warm_up: int | None) -> tuple[jax.Array, jax.Array]:
    """Returns the number of steps in each row's warm-up, ``[B]``, and the number of valid steps after it, ``[B]``.

    Args:
        recurrence: one that `check_recurrence` returned.
        warm_up: as in `lyapunov_spectrum`.
    """
    steps, rows = step_count(recurrence), len(jax.tree.leaves(recurrence.initial_state)[0])
    lengths = jnp.full(rows, steps) if recurrence.lengths is None else recurrence.lengths
    skipped = lengths // 4 if warm_up is None else jnp.full_like(lengths, _checked_warm_up(warm_up, steps))
    return skipped, jnp.maximum(lengths - skipped, 0)


def _checked_exponents(exponents: int | None, size: int) -> int:
    exponents = size if exponents is None else check_integer("exponents", exponents)
    if exponents > size:
        raise ValueError(f"exponents: got {exponents}, expected at most the size of the state, {size}")
    return exponents


def _checked_warm_up(warm_up: int, steps: int) -> int:
    warm_up = check_integer("warm_up", warm_up, minimum=0)
    if warm_up and warm_up >= steps:
        raise ValueError(f"warm_up: got {warm_up}, expected less than the number of steps, {steps}")
    return warm_up


def _orthonormalize(basis: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns Q of ``[B, n, k]``, and ``log |diag R|`` ``[B, k]``: -inf where a column adds no direction of its own.

    A column that lies in the span of the columns before it leaves on the diagonal of R what its rounding left, not 0.
    """
    q, triangle = decompositions.qr(basis)
    lengths = jnp.abs(jnp.diagonal(triangle, axis1=1, axis2=2))
    largest = jnp.max(jnp.abs(basis), axis=1)
    rounding = ROUNDING * jnp.sqrt(basis.shape[1]) * jnp.finfo(basis.dtype).eps * largest
    lost = lax.stop_gradient(lengths <= rounding)
    return q, jnp.where(lost, -jnp.inf, jnp.log(jnp.where(lost, 1, lengths)))


def _normalize(basis: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Does the same for a single column, without a decomposition."""
    numbers = wide_range.from_floats(basis, 1)
    square = jnp.sum(numbers.values**2, axis=1, keepdims=True)
    return numbers.values / jnp.sqrt(jnp.where(square == 0, 1, square)), wide_range.log_norm(numbers)[:, None]


def _unchanged(basis: jax.Array) -> tuple[jax.Array, jax.Array]:
    return basis, jnp.zeros_like(basis[:, 0])
