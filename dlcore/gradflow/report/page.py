"""What was measured, for people and for programs: a folder with tables, figures and one page that holds all of it."""

import base64
import csv
import html
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from dlcore.gradflow.measures.gates import KEEPING
from dlcore.gradflow.models.flow import Flow
from dlcore.gradflow.report import state_figures, training_figures
from dlcore.gradflow.report.time_figures import plot_decay, plot_double_sum, plot_signal
from dlcore.utils.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVES = ("log_gain", "log_signal", "log_gradient", "log_by_lag")
Flows: TypeAlias = Mapping[str, Sequence[Flow]]
Row: TypeAlias = tuple[int, str, float]

PAGE = "report.html"
LEVEL = 1e-4  # nats a step: below, gradients keep their size
FAR = 100  # the lag of which the verdict speaks, where the sequence is that long


def write_report(
    folder: Path, run: str, flows: Flows, metrics: Sequence[Row] = (), clip_norm: float | None = None
) -> list[Path]:
    """Writes ``summary.csv``, ``curves.csv``, the figures and ``report.html``, which needs no other file.

    Args:
        folder: where they go; made where it is not there.
        run: its name, for the title.
        flows: what was measured, by the state that it was measured at, such as ``{"step 200": [...]}``; verdict and
            figures are of the last one.
        metrics: of the run's training: (step, name, value); they tell of clipping.
        clip_norm: the threshold of the clipping, if any.

    Returns:
        The paths of what was written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "summary.csv", folder / "curves.csv", folder / PAGE]
    _write_table(paths[0], ["state", *SUMMARY], _summary(flows))
    _write_table(paths[1], ["state", "chain", "name", "index", "log10"], _curves(flows))
    images = {name: _png(figure) for name, figure in _figures(flows, metrics, clip_norm)}
    for name, image in images.items():
        paths.append(folder / f"{name}.png")
        paths[-1].write_bytes(image)
    sentences = [*map(verdict, list(flows.values())[-1]), *_clipping_in_words(metrics)]
    with atomic_write(folder / PAGE) as file:
        file.write(_page(f"Gradient flow of {run}, {', '.join(flows)}", sentences, flows, images))
    return paths


def _figures(flows: Flows, metrics: Sequence[Row], clip_norm: float | None) -> Iterator[tuple[str, "Figure"]]:
    """Those that apply, by name."""
    state, last = list(flows.items())[-1]
    for name, title, curve in (
        ("decay", "rms gain |ds_T / ds_{T-lag}| / √n", "log_gain"),
        ("by_lag", "the gradient by lag, |Σ_t G[t, t - lag]|", "log_by_lag"),
    ):
        yield name, plot_decay({flow.name: getattr(flow, curve) for flow in last}, f"{title}, {state}")
    yield "signal", plot_signal({flow.name: flow.log_signal for flow in last}, "")
    sizes = {flow.name: flow.size for flow in last}
    yield (
        "lyapunov_exponents",
        state_figures.plot_spectra({flow.name: flow.exponents for flow in last}, sizes=sizes),
    )
    for number, flow in enumerate(last):
        if flow.log_triangle is not None:
            figure = plot_double_sum(flow.log_triangle, flow.log_by_lag, flow.covering_lag)
            figure.suptitle(flow.name)
            yield f"double_sum_{number}", figure
        if flow.gates:
            (keeping,) = set(KEEPING) & flow.gates.keys()
            figure = state_figures.plot_gates(flow.gates, keeping, flow.half_life)
            figure.suptitle(flow.name)
            yield f"gates_{number}", figure
        if len(flows) > 1:
            signals = {state: measured[number].log_signal for state, measured in flows.items()}
            figure = plot_signal(signals, "state")
            figure.suptitle(flow.name)
            yield f"signal_in_training_{number}", figure
    before, after = (_column(metrics, f"train/gradient_norm{name}") for name in ("", "_clipped"))
    if len(before) and clip_norm is not None:
        yield (
            "clipping",
            training_figures.plot_clipping(
                before[:, 0], before[:, 1], after[:, 1], clip_norm, "means between log rows"
            ),
        )


def _column(metrics: Sequence[Row], wanted: str) -> np.ndarray:
    """``[N, 2]``, step and value."""
    return np.array([(step, value) for step, name, value in metrics if name == wanted])


def _clipping_in_words(metrics: Sequence[Row]) -> list[str]:
    shares = _column(metrics, "train/clipped_fraction")
    return [f"Clipping was active on {shares[:, 1].mean():.0%} of the training steps."] if len(shares) else []


def verdict(flow: Flow) -> str:
    """What it means, in words."""
    parts = [f"{flow.name}: {_pace(flow.rate)}"]
    lag = min(FAR, len(flow.log_gain) - 1)
    parts.append(f"at lag {lag} a change of the state arrives as {_power(flow.log_gain[lag])} of itself")
    if math.isfinite(flow.half_life):
        parts.append(f"its half-life is {flow.half_life:.3g} steps")
    parts.append(f"lags up to {flow.covering_lag} are 90 % of the gradient")
    if len(flow.exponents) and math.isfinite(flow.exponents[0]):
        parts.append(f"the largest Lyapunov exponent is {flow.exponents[0]:+.3g}")
    if flow.dead:
        parts.append(f"in {flow.dead:.0%} of the rows no signal at all reaches the first step (exactly 0)")
    if flow.nonfinite >= 0:
        parts.append(f"the forward pass leaves the range of its numbers at step {flow.nonfinite}")
    return "; ".join(parts) + "."


def _pace(rate: float) -> str:
    if math.isnan(rate):
        return "too few lags to say how gradients change"
    if abs(rate) < LEVEL:
        return "gradients keep their size"
    return f"gradients {'fall' if rate < 0 else 'grow'} by 10x every {math.log(10) / abs(rate):.3g} steps"


def _power(log: float) -> str:
    """
    >>> _power(math.log(2.5e-3)), _power(-math.inf), _power(-2000 * math.log(10))
    ('2.5e-03', '0', '1e-2000')
    """
    if math.isinf(log) or math.isnan(log):
        return "0" if log == -math.inf else str(log)
    exponent = math.floor(log / math.log(10) + 1e-9)
    mantissa = math.exp(log - exponent * math.log(10))
    return f"{mantissa:.2g}e{exponent:+03d}"


SUMMARY = ("chain", "size", "rate", "half_life", "covering_lag", "largest_exponent", "dead", "nonfinite")


def _summary(flows: Flows) -> Iterator[list[object]]:
    for state, measured in flows.items():
        for flow in measured:
            yield [
                state, flow.name, flow.size, f"{flow.rate:.6g}", f"{flow.half_life:.6g}", flow.covering_lag,
                f"{flow.exponents[0]:.6g}", f"{flow.dead:.4g}", flow.nonfinite,
            ]  # fmt: skip


def _curves(flows: Flows) -> Iterator[list[object]]:
    for state, measured in flows.items():
        for flow in measured:
            for name in CURVES:
                for index, value in enumerate(getattr(flow, name) / np.log(10)):
                    yield [state, flow.name, name.removeprefix("log_"), index, f"{value:.6g}"]


def _write_table(path: Path, header: Sequence[str], rows: Iterator[list[object]]) -> None:
    with atomic_write(path) as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def _png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


CAPTIONS = {
    "decay": "How much of a small random change of the state is left after so many steps. The slope is the rate, the "
    "triangle the half-life.",
    "by_lag": "How much the parameters learn over which distance in time.",
    "signal": "What of this loss comes back to the state after each step: its whole derivative, directly and through "
    "all later steps.",
    "lyapunov_exponents": "Mean rates of growth of all directions of the state, of the first row: above 0 gradients "
    "explode in that direction.",
    "double_sum": "What the loss at step t teaches through the use of the parameters in step k, and its sum by the "
    "distance t - k.",
    "gates": "Each gate's mean by unit and step, the saturated shares, and how little the gates alone say of how long "
    "gradients last.",
    "signal_in_training": "The signal that comes back, at each of the states measured.",
    "clipping": "The gradient's global norm in training, in means between two rows of the log.",
}

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 1100px; margin: 2rem auto; padding: 0 1.5rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
img { max-width: 100%; height: auto } figure { margin: 1.2rem 0 } figcaption { color: #555; font-size: .9rem }
table { border-collapse: collapse; font-size: .9rem; width: 100%; overflow-wrap: anywhere }
th, td { text-align: right; padding: .25rem .6rem; border-bottom: 1px solid #ddd } td:nth-child(2) { text-align: left }
"""


def _caption(name: str) -> str:
    return CAPTIONS[name.rstrip("0123456789").rstrip("_")]


def _page(title: str, sentences: Sequence[str], flows: Flows, images: Mapping[str, bytes]) -> str:
    head = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in ("state", *SUMMARY))
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>\n"
        for row in _summary(flows)
    )
    said = "".join(f"<li>{html.escape(sentence)}</li>\n" for sentence in sentences)
    pictures = "".join(
        f'<figure id="{name}"><figcaption>{html.escape(_caption(name))}</figcaption>'
        f'<img alt="{html.escape(name)}" src="data:image/png;base64,{base64.b64encode(image).decode()}"></figure>\n'
        for name, image in images.items()
    )
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>
<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>
<h1>{html.escape(title)}</h1>
<h2>What it says</h2><ul>{said}</ul>
<h2>Numbers</h2><table><tr>{head}</tr>
{rows}</table>
<p>rate: nats a step of the mean gain |ds_T/ds_(T-lag)|. half life: ln 2 / -rate, in steps. covering lag: up to which
the norms of the gradient by lag make up 90 % of their sum. dead: share of rows whose signal is exactly 0 at the
first step. nonfinite: first step whose state is not finite, -1 where none is.</p>
<h2>Figures</h2>
{pictures}</body></html>
"""
