"""The tables of a report: one row for each recurrence at each state of training, and all curves point by point."""

import csv
import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from dlcore.gradflow.models.flow import Flow
from dlcore.gradflow.report.words import rows_in_words
from dlcore.utils.files import atomic_write

Flows: TypeAlias = Mapping[str, Sequence[Flow]]
"""What was measured, by the state of training, such as ``{"initial": [...], "step 200": [...]}``."""

CURVES = ("log_gain", "log_signal", "log_gradient", "log_by_lag")
CURVE_COLUMNS = ("state", "recurrence", "name", "index", "log10", "rows")

COLUMNS = {
    "state": "The state of training in which the model was measured.",
    "recurrence": "The path of the cell in the model's parameters; of another scan, the path of the modules "
    "that run it or its source line, such as model.py:12.",
    "reversed": "1 if the recurrence reads each row from its end, else 0. Lags count in the order in which it reads.",
    "rows": "Number of rows (sequences) that were measured.",
    "shortest": "Number of steps of the shortest row.",
    "longest": "Number of steps of the longest row.",
    "size": "n, the number of entries of the state: those of c and of h in an LSTM.",
    "rate": "Slope of the logarithm of the gain over the lags, in nats a step, fitted by least squares. The gain is "
    "the root-mean-square factor |ds_T / ds_(T-lag)| / √n by which a small random change of the state arrives lag "
    "steps later. Each step from lag to lag compares the same rows.",
    "gain_half_life": "Number of steps in which the fitted line of the gain falls by half: ln 2 / -rate; inf if it "
    "does not fall.",
    "gain_halved_at": "The smallest measured lag at which the gain itself is 1/2 or less; -1 if there is none.",
    "exponent_1": "The largest Lyapunov exponent in nats a step: the mean rate of growth in the direction that grows "
    "fastest, the median over the rows. The first quarter of each row's steps does not count. Below 0 gradients "
    "vanish, above 0 they explode; -inf: a step loses every direction. A few steps are too few for it.",
    "exponent_1_low": "The smallest value of this exponent among the rows.",
    "exponent_1_high": "The largest value of this exponent among the rows.",
    "half_life": "Asymptotic: number of steps in which a gradient is halved in the long run, by this exponent: "
    "ln 2 / -exponent_1; inf if the exponent is 0 or more. Over few steps the gain, which averages all directions and "
    "is a root mean square over rows, may fall faster or more slowly.",
    "covering_lag": "The smallest lag up to which the norms of the gradient by lag add up to 90 % of their sum: how "
    "far back the model learns. Norms are added: parts of different lags that cancel in the whole gradient count in "
    "full. In very long sequences, where not all lags are measured, it is a lower bound; 0 if there is no gradient, -1 "
    "if a norm is not finite.",
    "lost_signal": "Share of the rows in which no gradient reaches the first step at all: it is exactly 0.",
    "first_nonfinite": "The first time step at which the state of some row is not finite; -1 if there is none.",
}
"""The columns of ``summary.csv`` and what they mean."""

JOINED = {"reversed", "shortest", "longest", "exponent_1_low", "exponent_1_high"}
"""Columns that the page shows in another column."""
HEADS = {"half_life": "half_life (asymptotic)"}


def write_summary(path: Path, flows: Flows) -> None:
    """Writes the table of `COLUMNS`: one row for each recurrence at each state."""
    rows = (summary_row(state, flow).values() for state, measured in flows.items() for flow in measured)
    _write(path, COLUMNS, rows)


def write_curves(path: Path, flows: Flows) -> None:
    """Writes every point of every curve: state, recurrence, name, index, log10 and the number of rows of a lag."""
    _write(path, CURVE_COLUMNS, _curve_rows(flows))


def summary_row(state: str, flow: Flow) -> dict[str, str]:
    """The texts of one row of the summary by `COLUMNS`."""
    values: dict[str, object] = {
        "state": state,
        "recurrence": flow.name,
        "reversed": int(flow.reverse),
        "rows": len(flow.lengths),
        "shortest": flow.lengths.min(initial=len(flow.log_gain) - 1),
        "longest": len(flow.log_gain) - 1,
        "size": flow.size,
        "rate": f"{flow.rate:.6g}",
        "gain_half_life": f"{flow.gain_half_life:.6g}",
        "gain_halved_at": flow.gain_halved_at,
        "exponent_1": f"{flow.exponents[0]:.6g}",
        "exponent_1_low": f"{flow.exponent_range[0, 0]:.6g}",
        "exponent_1_high": f"{flow.exponent_range[1, 0]:.6g}",
        "half_life": f"{flow.half_life:.6g}",
        "covering_lag": flow.covering_lag,
        "lost_signal": f"{flow.lost_signal:.4g}",
        "first_nonfinite": flow.first_nonfinite,
    }
    return {name: str(values[name]) for name in COLUMNS}


def html_table(flows: Flows) -> str:
    """The summary as a table of HTML with short numbers, and below it what each column means."""
    shown = [name for name in COLUMNS if name not in JOINED]
    head = "".join(f"<th>{HEADS.get(name, name)}</th>" for name in shown)
    cells = [_cells(state, flow) for state, measured in flows.items() for flow in measured]
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(row[name])}</td>" for name in shown) + "</tr>\n" for row in cells
    )
    meanings = "".join(
        f"<dt>{name}</dt><dd>{html.escape(meaning)}</dd>\n"
        for name, meaning in COLUMNS.items()
        if name in shown
    )
    return f'<div class="wide"><table><tr>{head}</tr>\n{rows}</table></div>\n<dl>{meanings}</dl>'


def _cells(state: str, flow: Flow) -> dict[str, str]:
    """The row of the summary for people: fewer digits, and what belongs together in one cell."""
    low, high = flow.exponent_range[:, 0]
    spread = f" ({low:+.3g} to {high:+.3g})" if len(flow.lengths) > 1 else ""
    return summary_row(state, flow) | {
        "recurrence": f"{flow.name} (reversed)" if flow.reverse else flow.name,
        "rows": rows_in_words(flow),
        "rate": f"{flow.rate:+.3g}",
        "gain_half_life": f"{flow.gain_half_life:.3g}",
        "exponent_1": f"{flow.exponents[0]:+.3g}{spread}",
        "half_life": f"{flow.half_life:.3g}",
    }


def _curve_rows(flows: Flows) -> Iterator[Iterable[object]]:
    for state, measured in flows.items():
        for flow in measured:
            for name in CURVES:
                for index, value in enumerate(getattr(flow, name) / np.log(10)):
                    rows = flow.rows[index] if name == "log_gain" else ""
                    yield state, flow.name, name.removeprefix("log_"), index, f"{value:.6g}", rows


def _write(path: Path, header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    with atomic_write(path) as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
