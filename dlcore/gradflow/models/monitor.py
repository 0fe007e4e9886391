"""Gradient flow while a model trains: how much the model learns over which distance in time, every few steps."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from dlcore.gradflow.measures.lags import log_by_lag
from dlcore.gradflow.measures.recurrence import state_cotangents, step_count, trajectory
from dlcore.gradflow.models.find_recurrences import ModelRecurrence, find_recurrences
from dlcore.utils.checks import check_callable

LAGS = (0, 1, 2, 4, 8, 16, 32)

Monitor: TypeAlias = Callable[[Any, Any], Mapping[str, float]]
"""``params, model_state -> {name: number}``."""


def make_monitor(loss: Callable[[Any, Any], jax.Array]) -> Monitor:
    """Returns a function of a model's state that measures the gradient's norm by lag for each recurrence of the model.

    Its numbers are named ``RECURRENCE/log10_lag_LAG``, for those of the lags 0, 1, 2, 4, 8, 16, 32 that are smaller
    than the number of steps and than the layer's ``truncate``. Each is the log10 of the norm of the gradient that the
    parameters get over this distance in time (see `lags.log_by_lag`), and -inf where that norm is exactly 0. These
    norms show vanishing long before the norm of the whole gradient does.

    Args:
        loss: ``loss(params, model_state)`` runs the model without dropout on a few rows, always the same ones, and
            returns a scalar.

    Returns:
        The monitor, as `Experiment.monitor` takes it: ``monitor(params, model_state) -> {name: number}``. What it
        cannot measure is named in a warning, see `find_unmeasured`.

    Raises:
        TypeError: the loss is not a function.
    """
    check_callable("loss", loss, "lambda params, model_state: model_loss(params)")

    @jax.jit
    def measure_arrays(params: Any, model_state: Any) -> dict[str, jax.Array]:
        found = find_recurrences(loss, params, model_state)
        return {recurrence.name: _log_by_lag(recurrence) for recurrence in found}

    def monitor(params: Any, model_state: Any) -> dict[str, float]:
        return {
            f"{name}/log10_lag_{lag}": float(value)
            for name, values in jax.device_get(measure_arrays(params, model_state)).items()
            for lag, value in zip(LAGS, values / np.log(10), strict=False)
        }

    return monitor


def _log_by_lag(found: ModelRecurrence) -> jax.Array:
    """The log norm at each of `LAGS` that the gradient has."""
    states = trajectory(found.recurrence)
    longest = step_count(found.recurrence)
    lags = [lag for lag in LAGS if lag < min(longest, found.truncate or longest)]
    cotangents = state_cotangents(found.loss, states)
    logs = log_by_lag(found.recurrence, states, cotangents, lags[-1] if lags else 0)
    return logs[jnp.array(lags, int)]
