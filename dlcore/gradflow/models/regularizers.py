"""Terms of a loss that keep gradients alive, for every recurrence in an experiment's model.

With the functions of an `Experiment`:

    experiment = dataclasses.replace(experiment, loss=regularized(experiment.loss, flossing(), weight=0.1))
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from dlcore.gradflow.measures import backward
from dlcore.gradflow.measures.lyapunov import lyapunov_spectrum
from dlcore.gradflow.measures.recurrence import Recurrence, Tree, state_cotangents, trajectory
from dlcore.gradflow.measures.tangents import flatten_state, pull_cotangents
from dlcore.gradflow.models.find_recurrences import ModelRecurrence, find_recurrences
from dlcore.train.metrics import Average

Loss: TypeAlias = Callable[..., tuple[jax.Array, Any]]
Term: TypeAlias = Callable[[ModelRecurrence], jax.Array]
"""``chain -> scalar``, differentiable in the parameters of the chain's recurrence."""


def regularized(loss: Loss, term: Term, weight: float) -> Loss:
    """``loss + weight * sum of term(chain)`` over the model's chains in training; the loss alone in evaluation.

    Training logs the sum, without its weight, as ``regularizer``. It runs the model again, without dropout.

    Args:
        loss: of an `Experiment`: ``loss(params, model_state, batch, rng, train) -> loss, (model_state, metrics)``.
        term: `omega`, `flossing`, or one of your own.
        weight: of the term.

    Raises (when the result is traced):
        ValueError: the model runs no cell through a recurrent layer of dlcore.
    """

    def with_term(params: Any, model_state: Any, batch: Any, rng: jax.Array, train: bool) -> Any:
        value, (new_state, metrics) = loss(params, model_state, batch, rng, train)
        if not train:
            return value, (new_state, metrics)
        found = find_recurrences(lambda: loss(params, model_state, batch, rng, False)[0])
        if not found:
            raise ValueError(
                "loss: got a model without recurrent layers, expected one with dl.Recurrent, dl.Bidirectional or "
                "dl.DeepRecurrent, through which its cells run"
            )
        total = sum((term(chain) for chain in found), start=jnp.zeros(()))
        return value + weight * total, (new_state, {**metrics, "regularizer": Average.of(total[None])})

    return with_term


def omega(chain: ModelRecurrence) -> jax.Array:
    """Pascanu's term, the mean of `normality.omega` over all rows' own steps: none shall change the signal's norm.

    (Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063, section 3.3.)
    """
    states = trajectory(chain.recurrence)
    signal = backward.backward_signal(chain.recurrence, states, state_cotangents(chain.loss, states)).values
    terms, lengths = omega_terms(chain.recurrence, signal), chain.recurrence.lengths
    return terms.mean() if lengths is None else terms.sum() / jnp.maximum(lengths.sum(), 1)


def flossing(exponents: int = 1, warm_up: int | None = None) -> Term:
    """Engelken's term, `flossing.penalty` of each chain: so many Lyapunov exponents shall be 0."""
    return lambda chain: flossing_penalty(chain.recurrence, exponents, warm_up)


def flossing_penalty(
    recurrence: Recurrence, exponents: int = 1, warm_up: int | None = None, key: jax.Array | None = None
) -> jax.Array:
    """``1/k sum_i lambda_i^2`` of the first k exponents, the mean over rows (Engelken 2023, arXiv 2312.17306).

    The paper flosses some hundred steps before training and now and then within it. Differentiable; its gradient
    stores all T steps of the k directions. Where a step loses one of the k directions, as dead ReLUs and a kernel of 0
    do, an exponent is -inf, and the penalty is not finite.

    Args:
        recurrence: what is to keep its gradients. exponents: k, so many directions in which they shall last.
        warm_up, key: of `lyapunov.spectrum`.

    Returns:
        A scalar; rows without a step behind the warm-up do not count.

    Raises:
        ValueError, TypeError: as `lyapunov.spectrum`.

    >>> halving = Recurrence(lambda w, s, x: w * s + x, 0.5, jnp.zeros((1, 1)), jnp.ones((8, 1, 1)))
    >>> (penalty(halving) / jnp.log(2) ** 2).round(3).tolist()
    1.0
    """
    squares = lyapunov_spectrum(recurrence, exponents, warm_up, key=key) ** 2
    counted = ~jnp.isnan(squares)
    return jnp.where(counted, squares, 0).sum() / jnp.maximum(counted.sum(), 1)


def omega_terms(recurrence: Recurrence, signal: Tree) -> jax.Array:
    """Pascanu's regularizer, term by term: how much a step back changes the norm of the signal that passes it.

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
        after = flatten_state(after)[:, None]
        return (_norm_ratio(pull_cotangents(recurrence, state, inputs, after), after)[:, 0] - 1) ** 2

    behind = jax.tree.map(lambda array: array[1:], signal)
    terms = jax.vmap(term)(before, recurrence.inputs, behind)
    if recurrence.lengths is None:
        return terms
    return jnp.where(jnp.arange(len(terms))[:, None] < recurrence.lengths, terms, 0)


def _norm_ratio(these: jax.Array, others: jax.Array) -> jax.Array:
    """``|these| / |others|`` along the last axis; 1 where others are 0."""
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(others), axis=-1, keepdims=True))
    some = largest[..., 0] > 0
    largest = jnp.where(largest > 0, largest, 1)
    squares = [jnp.sum((vectors / largest) ** 2, axis=-1) for vectors in (these, others)]
    lost = squares[0] == 0  # the norm has no derivative there
    above, below = jnp.sqrt(jnp.where(lost, 1, squares[0])), jnp.sqrt(jnp.where(some, squares[1], 1))
    return jnp.where(some, jnp.where(lost, 0, above) / below, 1)
