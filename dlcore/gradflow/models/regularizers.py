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

from dlcore.gradflow.measures import wide_range
from dlcore.gradflow.measures.backward import backward_signal
from dlcore.gradflow.measures.lyapunov import lyapunov_spectrum, split_steps
from dlcore.gradflow.measures.recurrence import (
    Recurrence,
    Tree,
    check_recurrence,
    check_states,
    state_cotangents,
    trajectory,
)
from dlcore.gradflow.measures.tangents import flatten_state, pull_cotangents
from dlcore.gradflow.models.find_recurrences import ModelRecurrence, find_recurrences
from dlcore.ops.lengths import valid_steps
from dlcore.training.contract import check_returned
from dlcore.training.metrics import Average
from dlcore.utils.checks import check_callable, check_instance, check_integer, check_number, shown

Loss: TypeAlias = Callable[..., tuple[jax.Array, Any]]
Term: TypeAlias = Callable[[ModelRecurrence], jax.Array]
"""``recurrence -> scalar``, differentiable in the parameters of the recurrence."""


def regularized(loss: Loss, term: Term, weight: float) -> Loss:
    """Returns a loss that, in training, adds ``weight`` times the sum of ``term`` over the model's recurrences.

    A warning names the loops and cells that have no term, see `find_unmeasured`.

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
        ValueError: the weight is not finite; or the returned loss is called in training, and the model has no
            recurrence that `find_recurrences` finds.
        TypeError: loss or term is not a function, or the weight not a number.
    """
    check_callable("loss", loss, "the loss of an Experiment")
    check_callable("term", term, "dl.gradflow.omega or dl.gradflow.flossing()")
    weight = check_number("weight", weight)

    def with_term(params: Any, model_state: Any, batch: Any, rng: jax.Array, train: bool) -> Any:
        returned = loss(params, model_state, batch, rng, train)
        check_returned(returned)
        value, (new_state, metrics) = returned
        if not train:
            return value, (new_state, metrics)
        plain = lambda params, model_state, batch, rng: loss(params, model_state, batch, rng, False)[0]
        found = find_recurrences(plain, params, model_state, batch, rng)
        if not found:
            raise ValueError(
                "loss: got a model without a recurrence, expected one with a recurrent layer such as dl.Recurrent, or "
                "with jax.lax.scan"
            )
        terms = [term(recurrence) for recurrence in found]
        if any(value is None or jnp.shape(value) for value in terms):
            raise TypeError(f"term: got {shown(terms[0])} returned, expected a scalar array")
        total = sum(terms, start=jnp.zeros(()))
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

    Raises:
        TypeError: it is no `ModelRecurrence`.
    """
    check_instance("found", found, ModelRecurrence, "a ModelRecurrence from find_recurrences")
    recurrence = found.recurrence
    states = trajectory(recurrence)
    signal = backward_signal(recurrence, states, state_cotangents(found.loss, states)).values
    terms, lengths = omega_terms(recurrence, signal), recurrence.lengths
    return terms.sum() / jnp.maximum(terms.size if lengths is None else lengths.sum(), 1)


def flossing(exponents: int = 1, warm_up: int | None = None) -> Term:
    """Returns Engelken's term for `regularized`, a function that computes the `flossing_penalty` of a recurrence.

    Args:
        exponents: k, the number of Lyapunov exponents that are pulled to 0.
        warm_up: number of first steps that do not count, as in `lyapunov_spectrum`.

    Returns:
        The term, ``ModelRecurrence -> scalar``; it measures the ``recurrence`` in it.

    Raises:
        ValueError: exponents is below 1 or warm_up below 0.
        TypeError: exponents or warm_up is not an integer.
    """
    exponents = check_integer("exponents", exponents)
    warm_up = None if warm_up is None else check_integer("warm_up", warm_up, 0)
    return lambda found: flossing_penalty(found.recurrence, exponents, warm_up)


def flossing_penalty(
    recurrence: Recurrence, exponents: int = 1, warm_up: int | None = None, key: jax.Array | None = None
) -> jax.Array:
    """Computes ``1/k sum_i lambda_i^2`` of the k largest Lyapunov exponents, averaged over rows.

    The paper applies it for some hundred steps before training and now and then during training (Engelken 2023, arXiv
    2312.17306). It is differentiable; its gradient stores all T steps of the k directions. If a step loses one of the k
    directions, as dead ReLUs and a kernel of 0 do, an exponent is -inf and the penalty is not finite.

    Args:
        recurrence: the recurrence that shall keep its gradients.
        exponents: k, the number of directions in which gradients shall last.
        warm_up: number of first steps that do not count, as in `lyapunov_spectrum`.
        key: random key of the first directions, as in `lyapunov_spectrum`.

    Returns:
        A scalar array. Rows without a step after the warm-up do not count; it is 0 if no row counts. It is NaN if a row
        that counts has a state that is not finite.

    Raises:
        ValueError: as in `lyapunov_spectrum`.
        TypeError: as in `lyapunov_spectrum`.

    >>> halving = Recurrence(lambda w, s, x: w * s + x, 0.5, jnp.zeros((1, 1)), jnp.ones((8, 1, 1)))
    >>> (flossing_penalty(halving) / jnp.log(2) ** 2).round(3).tolist()
    1.0
    """
    recurrence = check_recurrence(recurrence)
    squares = lyapunov_spectrum(recurrence, exponents, warm_up, key=key) ** 2
    counts = split_steps(recurrence, warm_up)[1][:, None] > 0
    return jnp.where(counts, squares, 0).sum() / jnp.maximum(counts.sum() * squares.shape[1], 1)


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
        ValueError: the signal has another structure or other shapes than the states; or as in `check_recurrence`.
        TypeError: the signal holds something else than floating point arrays; or as in `check_recurrence`.

    >>> halving = Recurrence(lambda w, s, x: w * s + x, 0.5, jnp.zeros((1, 1)), jnp.ones((3, 1, 1)))
    >>> omega_terms(halving, jnp.ones((4, 1, 1)))[:, 0].tolist()
    [0.25, 0.25, 0.25]
    """
    recurrence, states, signal = check_states(recurrence, trajectory(recurrence), signal, "signal")
    states, signal = jax.lax.stop_gradient((states, signal))
    states_before = jax.tree.map(lambda array: array[:-1], states)
    signal_after = jax.tree.map(lambda array: array[1:], signal)

    def term(state: Tree, inputs: Tree, signal: Tree) -> jax.Array:
        vectors = wide_range.from_floats(flatten_state(signal)[:, None], 2).values
        return (_norm_ratio(pull_cotangents(recurrence, state, inputs, vectors), vectors)[:, 0] - 1) ** 2

    terms = jax.vmap(term)(states_before, recurrence.inputs, signal_after)
    if recurrence.lengths is None:
        return terms
    return jnp.where(valid_steps(recurrence.lengths, len(terms)).T, terms, 0)


def _norm_ratio(these: jax.Array, others: jax.Array) -> jax.Array:
    """``|these| / |others|`` along the last axis; 1 where others are 0.

    Both are brought to numbers about 1 before they are squared, since the square of a small number is 0.
    """
    (above, high), (below, low) = (
        wide_range.from_floats(vectors, vectors.ndim - 1) for vectors in (these, others)
    )
    squares, norms = (jnp.sum(vectors**2, axis=-1) for vectors in (above, below))
    lost, none = squares == 0, norms == 0  # a norm of 0 has no derivative
    ratio = jnp.sqrt(jnp.where(lost | none, 1, squares / jnp.where(none, 1, norms)))
    power = wide_range.power_of_two(jnp.where(lost | none, 0, high - low), ratio.dtype)
    return jnp.where(none, 1, jnp.where(lost, 0, ratio * power))
