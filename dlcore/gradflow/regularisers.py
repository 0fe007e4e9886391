"""Terms of a loss that keep gradients alive, for every recurrence in an experiment's model.

With the functions of an `Experiment`:

    experiment = dataclasses.replace(experiment, loss=regularised(experiment.loss, flossing(), weight=0.1))
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from dlcore.gradflow import backward, normality
from dlcore.gradflow.chains import Chain, chains
from dlcore.gradflow.flossing import penalty
from dlcore.gradflow.recurrence import direct, trajectory
from dlcore.metrics import Average

Loss: TypeAlias = Callable[..., tuple[jax.Array, Any]]
Term: TypeAlias = Callable[[Chain], jax.Array]
"""``chain -> scalar``, differentiable in the parameters of the chain's recurrence."""


def regularised(loss: Loss, term: Term, weight: float) -> Loss:
    """``loss + weight * sum of term(chain)`` over the model's chains in training; the loss alone in evaluation.

    Training logs the sum, without its weight, as ``regulariser``. It runs the model again, without dropout.

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
        found = chains(lambda: loss(params, model_state, batch, rng, False)[0])
        if not found:
            raise ValueError(
                "loss: got a model without recurrent layers, expected one with dl.Recurrent, dl.Bidirectional or "
                "dl.DeepRecurrent, through which its cells run"
            )
        total = sum((term(chain) for chain in found), start=jnp.zeros(()))
        return value + weight * total, (new_state, {**metrics, "regulariser": Average.of(total[None])})

    return with_term


def omega(chain: Chain) -> jax.Array:
    """Pascanu's term, the mean of `normality.omega` over all rows' own steps: none shall change the signal's norm.

    (Pascanu, Mikolov & Bengio 2013, arXiv 1211.5063, section 3.3.)
    """
    states = trajectory(chain.recurrence)
    signal = backward.signal(chain.recurrence, states, direct(chain.loss, states)).values
    terms, lengths = normality.omega(chain.recurrence, signal), chain.recurrence.lengths
    return terms.mean() if lengths is None else terms.sum() / jnp.maximum(lengths.sum(), 1)


def flossing(exponents: int = 1, warm_up: int | None = None) -> Term:
    """Engelken's term, `flossing.penalty` of each chain: so many Lyapunov exponents shall be 0."""
    return lambda chain: penalty(chain.recurrence, exponents, warm_up)
