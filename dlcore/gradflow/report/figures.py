"""Which figures a report has: their names, captions and what they show of the measured flows."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dlcore.gradflow.measures.gates import KEEPING
from dlcore.gradflow.measures.rows import FEW_ROWS
from dlcore.gradflow.models.flow import Flow
from dlcore.gradflow.report.state_figures import plot_gates, plot_spectra
from dlcore.gradflow.report.tables import Flows
from dlcore.gradflow.report.time_figures import plot_decay, plot_double_sum, plot_signal
from dlcore.gradflow.report.training_figures import plot_clipping

if TYPE_CHECKING:
    from matplotlib.figure import Figure

READING_ORDER = "time step t, in reading order: t = 1 of a reversed recurrence reads the row's end"

ALL_STATES = ("signal_in_training",)

CAPTIONS = {
    "decay": "Gain by lag: the share of a small random change of the state, this many steps before a row's end, that "
    "is left at the end; root mean square over the rows that are so long. The slope of the dashed line is the rate. It "
    "is fitted to all lags, but compares the same rows from lag to lag, so that it need not lie on the curve. The "
    "triangle on it marks the gain half-life. "
    f"Gray: lags that fewer than {FEW_ROWS} rows have (with fewer than {FEW_ROWS} rows: that not all have); they say "
    "little about other rows. The panel below counts the rows.",
    "by_lag": "Gradient by lag: how much the parameters learn over which distance in time. Gradients of different lags "
    "can cancel each other; their norms do not show it. Only a row of more steps than the lag has such a gradient. "
    "Gray: lags that few rows have.",
    "signal": "Backward signal: how much the loss depends on the state after each time step, directly and through "
    "all later steps; root mean square over rows, those that have ended included. t = 0 is the state before the first "
    "step. It falls toward late steps if only a few long rows reach them.",
    "lyapunov_exponents": "Lyapunov exponents: the mean rates of growth in the directions of the state, the largest "
    "first, each the median over the rows; the shaded band reaches from the smallest to the largest value among the "
    "rows. In directions above 0 gradients explode.",
    "double_sum": "Double sum. Left: how much the part of the loss that reads the state after step t teaches through "
    "the use of the parameters in step k. Right: the same, summed over all pairs of steps with the same distance "
    "t - k. If rows end early, only the longer ones reach the late steps.",
    "gates": "Gates: each gate's mean by unit and time step, the share of values that are saturated, and half-lives. "
    "An open forget or update gate keeps the state. The dots are the half-lives that each unit's gate alone would "
    "give, ln 2 over minus the mean of its logarithm; the line is the asymptotic half-life of the gradient, which "
    "also goes from unit to unit.",
    "signal_in_training": "Backward signal at each measured state of training.",
    "clipping": "Clipping: the gradient's global norm in training. Each point is a mean over the steps between two "
    "rows of the log, of which some may have been clipped and some not.",
}


class Picture(NamedTuple):
    """A figure of a report.

    Attributes:
        name: the name of its file, without the ending.
        caption: what it shows.
        figure: the matplotlib figure.
    """

    name: str
    caption: str
    figure: "Figure"


def pictures(flows: Flows, clipping: np.ndarray, clip_norm: float | None) -> Iterator[Picture]:
    """Draws the figures that apply; most are about the last state.

    Args:
        flows: what was measured, by the state of training.
        clipping: ``[N, 3]``, step, norm before and norm after clipping of each row of the log.
        clip_norm: the threshold of the clipping; None: gradients are not clipped.
    """
    state, last = list(flows.items())[-1]
    for name, figure in _common_figures(state, last).items():
        yield Picture(name, CAPTIONS[name], figure)
    for index, part in enumerate(_file_names(last)):
        for name, figure in _recurrence_figures(flows, index).items():
            figure.suptitle(f"{_title(last[index])}, {'all states' if name in ALL_STATES else state}")
            yield Picture(f"{name}_{part}", f"{_title(last[index])}. {CAPTIONS[name]}", figure)
    if len(clipping) and clip_norm is not None:
        steps, before, after = clipping.T
        figure = plot_clipping(steps, before, after, clip_norm, "means between log rows")
        yield Picture("clipping", CAPTIONS["clipping"], figure)


def _common_figures(state: str, flows: Sequence[Flow]) -> dict[str, "Figure"]:
    """The figures of all recurrences together, by name."""
    named = {_label(flow): flow for flow in flows}
    rows = {name: flow.rows for name, flow in named.items()}
    figures = {
        "decay": plot_decay(
            {name: flow.log_gain for name, flow in named.items()},
            f"rms gain |ds_T / ds_(T-lag)| / √n, {state}",
            rates={name: flow.rate for name, flow in named.items()},
            rows=rows,
        ),
        "by_lag": plot_decay(
            {name: flow.log_by_lag for name, flow in named.items()},
            f"gradient by lag |Σ_t G[t, t - lag]|, {state}",
            ylabel="log10 of the norm",
            fit=False,
            rows={name: values[1:] for name, values in rows.items()},  # step 1 is the first with a share
        ),
        "signal": plot_signal({name: flow.log_signal for name, flow in named.items()}, ""),
        "lyapunov_exponents": plot_spectra(
            {name: flow.exponents for name, flow in named.items()},
            {name: flow.size for name, flow in named.items()},
            {name: flow.exponent_range for name, flow in named.items() if len(flow.lengths) > 1},
        ),
    }
    for name in ("signal", "lyapunov_exponents"):
        axes = figures[name].axes[0]
        axes.set_title(f"{axes.get_title()}, {state}")
    if any(flow.reverse for flow in flows):
        figures["signal"].axes[0].set_xlabel(READING_ORDER)
    return figures


def _recurrence_figures(flows: Flows, index: int) -> dict[str, "Figure"]:
    """The figures of one recurrence alone, by name."""
    flow = list(flows.values())[-1][index]
    figures = {}
    if flow.log_triangle is not None and len(flow.log_triangle) > 1:
        figures["double_sum"] = plot_double_sum(flow.log_triangle, flow.log_by_lag, flow.covering_lag)
    keeping = next((gate for gate in KEEPING if gate in flow.gates), None)
    if keeping is not None:
        figures["gates"] = plot_gates(flow.gates, keeping, flow.half_life)
    signals = _signals(flows, flow.name)
    if len(signals) > 1:
        figures["signal_in_training"] = plot_signal(signals, "")
    return figures


def _signals(flows: Flows, name: str) -> Mapping[str, np.ndarray]:
    """The backward signal of one recurrence by the state of training."""
    return {
        state: flow.log_signal for state, measured in flows.items() for flow in measured if flow.name == name
    }


def _label(flow: Flow) -> str:
    return f"{flow.name} (reversed)" if flow.reverse else flow.name


def _title(flow: Flow) -> str:
    return f"{flow.name} (reads each row from its end)" if flow.reverse else flow.name


def _file_names(flows: Sequence[Flow]) -> list[str]:
    """The recurrences' names as parts of file names; an index tells equal ones apart."""
    names = [re.sub(r"[^\w.-]+", "_", flow.name).strip("_") or "recurrence" for flow in flows]
    return [name if names.count(name) == 1 else f"{name}_{index}" for index, name in enumerate(names)]
