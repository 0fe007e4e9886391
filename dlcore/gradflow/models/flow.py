"""Everything that is measured along a model's recurrences, in one compiled program with results on the host."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dlcore.gradflow.measures import jacobians, wide_range
from dlcore.gradflow.measures.backward import backward
from dlcore.gradflow.measures.gates import Gate, gate_statistics
from dlcore.gradflow.measures.lags import covering_lag, log_by_lag, log_gradients
from dlcore.gradflow.measures.lyapunov import lyapunov_spectrum
from dlcore.gradflow.measures.recurrence import (
    Recurrence,
    Tree,
    state_cotangents,
    step_count,
    trajectory,
)
from dlcore.gradflow.measures.summary import first_nonfinite, fit_rate, half_life
from dlcore.gradflow.measures.tangents import flatten_state
from dlcore.gradflow.models.find_recurrences import ModelRecurrence, find_recurrences

MAX_LAGS = 128  # The gradient by lag costs this many times the derivatives of a step.
MAX_TRIANGLE_STEPS = 128  # The cost of the double sum grows with the square of the steps.
MAX_EXPONENTS = 64


class Flow(NamedTuple):
    """What happens to gradients along one recurrence of T steps with a state of n numbers, as NumPy arrays and numbers.

    Logarithms are natural. T is the length of the longest row.

    Attributes:
        name: the name of the recurrence, see `ModelRecurrence`.
        size: n, the size of the state.
        log_gain: ``[T + 1]``, by lag: log of ``|ds_T / ds_{T-lag}|_F / sqrt(n)``, the root-mean-square factor by which
            a small random change of the state arrives ``lag`` steps later. Rows shorter than the lag do not count.
        log_signal: ``[T + 1]``, by time step from t = 0: log of ``|delta_t|`` of the loss, root mean square over rows.
        log_gradient: ``[T]``, by time step: log of ``|g_k|``, the share of step k = 1 .. T in the parameters' gradient.
        log_by_lag: ``[min(129, T)]``, by lag: log of the norm of the gradient that the parameters get over this
            distance in time.
        log_triangle: ``[T + 1, T + 1]``, log |G[t, k]|, the terms of the double sum, row t and column k; None if the
            sequence, padding included, has more than 128 steps.
        exponents: ``[min(64, n)]``, the largest Lyapunov exponents of the batch's first row in nats a step, largest
            first.
        rate: least-squares slope of ``log_gain`` over the lags, nats a step.
        gain_half_life: ``ln 2 / -rate`` in steps; inf where the gain does not fall.
        half_life: ``ln 2 / -exponents[0]`` in steps; inf where the largest exponent is 0 or more.
        covering_lag: the smallest lag up to which the norms by lag add up to 90 % of their sum.
        lost_signal: share of rows whose backward signal at t = 0 is exactly 0.
        first_nonfinite: the first time step at which the state of some row is not finite; -1 if there is none.
        gates: the statistics ``[T, H]`` of each gate by its name, see `gates.Gate`; empty if the cell has no gates.
    """

    name: str
    size: int
    log_gain: np.ndarray
    log_signal: np.ndarray
    log_gradient: np.ndarray
    log_by_lag: np.ndarray
    log_triangle: np.ndarray | None
    exponents: np.ndarray
    rate: float
    gain_half_life: float
    half_life: float
    covering_lag: int
    lost_signal: float
    first_nonfinite: int
    gates: Mapping[str, Gate]


def measure(loss: Callable[..., jax.Array]) -> Callable[..., list[Flow]]:
    """Returns a function that measures gradient flow along every recurrence of a model.

    The function compiles once for all arguments of the same shapes.

    Args:
        loss: ``loss(*arguments)`` runs the model without dropout and returns a scalar, see `find_recurrences`. The
            arguments are pytrees of arrays, such as parameters and a batch.

    Returns:
        A function that takes the arguments of ``loss``. It returns a list of one `Flow` for each recurrence, in the
        order in which the model runs them; an empty list if the model has none.
    """
    names: list[str] = []

    @jax.jit
    def measure_arrays(*arguments: Any) -> list[dict[str, Any]]:
        found = find_recurrences(lambda: loss(*arguments))
        names[:] = [recurrence.name for recurrence in found]
        return [_measure_recurrence(recurrence) for recurrence in found]

    def measure_flows(*arguments: Any) -> list[Flow]:
        values = jax.device_get(measure_arrays(*arguments))
        return [_flow(name, value) for name, value in zip(names, values, strict=True)]

    return measure_flows


def _flow(name: str, values: dict[str, Any]) -> Flow:
    """The measured values without the time steps after the end of the longest row."""
    steps = int(values.pop("steps"))
    gates = {gate: Gate(*(array[:steps] for array in kind)) for gate, kind in values.pop("gates").items()}
    fields: dict[str, Any] = {
        key: array.item() if array.ndim == 0 else array for key, array in values.items()
    }
    lengths = {"log_gain": steps + 1, "log_signal": steps + 1, "log_gradient": steps, "log_by_lag": steps}
    for key, length in lengths.items():
        fields[key] = fields[key][:length]
    triangle = fields.pop("log_triangle", None)
    if triangle is not None:
        triangle = triangle[: steps + 1, : steps + 1]
    return Flow(name=name, log_triangle=triangle, gates=gates, **fields)


def _measure_recurrence(found: ModelRecurrence) -> dict[str, Any]:
    """The fields of `Flow` as arrays, and ``steps``, the length of the longest row."""
    recurrence, steps = found.recurrence, step_count(found.recurrence)
    states = trajectory(recurrence)
    cotangents = state_cotangents(found.loss, states)
    flow = backward(recurrence, states, cotangents)
    by_lag = log_by_lag(recurrence, states, cotangents, min(MAX_LAGS, steps))
    size = flatten_state(recurrence.initial_state).shape[1]
    log_gain = _rms_over_rows(jacobians.log_products_by_probes(recurrence)) - jnp.log(size) / 2
    rate = fit_rate(log_gain)
    exponents = lyapunov_spectrum(_first_row(recurrence), min(MAX_EXPONENTS, size))[0]
    measured = {
        "size": jnp.array(size),
        "steps": jnp.array(steps) if recurrence.lengths is None else recurrence.lengths.max(),
        "log_gain": log_gain,
        "log_signal": _rms_over_rows(flow.log_signal),
        "log_gradient": flow.log_gradient,
        "log_by_lag": by_lag,
        "exponents": exponents,
        "rate": rate,
        "gain_half_life": half_life(rate),
        "half_life": half_life(exponents[0]),
        "covering_lag": covering_lag(by_lag),
        "gates": _gates(found, states),
        "lost_signal": flow.zeros[0].mean(),
        "first_nonfinite": _first_of_rows(first_nonfinite(states), steps),
    }
    if steps <= MAX_TRIANGLE_STEPS:
        measured["log_triangle"] = log_gradients(recurrence, states, cotangents)
    return measured


def _first_row(recurrence: Recurrence) -> Recurrence:
    return recurrence._replace(
        initial_state=jax.tree.map(lambda leaf: leaf[:1], recurrence.initial_state),
        inputs=jax.tree.map(lambda leaf: leaf[:, :1], recurrence.inputs),
        lengths=None if recurrence.lengths is None else recurrence.lengths[:1],
    )


def _first_of_rows(times: jax.Array, steps: int) -> jax.Array:
    """The smallest time step of all rows ``[B]``, where -1 means that a row has none."""
    return jnp.where((times >= 0).any(), jnp.where(times >= 0, times, steps + 1).min(), -1)


def _gates(found: ModelRecurrence, states: Tree) -> dict[str, Gate]:
    recurrence = found.recurrence
    try:
        return gate_statistics(found.cell, recurrence.params, states, recurrence.inputs, recurrence.lengths)
    except ValueError:  # the cell has no gates
        return {}


def _rms_over_rows(logs: jax.Array) -> jax.Array:
    """The root mean square over the rows of ``[lags, B]``; NaN marks the lags that a row does not have."""
    known = ~jnp.isnan(logs)
    norms = wide_range.joint_log_norm(list(jnp.where(known, logs, -jnp.inf).T))
    return jnp.where(known.any(axis=1), norms - jnp.log(known.sum(axis=1)) / 2, jnp.nan)
