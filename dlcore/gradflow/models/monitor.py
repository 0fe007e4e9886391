"""Gradient flow while a model trains: how much it learns over which distance in time, every few steps."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from dlcore.gradflow.measures.lags import log_by_lag
from dlcore.gradflow.measures.recurrence import state_cotangents, step_count, trajectory
from dlcore.gradflow.models.find_recurrences import ModelRecurrence, find_recurrences

LAGS = (0, 1, 2, 4, 8, 16, 32)

Monitor: TypeAlias = Callable[[Any, Any], Mapping[str, float]]
"""``params, model_state -> {name: number}``."""


def make_monitor(loss: Callable[[Any, Any], jax.Array]) -> Monitor:
    """A function of a model's state that gives the gradient's norm by lag, for each recurrence of the model.

    Its numbers are ``CHAIN/log10_lag_L`` for the lags 0, 1, 2, 4, ... 32 that the sequences have: the logarithm of the
    norm of what the parameters learn over this distance (see `lags.log_by_lag`), which vanishing shows long before the
    gradient's own norm does; -inf where it is exactly 0.

    Args:
        loss: ``loss(params, model_state)`` runs the model without dropout on a few rows, always the same ones, and
            returns a scalar.
    """

    @jax.jit
    def run(params: Any, model_state: Any) -> dict[str, jax.Array]:
        return {chain.name: _by_lag(chain) for chain in find_recurrences(lambda: loss(params, model_state))}

    def measure(params: Any, model_state: Any) -> dict[str, float]:
        return {
            f"{chain}/log10_lag_{lag}": float(value)
            for chain, values in jax.device_get(run(params, model_state)).items()
            for lag, value in zip(LAGS, values / np.log(10), strict=False)
        }

    return measure


def _by_lag(chain: ModelRecurrence) -> jax.Array:
    states = trajectory(chain.recurrence)
    lags = [lag for lag in LAGS if lag < step_count(chain.recurrence)]
    logs = log_by_lag(chain.recurrence, states, state_cotangents(chain.loss, states), lags[-1] if lags else 0)
    return logs[jnp.array(lags, int)]
