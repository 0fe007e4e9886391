"""Everything that is measured along a model's recurrences, in one compiled program with results on the host."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dlcore.gradflow.measures import jacobians
from dlcore.gradflow.measures.backward import backward
from dlcore.gradflow.measures.gates import Gate, gate_statistics
from dlcore.gradflow.measures.lags import covering_lag, log_by_lag, log_gradients
from dlcore.gradflow.measures.lyapunov import lyapunov_spectrum
from dlcore.gradflow.measures.recurrence import (
    Recurrence,
    Tree,
    check_recurrence,
    state_cotangents,
    step_count,
    trajectory,
)
from dlcore.gradflow.measures.rows import median_over_rows, range_over_rows, rate_within_rows, rms_over_rows
from dlcore.gradflow.measures.summary import first_nonfinite, half_life, halved_at
from dlcore.gradflow.measures.tangents import flatten_state
from dlcore.gradflow.models.find_recurrences import ModelRecurrence, find_recurrences
from dlcore.utils.checks import check_callable

# The gradient by lag costs as many derivatives of a step as there are lags, at every step, and keeps a gradient for
# each lag. All lags are measured within these limits of steps times lags and of numbers kept, and at least 128.
FEWEST_LAGS, MAX_STEPS_TIMES_LAGS, MAX_NUMBERS = 128, 2**20, 2**26
MAX_TRIANGLE_STEPS = 128  # The cost of the double sum grows with the square of the steps.
MAX_EXPONENTS = 64
MAX_PROBES = 64  # So many random directions estimate the gain of a larger state.


class Flow(NamedTuple):
    """What happens to gradients along one recurrence of T steps with a state of n numbers, as NumPy arrays and numbers.

    Logarithms are natural. T is the length of the longest row.

    Attributes:
        name: the name of the recurrence, see `ModelRecurrence`.
        reverse: True if the recurrence reads each row from its end. Time is then its own: step 1 reads the row's end.
        size: n, the size of the state.
        lengths: ``[B]``, the number of valid steps of each row.
        log_gain: ``[T + 1]``, by lag: log of ``|ds_T / ds_{T-lag}|_F / sqrt(n)``, the root-mean-square factor by which
            a small random change of the state arrives ``lag`` steps later. Rows shorter than the lag do not count. It
            is exact for n <= 64. For a larger n it is an estimate from 64 random directions, see
            `jacobians.log_products_by_probes`; its standard deviation in log10 is about .035 at most.
        rows: ``[T + 1]``, by lag: the number of rows that are so long and whose states on this way are finite.
        log_signal: ``[T + 1]``, by time step from t = 0: log of ``|delta_t|`` of the loss, root mean square over rows.
        log_gradient: ``[T]``, by time step: log of ``|g_k|``, the share of step k = 1 .. T in the parameters' gradient.
        log_by_lag: ``[K + 1]``, by lag from 0 to K: log of the norm of the gradient that the parameters get over this
            distance in time. K is the longest lag that the gradient has: T - 1, or one less than the layer's
            ``truncate``. It is less, but at least 128, if the sequence or the model is so large that measuring all lags
            would take too long.
        log_longer: log of the norm of the gradient over all lags above K together; -inf if there are none.
        log_triangle: ``[T + 1, T + 1]``, log |G[t, k]|, the terms of the double sum, row t and column k; None if the
            sequence, padding included, has more than 128 steps.
        exponents: ``[min(64, n)]``, the largest Lyapunov exponents in nats a step, largest first, each the median over
            the rows that have a step. In each row the first quarter of its own steps does not count.
        exponent_range: ``[2, min(64, n)]``, the smallest and the largest value of each exponent among these rows.
        row_exponents: ``[B]``, the largest exponent of each row; NaN in a row without a step.
        rate: least-squares slope of the gain's logarithm over the lags, nats a step. Each step from one lag to the next
            compares the same rows, so that the end of a shorter row changes nothing.
        gain_half_life: ``ln 2 / -rate`` in steps; inf where the gain does not fall.
        gain_halved_at: the smallest lag at which ``log_gain`` is half of that at lag 0 or less; -1 if there is none.
        half_life: ``ln 2 / -exponents[0]`` in steps; inf where the largest exponent is 0 or more.
        covering_lag: the smallest lag up to which the norms by lag add up to 90 % of their sum. All lags above K count
            as one norm, so that it is a lower bound then; K + 1 means a lag above K. 0 if there is no gradient, -1 if a
            norm is not finite.
        lost_signal: share of rows whose backward signal at t = 0 is exactly 0.
        first_nonfinite: the first time step at which the state of some row is not finite; -1 if there is none.
        gates: the statistics ``[T, H]`` of each gate by its name, see `gates.Gate`; empty if the recurrence is not a
            cell of dlcore with gates.
        source: the user's source line of a scan, see `ModelRecurrence`; "" for a cell.
    """

    name: str
    reverse: bool
    size: int
    lengths: np.ndarray
    log_gain: np.ndarray
    rows: np.ndarray
    log_signal: np.ndarray
    log_gradient: np.ndarray
    log_by_lag: np.ndarray
    log_longer: float
    log_triangle: np.ndarray | None
    exponents: np.ndarray
    exponent_range: np.ndarray
    row_exponents: np.ndarray
    rate: float
    gain_half_life: float
    gain_halved_at: int
    half_life: float
    covering_lag: int
    lost_signal: float
    first_nonfinite: int
    gates: Mapping[str, Gate]
    source: str = ""


def measure(loss: Callable[..., jax.Array]) -> Callable[..., list[Flow]]:
    """Returns a function that measures gradient flow along every recurrence of a model.

    The function compiles once for all arguments of the same shapes.

    Args:
        loss: ``loss(*arguments)`` runs the model without dropout and returns a scalar, see `find_recurrences`. The
            arguments are pytrees of arrays: first the parameters, then others such as a batch.

    Returns:
        A function that takes the arguments of ``loss``. It returns a list of one `Flow` for each recurrence, in the
        order in which the model runs them; an empty list if the model has none. What it cannot measure is named in a
        warning, see `find_unmeasured`.

    Raises:
        TypeError: the loss is not a function.
    """
    check_callable("loss", loss, "lambda params, batch: model_loss(params, batch)")

    @jax.jit
    def measure_arrays(*arguments: Any) -> list[dict[tuple[str, str], dict[str, Any]]]:
        found = find_recurrences(loss, *arguments)
        return [{(one.name, one.source): _measure_recurrence(one)} for one in found]

    def measure_flows(*arguments: Any) -> list[Flow]:
        measured = jax.device_get(measure_arrays(*arguments))
        return [
            _flow(name, values)._replace(source=source)
            for labeled in measured
            for (name, source), values in labeled.items()
        ]

    return measure_flows


def _flow(name: str, values: dict[str, Any]) -> Flow:
    """The measured values without the time steps after the end of the longest row."""
    steps = int(values.pop("steps"))
    gates = {gate: Gate(*(array[:steps] for array in kind)) for gate, kind in values.pop("gates").items()}
    fields: dict[str, Any] = {
        key: array.item() if array.ndim == 0 else array for key, array in values.items()
    }
    for key, length in {"log_gain": steps + 1, "rows": steps + 1, "log_signal": steps + 1}.items():
        fields[key] = fields[key][:length]
    for key in ("log_gradient", "log_by_lag"):
        fields[key] = fields[key][:steps]
    triangle = fields.pop("log_triangle", None)
    if triangle is not None:
        triangle = triangle[: steps + 1, : steps + 1]
    return Flow(name=name, log_triangle=triangle, gates=gates, **fields)


def _measure_recurrence(found: ModelRecurrence) -> dict[str, Any]:
    """The fields of `Flow` as arrays, and ``steps``, the length of the longest row."""
    recurrence, steps = check_recurrence(found.recurrence), step_count(found.recurrence)
    states = trajectory(recurrence)
    cotangents = state_cotangents(found.loss, states)
    flow = backward(recurrence, states, cotangents)
    size = flatten_state(recurrence.initial_state).shape[1]
    gains = jacobians.log_products_by_probes(recurrence, min(MAX_PROBES, size)) - jnp.log(size) / 2
    log_gain, rate = rms_over_rows(gains), rate_within_rows(gains)
    exponents = lyapunov_spectrum(recurrence, min(MAX_EXPONENTS, size))
    typical = median_over_rows(exponents)
    lengths = _lengths(recurrence)
    measured = {
        "reverse": jnp.array(found.reverse),
        "size": jnp.array(size),
        "lengths": lengths,
        "steps": lengths.max(initial=0),
        "log_gain": log_gain,
        "rows": (~jnp.isnan(gains)).sum(axis=1),
        "log_signal": rms_over_rows(flow.log_signal),
        "log_gradient": flow.log_gradient,
        "exponents": typical,
        "exponent_range": range_over_rows(exponents),
        "row_exponents": exponents[:, 0],
        "rate": rate,
        "gain_half_life": half_life(rate),
        "gain_halved_at": halved_at(log_gain),
        "half_life": half_life(typical[0]),
        "gates": _gates(found, states),
        "lost_signal": flow.zeros[0].sum() / max(flow.zeros.shape[1], 1),
        "first_nonfinite": _first_of_rows(first_nonfinite(states), steps),
        **_by_lag(recurrence, states, cotangents, found.truncate),
    }
    if steps <= MAX_TRIANGLE_STEPS:
        measured["log_triangle"] = log_gradients(recurrence, states, cotangents)
    return measured


def _by_lag(
    recurrence: Recurrence, states: Tree, cotangents: Tree, truncate: int | None
) -> dict[str, jax.Array]:
    """The gradient by lag, and the lag that covers 90 % of its norms."""
    steps = step_count(recurrence)
    numbers = sum(leaf.size for leaf in jax.tree.leaves(recurrence.params))
    affordable = max(FEWEST_LAGS, min(MAX_STEPS_TIMES_LAGS // max(steps, 1), MAX_NUMBERS // max(numbers, 1)))
    longest = steps if truncate is None else min(steps, truncate - 1)  # the gradient has no longer lags
    logs = log_by_lag(recurrence, states, cotangents, min(longest, affordable), longer=True)
    covering = covering_lag(logs)
    return {
        "log_by_lag": logs[:-1],
        "log_longer": logs[-1],
        "covering_lag": jnp.where(covering < len(logs), covering, -1),
    }


def _lengths(recurrence: Recurrence) -> jax.Array:
    """The number of valid steps of each row, ``[B]``."""
    if recurrence.lengths is not None:
        return recurrence.lengths
    rows = len(jax.tree.leaves(recurrence.initial_state)[0])
    return jnp.full(rows, step_count(recurrence))


def _first_of_rows(times: jax.Array, steps: int) -> jax.Array:
    """The smallest time step of all rows ``[B]``, where -1 means that a row has none."""
    first = jnp.where(times >= 0, times, steps + 1).min(initial=steps + 1)
    return jnp.where(first <= steps, first, -1)


def _gates(found: ModelRecurrence, states: Tree) -> dict[str, Gate]:
    if found.cell is None or not getattr(found.cell, "gate_names", ()):
        return {}
    recurrence = found.recurrence
    return gate_statistics(found.cell, recurrence.params, states, recurrence.inputs, recurrence.lengths)
