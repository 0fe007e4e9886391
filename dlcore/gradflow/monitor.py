"""Gradient flow while a model trains: how much it learns over which distance in time, every few steps."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from dlcore.gradflow.chains import Chain, chains
from dlcore.gradflow.lags import log_by_lag
from dlcore.gradflow.recurrence import direct, number_of_steps, trajectory

LAGS = (0, 1, 2, 4, 8, 16, 32)

Monitor: TypeAlias = Callable[[Any, Any], Mapping[str, float]]
"""``params, model_state -> {name: number}``."""


def monitor(loss: Callable[[Any, Any], jax.Array]) -> Monitor:
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
        return {chain.name: _by_lag(chain) for chain in chains(lambda: loss(params, model_state))}

    def measure(params: Any, model_state: Any) -> dict[str, float]:
        return {
            f"{chain}/log10_lag_{lag}": float(value)
            for chain, values in jax.device_get(run(params, model_state)).items()
            for lag, value in zip(LAGS, values / np.log(10), strict=False)
        }

    return measure


def _by_lag(chain: Chain) -> jax.Array:
    states = trajectory(chain.recurrence)
    lags = [lag for lag in LAGS if lag < number_of_steps(chain.recurrence)]
    logs = log_by_lag(chain.recurrence, states, direct(chain.loss, states), lags[-1] if lags else 0)
    return logs[jnp.array(lags, int)]
