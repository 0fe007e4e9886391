"""How much of a change of ``s_{T-l}`` arrives in ``s_T``: norms of products of Jacobians, for all lags l.

    P_l = d s_T / d s_{T-l} = J_T J_{T-1} ... J_{T-l+1},        J_t = d s_t / d s_{t-1}

is the product in the lecture's double sum (gradient flow in simple RNNs). Its repeated multiplication makes gradients
vanish or explode (Bengio, Simard & Frasconi 1994; Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063). Within a few
hundred steps its norm leaves the range of every float, so products are carried as values times a power of two (see
`wide_range`).

Results are natural logarithms; ``-inf`` is a derivative of exactly 0, as of a dead ReLU. The T of a row is its length.
NaN marks lags that reach beyond the row's first state, and lags that pass a state that is not finite
(`first_nonfinite` gives its time step). These are derivatives of the states themselves: a recurrence's ``cuts``, where
training stops the gradient, change none of them.

| | norm | lags | cost of each step, in derivatives of a step |
| --- | --- | --- | --- |
| `log_products` | spectral or Frobenius, exact | all | ``n`` and, for the spectral norm, an SVD |
| `log_products_by_probes` | Frobenius, estimated | all | ``probes`` |
| `log_products_by_subspace` | spectral, converging | chosen | ``4 block`` and two QR, for each lag and round |
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dlcore.gradflow.measures import decompositions, wide_range
from dlcore.gradflow.measures.recurrence import Recurrence, Tree, at_step, check_recurrence, step_count
from dlcore.gradflow.measures.tangents import (
    align_ends,
    flatten_state,
    pull_cotangents,
    push_tangents,
    random_basis,
)
from dlcore.gradflow.measures.wide_range import WideRange
from dlcore.ops.arrays import expand_to_rank
from dlcore.utils.checks import check_choice, check_integer, check_number

Norm: TypeAlias = Literal["spectral", "frobenius"]


def log_products(recurrence: Recurrence, norm: Norm = "spectral") -> jax.Array:
    """Computes ``log |d s_T / d s_{T-l}|`` exactly for every lag l; suited to small n.

    Args:
        recurrence: the recurrence that is measured.
        norm: ``"spectral"``, the largest factor of any direction, or ``"frobenius"``.

    Returns:
        An array ``[T + 1, B]`` whose entry l belongs to lag l. Lag 0 is log 1 (Frobenius: log sqrt n).

    Raises:
        ValueError: norm has another value; or as in `check_recurrence`.
        TypeError: as in `check_recurrence`.

    >>> halving = Recurrence(lambda w, s, x: w * s + x, 0.5, jnp.zeros((1, 1)), jnp.ones((3, 1, 1)))
    >>> log_norms = jax.jit(lambda: log_products(halving)[:, 0] / jnp.log(2))()
    >>> log_norms.round(4).tolist()
    [0.0, -1.0, -2.0, -3.0]
    """
    check_choice("norm", norm, ("spectral", "frobenius"))
    if norm == "spectral":
        return log_singular_values(recurrence)[..., 0]
    recurrence = check_recurrence(recurrence)
    return _measure_products(recurrence, _identity(recurrence), wide_range.log_norm)


def log_singular_values(recurrence: Recurrence) -> jax.Array:
    """Computes the logarithms of all singular values of ``d s_T / d s_{T-l}`` for every lag l.

    Only values within the dtype's precision of the product's largest one are meaningful (16 decades in float64); the
    smaller ones are rounding errors. `lyapunov.lyapunov_spectrum` resolves all directions.

    Args:
        recurrence: the recurrence that is measured.

    Returns:
        An array ``[T + 1, B, n]``: by lag, lag 0 first, the values of each row, largest first.

    Raises:
        ValueError: as in `check_recurrence`.
        TypeError: as in `check_recurrence`.
    """
    recurrence = check_recurrence(recurrence)
    return _measure_products(recurrence, _identity(recurrence), _log_singular_values)


def log_products_by_probes(
    recurrence: Recurrence, probes: int = 8, key: jax.Array | None = None
) -> jax.Array:
    """Estimates ``log |d s_T / d s_{T-l}|_F`` for every lag l at the cost of a few gradients.

    For m random orthonormal vectors u, ``E |u^T P|^2 = |P|_F^2 / n``. The probes are the same for all lags, so the
    slope over lags is exact as soon as one direction dominates, and the offset is the same factor at all of these lags
    (standard deviation in log10 about .1 with 8 probes, .035 with 64). ``probes >= n`` is exact.

    Args:
        recurrence: the recurrence that is measured.
        probes: m, the number of random vectors.
        key: random key of the probes; None: ``jax.random.key(0)``.

    Returns:
        An array ``[T + 1, B]`` whose entry l belongs to lag l.

    Raises:
        ValueError: probes is below 1; or as in `check_recurrence`.
        TypeError: probes is not an integer, or the key no random key; or as in `check_recurrence`.
    """
    recurrence = check_recurrence(recurrence)
    basis = random_basis(recurrence, check_integer("probes", probes), key)
    rows = wide_range.from_floats(jnp.swapaxes(basis, 1, 2), 2)
    log_share = jnp.log(basis.shape[1] / basis.shape[2])

    def measure(rows: WideRange) -> jax.Array:
        return wide_range.joint_log_norm(list(jnp.moveaxis(wide_range.log_norm(rows), 1, 0))) + log_share / 2

    return _measure_products(recurrence, rows, measure)


def log_products_by_subspace(
    recurrence: Recurrence,
    lags: Sequence[int],
    block: int = 4,
    rounds: int = 50,
    tolerance: float = 1e-5,
    key: jax.Array | None = None,
) -> jax.Array:
    """Computes ``log |d s_T / d s_{T-l}|_2`` at chosen lags by subspace iteration; suited to n of some hundreds.

    A round pushes columns S to the end and makes them orthonormal after every step, so that they do not become
    parallel; the product of the triangular factors is R with ``P S = Q R``. The singular vectors
    ``R = U diag(sigma) V^T`` then improve S: the next S holds the block ``X = S V`` that P stretches most, its image
    ``P^T Q U``, and the previous X (locally optimal block iteration, Knyazev 2001). So ``sigma_1`` only grows, up to
    the norm. Plain iteration, which only pushes a block and pulls it back, is as good at long lags, but not at short
    ones, where singular values are close together.

    Args:
        recurrence: the recurrence that is measured.
        lags: the lags, each 0 to T.
        block: number of columns of X; S has three times as many. If that is n or more, the result is exact.
        rounds: largest number of improvements of S.
        tolerance: from the second round on, the iteration ends after a round that adds less than this to the result of
            every row.
        key: random key of the first S; None: ``jax.random.key(0)``.

    Returns:
        An array ``[len(lags), B]``, in the order of ``lags``. Up to rounding it is never too large; if the rounds are
        enough, it is too small by at most a few times the tolerance.

    Raises:
        ValueError: a lag is outside 0 to T, block is below 1, or rounds or tolerance is below 0; or as in
            `check_recurrence`.
        TypeError: a lag, block or rounds is not an integer, the tolerance is no number, or the
            key no random key; or as in `check_recurrence`.
    """
    recurrence = check_recurrence(recurrence)
    steps, rounds = step_count(recurrence), check_integer("rounds", rounds, minimum=0)
    tolerance = check_number("tolerance", tolerance, "[0, inf)")
    lags = [
        check_integer("lags", lag, 0) for lag in (lags if isinstance(lags, Sequence) else np.atleast_1d(lags))
    ]
    if lags and max(lags) > steps:
        raise ValueError(f"lags: got {max(lags)}, expected at most the number of steps, {steps}")
    first = random_basis(recurrence, 3 * check_integer("block", block), key)
    if first.shape[1] == first.shape[2]:
        rounds = 0  # S already spans the whole space
    states, inputs = align_ends(recurrence)
    aligned = recurrence._replace(inputs=inputs, lengths=None)

    def at_lag(lag: jax.Array) -> jax.Array:
        def unfinished(search: _Search) -> jax.Array:
            rounding = 4 * jnp.finfo(search.value.dtype).eps * jnp.abs(search.value)
            growing = (search.growth > tolerance + rounding) | (search.rounds < 2)
            return (search.rounds < rounds) & jnp.any(growing)

        def improve(search: _Search) -> _Search:
            return _improve(aligned, states, lag, block, search)

        end, product = _push_to_end(aligned, states, lag, first)
        value = _log_singular_values(product)[:, 0]
        growth = jnp.full_like(value, jnp.inf)
        start = _Search(jnp.int32(0), value, growth, first, end, product.values, first[..., :block])
        return lax.while_loop(unfinished, improve, start).value

    chosen = jnp.array(lags, int)
    return _nan_beyond_start(lax.map(at_lag, chosen), chosen, recurrence.lengths)


class _Search(NamedTuple):
    """The state of a subspace iteration.

    Attributes:
        rounds: number of rounds done.
        value: ``[B]``, log sigma_1.
        growth: ``[B]``, what the last round added to it.
        basis: S ``[B, n, k]``.
        end: Q ``[B, n, k]``.
        product: R ``[B, k, k]`` without its power of two.
        leading: X ``[B, n, block]`` of the last round.
    """

    rounds: jax.Array
    value: jax.Array
    growth: jax.Array
    basis: jax.Array
    end: jax.Array
    product: jax.Array
    leading: jax.Array


def _improve(aligned: Recurrence, states: Tree, lag: jax.Array, block: int, search: _Search) -> _Search:
    left, right = decompositions.singular_vectors(search.product)
    leading = search.basis @ right[..., :block]
    image = _pull_from_end(aligned, states, lag, search.end @ left[..., :block])
    basis, _ = decompositions.qr(jnp.concatenate([leading, image, search.leading], axis=2))
    end, product = _push_to_end(aligned, states, lag, basis)
    value = _log_singular_values(product)[:, 0]
    return _Search(search.rounds + 1, value, value - search.value, basis, end, product.values, leading)


def _push_to_end(
    aligned: Recurrence, states: Tree, lag: jax.Array, basis: jax.Array
) -> tuple[jax.Array, WideRange]:
    """Computes ``P S = Q R``: Q ``[B, n, k]`` and R ``[B, k, k]`` for an orthonormal S ``[B, n, k]``."""
    steps = step_count(aligned)

    def body(t: jax.Array, carry: tuple[jax.Array, WideRange]) -> tuple[jax.Array, WideRange]:
        basis, product = carry
        _, pushed = push_tangents(aligned, at_step(states, t), at_step(aligned.inputs, t), basis)
        basis, triangle = decompositions.qr(pushed)
        return basis, wide_range.normalize(triangle @ product.values, product.exponent)

    identity = wide_range.from_floats(_identities(len(basis), basis.shape[2], basis.dtype), 1)
    return lax.fori_loop(steps - lag, steps, body, (basis, identity))


def _pull_from_end(aligned: Recurrence, states: Tree, lag: jax.Array, basis: jax.Array) -> jax.Array:
    """Computes an orthonormal basis of ``P^T Q``, ``[B, n, k]``."""
    steps = step_count(aligned)

    def body(distance: jax.Array, basis: jax.Array) -> jax.Array:
        t = steps - 1 - distance
        rows = jnp.swapaxes(basis, 1, 2)
        pulled = pull_cotangents(aligned, at_step(states, t), at_step(aligned.inputs, t), rows)
        return decompositions.qr(jnp.swapaxes(pulled, 1, 2))[0]

    return lax.fori_loop(0, lag, body, basis)


def _identity(recurrence: Recurrence) -> WideRange:
    like = flatten_state(recurrence.initial_state)
    return wide_range.from_floats(_identities(len(like), like.shape[1], like.dtype), 1)


def _identities(rows: int, size: int, dtype: Any) -> jax.Array:
    return jnp.broadcast_to(jnp.eye(size, dtype=dtype), (rows, size, size))


def _log_singular_values(product: WideRange) -> jax.Array:
    """Returns the log singular values of a product with values ``[B, m, n]``: ``[B, min(m, n)]``, largest first."""
    values = decompositions.singular_values(product.values)
    exponents = jnp.broadcast_to(product.exponent[:, None], values.shape)
    return wide_range.log_norm(wide_range.normalize(values[..., None], exponents))


def _measure_products(
    recurrence: Recurrence, rows: WideRange, measure: Callable[[WideRange], jax.Array]
) -> jax.Array:
    """Applies ``measure`` to the rows ``[B, m, n]`` times ``P_l``, for every lag l: ``[T + 1, B, ...]``."""
    states, inputs = align_ends(recurrence)

    def body(rows: WideRange, t: jax.Array) -> tuple[WideRange, jax.Array]:
        pulled = pull_cotangents(recurrence, at_step(states, t), at_step(inputs, t), rows.values)
        rows = wide_range.normalize(pulled, rows.exponent)
        return rows, measure(rows)

    steps = step_count(recurrence)
    _, values = lax.scan(body, rows, jnp.arange(steps), reverse=True)
    values = jnp.concatenate([measure(rows)[None], values[::-1]])
    return _nan_beyond_start(values, jnp.arange(steps + 1), recurrence.lengths)


def _nan_beyond_start(values: jax.Array, lags: jax.Array, lengths: jax.Array | None) -> jax.Array:
    """Sets ``values [L, B, ...]`` to NaN at lags ``[L]`` that are longer than the row."""
    if lengths is None:
        return values
    return jnp.where(expand_to_rank(lags[:, None] <= lengths, values.ndim), values, jnp.nan)
