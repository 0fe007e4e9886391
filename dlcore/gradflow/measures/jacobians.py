"""How much of a change of ``s_{T-l}`` arrives in ``s_T``: norms of products of Jacobians, for all lags l.

    P_l = d s_T / d s_{T-l} = J_T J_{T-1} ... J_{T-l+1},        J_t = d s_t / d s_{t-1}

is the product in the lecture's double sum (gradient flow in simple RNNs), where repeated multiplication lets gradients
vanish or explode (Bengio, Simard & Frasconi 1994; Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063). Its norm leaves
every floating point range within a few hundred steps, so products are carried as values times a power of two
(`scaled`).

Results are natural logarithms: ``-inf`` is a derivative of exactly 0, as of a dead ReLU. Row b's T is its own
length; NaN are lags that reach beyond its beginning, and those that pass a state that is not finite
(`first_nonfinite` says where).

| | norm | lags | costs, in derivatives of a step |
| --- | --- | --- | --- |
| `log_products` | spectral or Frobenius, exact | all | ``n`` and an SVD a step |
| `log_products_by_probes` | Frobenius, estimated | all | ``probes`` a step |
| `log_products_by_subspace` | spectral, converging | chosen | ``4 block`` and two QR a step, for each lag and round |
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax

from dlcore.gradflow.measures import decompositions, wide_range
from dlcore.gradflow.measures.recurrence import Recurrence, Tree, at_step, check_recurrence, step_count
from dlcore.gradflow.measures.tangents import align_ends, flatten_state, pull_cotangents, push_tangents
from dlcore.gradflow.measures.wide_range import WideRange
from dlcore.utils.checks import check_integer

Norm: TypeAlias = Literal["spectral", "frobenius"]


def log_products(recurrence: Recurrence, norm: Norm = "spectral") -> jax.Array:
    """``log |d s_T / d s_{T-l}|`` for every lag l, exact: for small n.

    Args:
        recurrence: what is measured. norm: ``"spectral"``, the largest factor of any direction, or ``"frobenius"``.

    Returns:
        ``[T + 1, B]``, lag 0 first, which is log 1 (Frobenius: log sqrt n).

    Raises:
        ValueError: another norm.

    >>> halving = Recurrence(lambda w, s, x: w * s + x, 0.5, jnp.zeros((1, 1)), jnp.ones((3, 1, 1)))
    >>> (log_products(halving)[:, 0] / jnp.log(2)).round(4).tolist()
    [0.0, -1.0, -2.0, -3.0]
    """
    if norm not in ("spectral", "frobenius"):
        raise ValueError(f'norm: got {norm!r}, expected "spectral" or "frobenius"')
    if norm == "spectral":
        return log_singular_values(recurrence)[..., 0]
    return _pull_back(recurrence, _identity(recurrence), wide_range.log_norm)


def log_singular_values(recurrence: Recurrence) -> jax.Array:
    """The logarithms of all singular values of ``d s_T / d s_{T-l}``: ``[T + 1, B, n]``, largest first.

    Of each product those are resolved that lie within the dtype's precision of the largest one, 16 decades in
    float64; the smaller ones are rounding. `lyapunov.spectrum` resolves all.
    """

    return _pull_back(recurrence, _identity(recurrence), _log_singular_values)


def log_products_by_probes(
    recurrence: Recurrence, probes: int = 8, key: jax.Array | None = None
) -> jax.Array:
    """Estimates of ``log |d s_T / d s_{T-l}|_F`` for every lag l at the cost of a few gradients.

    For m random orthonormal vectors u, ``E |u^T P|^2 = |P|_F^2 / n``. The probes are the same for all lags, so that
    the slope over lags is exact as soon as one direction dominates; the offset is off by the same factor everywhere
    (8 probes: standard deviation about .1 in log10). ``probes >= n`` is exact.

    Args:
        recurrence: what is measured. probes: m. key: of the probes; None: ``jax.random.key(0)``.

    Returns:
        ``[T + 1, B]``, lag 0 first.

    Raises:
        ValueError: probes below 1. TypeError: probes is no integer.
    """
    basis = random_basis(recurrence, check_integer("probes", probes), key)
    rows = wide_range.from_floats(jnp.swapaxes(basis, 1, 2), 2)
    log_share = jnp.log(basis.shape[1] / basis.shape[2])

    def measure(rows: WideRange) -> jax.Array:
        return wide_range.joint_log_norm(list(jnp.moveaxis(wide_range.log_norm(rows), 1, 0))) + log_share / 2

    return _pull_back(recurrence, rows, measure)


def log_products_by_subspace(
    recurrence: Recurrence,
    lags: Sequence[int],
    block: int = 4,
    rounds: int = 50,
    tolerance: float = 1e-5,
    key: jax.Array | None = None,
) -> jax.Array:
    """``log |d s_T / d s_{T-l}|_2`` at chosen lags by subspace iteration: for n of hundreds.

    Columns S are pushed to the end, and made orthonormal after every step, so that they do not fall together; the
    triangular factors multiply to R with ``P S = Q R``. The singular vectors ``R = U diag(sigma) V^T`` make S better:
    the next one holds the block ``X = S V`` that P stretches most, its image ``P^T Q U``, and the last X (locally
    optimal block iteration, Knyazev 2001). So ``sigma_1`` only grows, up to the norm. A block that is only pushed and
    pulled back, by itself, is as good at long lags, but not at short ones, where singular values lie close together.

    Args:
        recurrence: what is measured. lags: each 0 to T. block: columns of X; S has three times as many, and where
            that is n or more, the result is exact. rounds: at most so many improvements of S.
        tolerance: of the result; a round that adds less in every row is the last one. key: of the first S; None:
            ``jax.random.key(0)``.

    Returns:
        ``[len(lags), B]``, too small by a few times the tolerance at most where the rounds are enough.

    Raises:
        ValueError: a lag outside 0..T, block below 1, rounds below 0. TypeError: no integers.
    """
    steps, rounds = step_count(recurrence), check_integer("rounds", rounds, minimum=0)
    lags = [check_integer("lags", lag, minimum=0) for lag in lags]
    if lags and max(lags) > steps:
        raise ValueError(f"lags: got {max(lags)}, expected at most the number of steps, {steps}")
    first = random_basis(recurrence, 3 * check_integer("block", block), key)
    if first.shape[1] == first.shape[2]:
        rounds = 0  # S is complete
    states, inputs = align_ends(recurrence)
    chain = recurrence._replace(inputs=inputs, lengths=None)

    def over(lag: jax.Array) -> jax.Array:
        def improved(carry: tuple[jax.Array, ...]) -> tuple[Any, ...]:
            number, value, _, basis, end, product, last = carry
            left, right = decompositions.singular_vectors(product)
            leading, image = (
                basis @ right[..., :block],
                _pull_from_end(chain, states, lag, end @ left[..., :block]),
            )
            basis, _ = decompositions.qr(jnp.concatenate([leading, image, last], axis=2))
            end, numbers = _push_to_end(chain, states, lag, basis)
            return number + 1, *_value_and_gain(numbers, value), basis, end, numbers.values, leading

        def unfinished(carry: tuple[jax.Array, ...]) -> jax.Array:
            number, value, gain, *_ = carry
            rounding = 4 * jnp.finfo(value.dtype).eps * jnp.abs(value)
            return (number < rounds) & jnp.any((gain > tolerance + rounding) | (number < 2))

        end, numbers = _push_to_end(chain, states, lag, first)
        value, gain = _value_and_gain(numbers, jnp.full_like(first[:, 0, 0], -jnp.inf))
        start = jnp.int32(0), value, gain, first, end, numbers.values, first[..., :block]
        return lax.while_loop(unfinished, improved, start)[1]

    chosen = jnp.array(lags, int)
    return _within_rows(lax.map(over, chosen), chosen, recurrence.lengths)


def _push_to_end(
    chain: Recurrence, states: Tree, lag: jax.Array, basis: jax.Array
) -> tuple[jax.Array, WideRange]:
    """``P S = Q R``: Q ``[B, n, k]`` and R ``[B, k, k]`` of an orthonormal S ``[B, n, k]``."""
    steps = step_count(chain)

    def body(number: jax.Array, carry: tuple[jax.Array, WideRange]) -> tuple[jax.Array, WideRange]:
        basis, product = carry
        _, pushed = push_tangents(chain, at_step(states, number), at_step(chain.inputs, number), basis)
        basis, triangle = decompositions.qr(pushed)
        return basis, wide_range.normalize(triangle @ product.values, product.exponent)

    identity = wide_range.from_floats(_identities(len(basis), basis.shape[2], basis.dtype), 1)
    return lax.fori_loop(steps - lag, steps, body, (basis, identity))


def _pull_from_end(chain: Recurrence, states: Tree, lag: jax.Array, basis: jax.Array) -> jax.Array:
    """An orthonormal basis of ``P^T Q``, ``[B, n, k]``."""
    steps = step_count(chain)

    def body(back: jax.Array, basis: jax.Array) -> jax.Array:
        number = steps - 1 - back
        pulled = pull_cotangents(
            chain, at_step(states, number), at_step(chain.inputs, number), jnp.swapaxes(basis, 1, 2)
        )
        return decompositions.qr(jnp.swapaxes(pulled, 1, 2))[0]

    return lax.fori_loop(0, lag, body, basis)


def _value_and_gain(product: WideRange, before: jax.Array) -> tuple[jax.Array, jax.Array]:
    value = _log_singular_values(product)[:, 0]
    return value, value - before


def random_basis(recurrence: Recurrence, columns: int, key: jax.Array | None = None) -> jax.Array:
    """Random orthonormal columns ``[B, n, min(columns, n)]``, those of each row its own."""
    like = flatten_state(check_recurrence(recurrence))
    key = jax.random.key(0) if key is None else key
    shape = (*like.shape, min(columns, like.shape[1]))
    return decompositions.qr(jax.random.normal(key, shape, like.dtype))[0]


def _identity(recurrence: Recurrence) -> WideRange:
    like = flatten_state(check_recurrence(recurrence))
    return wide_range.from_floats(_identities(len(like), like.shape[1], like.dtype), 1)


def _identities(rows: int, size: int, dtype: Any) -> jax.Array:
    return jnp.broadcast_to(jnp.eye(size, dtype=dtype), (rows, size, size))


def _log_singular_values(product: WideRange) -> jax.Array:
    """Of ``values [B, m, n]``: ``[B, min(m, n)]``, largest first."""
    values = decompositions.singular_values(product.values)
    exponents = jnp.broadcast_to(product.exponent[:, None], values.shape)
    return wide_range.log_norm(wide_range.normalize(values[..., None], exponents))


def _pull_back(
    recurrence: Recurrence, rows: WideRange, measure: Callable[[WideRange], jax.Array]
) -> jax.Array:
    """``measure`` of the rows ``[B, m, n]`` times ``P_l``, for every lag l: ``[T + 1, B, ...]``."""
    states, inputs = align_ends(recurrence)

    def body(rows: WideRange, number: jax.Array) -> tuple[WideRange, jax.Array]:
        pulled = pull_cotangents(recurrence, at_step(states, number), at_step(inputs, number), rows.values)
        rows = wide_range.normalize(pulled, rows.exponent)
        return rows, measure(rows)

    steps = step_count(recurrence)
    _, values = lax.scan(body, rows, jnp.arange(steps), reverse=True)
    values = jnp.concatenate([measure(rows)[None], values[::-1]])
    return _within_rows(values, jnp.arange(steps + 1), recurrence.lengths)


def _within_rows(values: jax.Array, lags: jax.Array, lengths: jax.Array | None) -> jax.Array:
    """NaN in ``values [L, B, ...]`` at lags ``[L]`` that are longer than a row."""
    if lengths is None:
        return values
    inside = lags[:, None] <= lengths
    return jnp.where(inside.reshape(*inside.shape, *[1] * (values.ndim - 2)), values, jnp.nan)
