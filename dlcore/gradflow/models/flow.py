"""All that is measured of a model's recurrences at once: one compiled program, arrays on the host."""

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
from dlcore.gradflow.measures.recurrence import Tree, state_cotangents, step_count, trajectory
from dlcore.gradflow.measures.summary import first_nonfinite, half_life, slope
from dlcore.gradflow.measures.tangents import flatten_state
from dlcore.gradflow.models.find_recurrences import ModelRecurrence, find_recurrences

LAGS = 128  # that a gradient is divided into, at most: the cost is T times as many derivatives of a step
TRIANGLE = 128  # steps up to which every pair of times is measured: the cost is the square
EXPONENTS = 64  # of the spectrum, at most


class Flow(NamedTuple):
    """What happens to gradients along one chain of T steps with a state of n numbers. Logarithms are natural.

    Attributes:
        name: of the chain.
        size: n. T is the length of the longest row.
        log_gain: ``[T + 1]``, how much of a small random change of ``s_{T-l}`` arrives in ``s_T``: the root mean
            square factor ``|ds_T / ds_{T-l}|_F / sqrt(n)``, by lag l, over rows that are so long.
        log_signal: ``[T + 1]``, ``|delta_t|`` of the loss, root mean square over rows; t = 0 first.
        log_gradient: ``[T]``, ``|g_k|``, each step's share in the parameters' gradient.
        log_by_lag: ``[min(K + 1, T)]``, the gradient by the distance in time over which it learns.
        log_triangle: ``[T + 1, T + 1]``, the double sum term by term; None of a long chain.
        exponents: ``[k]``, Lyapunov exponents in nats a step, largest first, of the first row.
        rate: nats a step of ``log_gain``, fitted.
        half_life: steps, by the rate.
        covering_lag: the lag up to which the norms by lag are 90 % of their sum.
        dead: the share of rows whose signal is exactly 0 at the first step.
        nonfinite: the first step whose state is not finite in some row; -1 where none is.
        gates: of a cell with gates, the statistics of each by its name, `gates.Gate` of ``[T, H]``; else empty.
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
    half_life: float
    covering_lag: int
    dead: float
    nonfinite: int
    gates: Mapping[str, Gate]


def measure(loss: Callable[..., jax.Array]) -> Callable[..., list[Flow]]:
    """A function that measures what happens to gradients along every recurrence of a model.

    It takes the arguments of ``loss``, pytrees of arrays such as parameters and a batch, and gives one `Flow` a chain,
    in the order in which the model runs them; none where it has no recurrence. One compilation serves all arguments of
    the same shapes.

    Args:
        loss: ``loss(*arguments)`` runs the model without dropout and returns a scalar, see `chains.chains`.
    """
    names: list[str] = []

    @jax.jit
    def run(*arguments: Any) -> list[dict[str, Any]]:
        found = find_recurrences(lambda: loss(*arguments))
        names[:] = [chain.name for chain in found]
        return [_measured(chain) for chain in found]

    def measure(*arguments: Any) -> list[Flow]:
        values = jax.device_get(run(*arguments))
        return [_flow(name, value) for name, value in zip(names, values, strict=True)]

    return measure


def _flow(name: str, values: dict[str, Any]) -> Flow:
    """Without what lies behind the end of the longest row."""
    steps = int(values.pop("steps"))
    gates = {gate: Gate(*(array[:steps] for array in kind)) for gate, kind in values.pop("gates").items()}
    plain: dict[str, Any] = {key: array.item() if array.ndim == 0 else array for key, array in values.items()}
    for key, count in (("log_gain", steps + 1), ("log_signal", steps + 1), ("log_gradient", steps)):
        plain[key] = plain[key][:count]
    triangle = plain.pop("log_triangle", None)
    if triangle is not None:
        triangle = triangle[: steps + 1, : steps + 1]
    return Flow(
        name=name, log_by_lag=plain.pop("log_by_lag")[:steps], log_triangle=triangle, gates=gates, **plain
    )


def _measured(chain: ModelRecurrence) -> dict[str, Any]:
    recurrence = chain.recurrence
    steps, states = step_count(recurrence), trajectory(recurrence)
    of_loss = state_cotangents(chain.loss, states)
    flow = backward(recurrence, states, of_loss)
    by_lag = log_by_lag(recurrence, states, of_loss, min(LAGS, steps))
    size = flatten_state(recurrence.initial_state).shape[1]
    log_gain = _over_rows(jacobians.log_products_by_probes(recurrence)) - jnp.log(size) / 2
    rate = slope(log_gain)
    first_row = recurrence._replace(
        initial_state=jax.tree.map(lambda leaf: leaf[:1], recurrence.initial_state),
        inputs=jax.tree.map(lambda leaf: leaf[:, :1], recurrence.inputs),
        lengths=None if recurrence.lengths is None else recurrence.lengths[:1],
    )
    broken = first_nonfinite(states)
    measured = {
        "size": jnp.array(size),
        "steps": jnp.array(steps) if recurrence.lengths is None else recurrence.lengths.max(),
        "log_gain": log_gain,
        "log_signal": _over_rows(flow.log_signal),
        "log_gradient": flow.log_gradient,
        "log_by_lag": by_lag,
        "exponents": lyapunov_spectrum(first_row, min(EXPONENTS, size))[0],
        "rate": rate,
        "half_life": half_life(rate),
        "covering_lag": covering_lag(by_lag),
        "gates": _gates(chain, states),
        "dead": flow.zeros[0].mean(),
        "nonfinite": jnp.where((broken >= 0).any(), jnp.where(broken >= 0, broken, steps + 1).min(), -1),
    }
    if steps <= TRIANGLE:
        measured["log_triangle"] = log_gradients(recurrence, states, of_loss)
    return measured


def _gates(chain: ModelRecurrence, states: Tree) -> dict[str, Gate]:
    recurrence = chain.recurrence
    try:
        return gate_statistics(chain.cell, recurrence.params, states, recurrence.inputs, recurrence.lengths)
    except ValueError:  # a cell without gates
        return {}


def _over_rows(values: jax.Array) -> jax.Array:
    """The root mean square over those rows of ``[lags, B]`` that reach so far back: NaN are the others."""
    there = ~jnp.isnan(values)
    squares = wide_range.joint_log_norm(list(jnp.where(there, values, -jnp.inf).T))
    return jnp.where(there.any(axis=1), squares - jnp.log(there.sum(axis=1)) / 2, jnp.nan)
