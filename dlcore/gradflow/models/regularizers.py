"""Terms of a loss that keep gradients alive in every recurrence of an experiment's model.

`regularized` adds a term to the loss of an `Experiment`. There are two terms: `omega` keeps the norm of the backward
signal, `flossing` keeps Lyapunov exponents at 0.

    experiment = dataclasses.replace(experiment, loss=regularized(experiment.loss, flossing(), weight=0.1))

`omega_terms` and `flossing_penalty` are the same terms for a single `Recurrence`.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from dlcore.gradflow.measures.backward import backward_signal
from dlcore.gradflow.measures.lyapunov import lyapunov_spectrum
from dlcore.gradflow.measures.recurrence import Recurrence, Tree, state_cotangents, trajectory
from dlcore.gradflow.measures.tangents import flatten_state, pull_cotangents
from dlcore.gradflow.models.find_recurrences import ModelRecurrence, find_recurrences
from dlcore.ops.lengths import valid_steps
from dlcore.train.metrics import Average

Loss: TypeAlias = Callable[..., tuple[jax.Array, Any]]
Term: TypeAlias = Callable[[ModelRecurrence], jax.Array]
"""``recurrence -> scalar``, differentiable in the parameters of the recurrence."""


def regularized(loss: Loss, term: Term, weight: float) -> Loss:
    """Returns a loss that, in training, adds ``weight`` times the sum of ``term`` over the model's recurrences.

    In evaluation it is the given loss alone. In training it also runs the model as in evaluation (``train=False``):
    once to find the recurrences, and again for each one whose loss the term uses, as `omega` does. It adds the metric
    ``regularizer``, the sum without its weight.

    Args:
        loss: the loss of an `Experiment`, ``loss(params, model_state, batch, rng, train) -> loss, (model_state,
            metrics)``.
        term: `omega`, ``flossing()``, or a function of your own.
        weight: the factor of the term.

    Returns:
        A loss with the same arguments and results.

    Raises:
        ValueError: the returned loss is called in training, and the model runs no cell through a recurrent layer of
            dlcore, or runs one under a transformation, as in `find_recurrences`.
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
        total = sum((term(recurrence) for recurrence in found), start=jnp.zeros(()))
        return value + weight * total, (new_state, {**metrics, "regularizer": Average.of(total[None])})

    return with_term


def omega(found: ModelRecurrence) -> jax.Array:
    """Pascanu's term for `regularized`: the mean of `omega_terms` over the valid steps of all rows.

    It is 0 if no step changes the norm of the backward signal (Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063, section
    3.3).

    Args:
        found: one recurrence of a model.

    Returns:
        A scalar array.
    """
    recurrence = found.recurrence
    states = trajectory(recurrence)
    signal = backward_signal(recurrence, states, state_cotangents(found.loss, states)).values
    terms, lengths = omega_terms(recurrence, signal), recurrence.lengths
    return terms.mean() if lengths is None else terms.sum() / jnp.maximum(lengths.sum(), 1)


def flossing(exponents: int = 1, warm_up: int | None = None) -> Term:
    """Returns Engelken's term for `regularized`, a function that computes the `flossing_penalty` of a recurrence.

    Args:
        exponents: k, the number of Lyapunov exponents that are pulled to 0.
        warm_up: number of first steps that do not count, as in `lyapunov_spectrum`.

    Returns:
        The term, ``ModelRecurrence -> scalar``; it measures the ``recurrence`` in it.
    """
    return lambda found: flossing_penalty(found.recurrence, exponents, warm_up)


def flossing_penalty(
    recurrence: Recurrence, exponents: int = 1, warm_up: int | None = None, key: jax.Array | None = None
) -> jax.Array:
    """Computes ``1/k sum_i lambda_i^2`` of the k largest Lyapunov exponents, averaged over rows.

    The paper applies it for some hundred steps before training and now and then during training (Engelken 2023, arXiv
    2312.17306). It is differentiable; its gradient stores all T steps of the k directions. If a step maps one of the k
    directions to exactly 0, as dead ReLUs and a kernel of 0 do, an exponent is -inf and the penalty is not finite.

    Args:
        recurrence: the recurrence that shall keep its gradients.
        exponents: k, the number of directions in which gradients shall last.
        warm_up: number of first steps that do not count, as in `lyapunov_spectrum`.
        key: random key of the first directions, as in `lyapunov_spectrum`.

    Returns:
        A scalar array. Rows whose exponents are NaN, such as rows without a step after the warm-up, do not count; it is
        0 if no row counts.

    Raises:
        ValueError: as in `lyapunov_spectrum`.
        TypeError: as in `lyapunov_spectrum`.

    >>> halving = Recurrence(lambda w, s, x: w * s + x, 0.5, jnp.zeros((1, 1)), jnp.ones((8, 1, 1)))
    >>> (flossing_penalty(halving) / jnp.log(2) ** 2).round(3).tolist()
    1.0
    """
    squares = lyapunov_spectrum(recurrence, exponents, warm_up, key=key) ** 2
    known = ~jnp.isnan(squares)
    return jnp.where(known, squares, 0).sum() / jnp.maximum(known.sum(), 1)


def omega_terms(recurrence: Recurrence, signal: Tree) -> jax.Array:
    """Pascanu's regularizer, term by term: how much one step back changes the norm of the signal.

        Omega_k = (|dL/ds_{k+1} J_{k+1}| / |dL/ds_{k+1}| - 1)^2

    (Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063, section 3.3). As a term of a loss it keeps the signal's norm:

        states = trajectory(recurrence)
        delta = backward_signal(recurrence, states, state_cotangents(loss, states)).values
        total = loss(states) + weight * omega_terms(recurrence, delta).sum(axis=0).mean()

    Here loss is a function of the states, and the recurrence holds the parameters that are learned. As in the paper,
    the derivative takes states and signal as constants: only the direct dependence of ``J_{k+1}`` on the parameters
    counts.

    Args:
        recurrence: the recurrence that is measured.
        signal: ``dL/ds_t``, the whole derivative, a tree like the states, of arrays ``[T + 1, B, ...]``. Only its
            direction counts. If the signal leaves the range of floats, pass any multiple of it, such as one of norm 1
            for each t and row.

    Returns:
        An array ``[T, B]`` whose entry k is Omega_k, k = 0 .. T - 1; 0 where there is no signal, and in the padding of
        a row.

    Raises:
        ValueError: as in `check_recurrence`.
        TypeError: lengths are not integers.

    >>> halving = Recurrence(lambda w, s, x: w * s + x, 0.5, jnp.zeros((1, 1)), jnp.ones((3, 1, 1)))
    >>> omega_terms(halving, jnp.ones((4, 1, 1)))[:, 0].tolist()
    [0.25, 0.25, 0.25]
    """
    states, signal = jax.lax.stop_gradient((trajectory(recurrence), signal))
    states_before = jax.tree.map(lambda array: array[:-1], states)
    signal_after = jax.tree.map(lambda array: array[1:], signal)

    def term(state: Tree, inputs: Tree, signal: Tree) -> jax.Array:
        vectors = flatten_state(signal)[:, None]
        return (_norm_ratio(pull_cotangents(recurrence, state, inputs, vectors), vectors)[:, 0] - 1) ** 2

    terms = jax.vmap(term)(states_before, recurrence.inputs, signal_after)
    if recurrence.lengths is None:
        return terms
    return jnp.where(valid_steps(recurrence.lengths, len(terms)).T, terms, 0)


def _norm_ratio(these: jax.Array, others: jax.Array) -> jax.Array:
    """``|these| / |others|`` along the last axis; 1 where others are 0."""
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(others), axis=-1, keepdims=True))
    some = largest[..., 0] > 0
    largest = jnp.where(largest > 0, largest, 1)
    squares = [jnp.sum((vectors / largest) ** 2, axis=-1) for vectors in (these, others)]
    lost = squares[0] == 0  # a norm of 0 has no derivative
    above, below = jnp.sqrt(jnp.where(lost, 1, squares[0])), jnp.sqrt(jnp.where(some, squares[1], 1))
    return jnp.where(some, jnp.where(lost, 0, above) / below, 1)
