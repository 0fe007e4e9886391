"""What bounds gradient flow, what keeps it level, and why a spectrum of eigenvalues does not tell all of it."""

import jax
import jax.numpy as jnp

from dlcore.gradflow import decompositions
from dlcore.gradflow.recurrence import Recurrence, Tree, trajectory
from dlcore.gradflow.tangents import flatten, pull


def log_bound(recurrent_kernel: jax.Array, max_slope: float = 1.0) -> jax.Array:
    """The rate that no gradient of a plain RNN exceeds: ``log(sigma_max(U) max|phi'|)``, in nats a step.

    With ``h_t = phi(x_t W + h_{t-1} U + b)`` is ``|dh_T / dh_{T-l}| <= exp(l bound)``; below 0 gradients must vanish,
    above they may do anything (Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063, section 2.1).

    Args:
        recurrent_kernel: U ``[*batch, H, H]``.
        max_slope: ``max |phi'|``, 1 of tanh, ReLU and the identity, 1/4 of the sigmoid.

    Returns:
        ``[*batch]``.

    >>> (log_bound(jnp.diag(jnp.array([2.0, 0.1])), max_slope=0.25) / jnp.log(2)).round(4).tolist()
    -1.0
    """
    return jnp.log(decompositions.singular_values(recurrent_kernel)[..., 0] * max_slope)


def omega(recurrence: Recurrence, signal: Tree) -> jax.Array:
    """Pascanu's regulariser, term by term: how much a step back changes the norm of the signal that passes it.

        Omega_k = (|dL/ds_{k+1} J_{k+1}| / |dL/ds_{k+1}| - 1)^2

    (Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063, section 3.3). As a term of a loss it keeps the signal's norm:

        states = trajectory(recurrence)
        delta = backward.signal(recurrence, states, direct(loss, states)).values
        total = loss(states) + weight * omega(recurrence, delta).sum(axis=0).mean()

    where loss is a function of the states, and the recurrence holds the parameters that are learned. The paper's
    derivative takes states and signal as constants, and so does this one: it is that of ``J_{k+1}`` in its direct
    dependence on the parameters.

    Args:
        recurrence: what is measured.
        signal: ``dL/ds_t``, all of it, as arrays ``[T + 1, B, ...]``. Its direction alone counts, so any multiple of
            it will do, one of norm 1 for each t and row too, where the signal itself leaves the floating point range.

    Returns:
        ``[T, B]``, k = 0 first; 0 where there is no signal, and in a row's padding.

    >>> halving = Recurrence(lambda w, s, x: w * s + x, 0.5, jnp.zeros((1, 1)), jnp.ones((3, 1, 1)))
    >>> omega(halving, jnp.ones((4, 1, 1)))[:, 0].tolist()
    [0.25, 0.25, 0.25]
    """
    states, signal = jax.lax.stop_gradient((trajectory(recurrence), signal))
    before = jax.tree.map(lambda array: array[:-1], states)

    def term(state: Tree, inputs: Tree, after: Tree) -> jax.Array:
        after = flatten(after)[:, None]
        return (_norm_ratio(pull(recurrence, state, inputs, after), after)[:, 0] - 1) ** 2

    behind = jax.tree.map(lambda array: array[1:], signal)
    terms = jax.vmap(term)(before, recurrence.inputs, behind)
    if recurrence.lengths is None:
        return terms
    return jnp.where(jnp.arange(len(terms))[:, None] < recurrence.lengths, terms, 0)


def departure_from_normality(matrix: jax.Array) -> jax.Array:
    """Henrici's number ``sqrt(|A|_F^2 - sum |lambda_i|^2)``: 0 of a symmetric, orthogonal or other normal matrix.

    Where it is large, ``|A^l|`` grows for some lags although all eigenvalues are below 1: gradients explode before
    they vanish (Henrici 1962; of RNNs Kerg et al. 2019, arXiv 1905.12080). Computed without the difference, as the
    norm of the strictly upper part of A's Schur form. On a CPU only, where JAX has that.

    Args:
        matrix: A ``[*batch, n, n]``.

    Returns:
        ``[*batch]``.

    >>> departure_from_normality(jnp.array([[0.5, 3.0], [0.0, 0.5]])).tolist()
    3.0
    """
    upper = jnp.triu(decompositions.schur(matrix), 1)
    return jnp.sqrt(jnp.sum(jnp.abs(upper) ** 2, axis=(-2, -1)))


def _norm_ratio(these: jax.Array, others: jax.Array) -> jax.Array:
    """``|these| / |others|`` along the last axis; 1 where others are 0."""
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(others), axis=-1, keepdims=True))
    some = largest[..., 0] > 0
    largest = jnp.where(largest > 0, largest, 1)
    squares = [jnp.sum((vectors / largest) ** 2, axis=-1) for vectors in (these, others)]
    lost = squares[0] == 0  # the norm has no derivative there
    above, below = jnp.sqrt(jnp.where(lost, 1, squares[0])), jnp.sqrt(jnp.where(some, squares[1], 1))
    return jnp.where(some, jnp.where(lost, 0, above) / below, 1)
