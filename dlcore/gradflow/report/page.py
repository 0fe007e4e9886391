"""The report of gradient flow: a folder with tables and figures, and one HTML page that holds all of it.

The tables are for programs, the page is for people. The page needs no other file.
"""

import base64
import csv
import html
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from dlcore.gradflow.measures.gates import KEEPING
from dlcore.gradflow.models.flow import Flow
from dlcore.gradflow.report.state_figures import plot_gates, plot_spectra
from dlcore.gradflow.report.time_figures import plot_decay, plot_double_sum, plot_signal
from dlcore.gradflow.report.training_figures import plot_clipping
from dlcore.gradflow.report.words import COLUMNS, INTRODUCTION, caption, clipping_in_words, verdict
from dlcore.plots.checks import as_metrics
from dlcore.utils.checks import check_instance, check_number, shown
from dlcore.utils.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Flows: TypeAlias = Mapping[str, Sequence[Flow]]
"""What was measured, by the state of training, such as ``{"initial": [...], "step 200": [...]}``."""
MetricRow: TypeAlias = tuple[int, str, float]
"""Training step, name and value, as `read_metrics` returns them."""

PAGE = "report.html"
CURVES = ("log_gain", "log_signal", "log_gradient", "log_by_lag")

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 1100px; margin: 2rem auto; padding: 0 1.5rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
img { max-width: 100%; height: auto } figure { margin: 1.8rem 0 } figcaption { color: #555; font-size: .9rem }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: .9rem; width: 100% }
th, td { text-align: right; padding: .25rem .6rem; border-bottom: 1px solid #ddd }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; font-size: .9rem; color: #555 }
dt { font-weight: 600 } dd { margin: 0 }
"""


def write_report(
    folder: Path,
    run: str,
    flows: Flows,
    metrics: Sequence[MetricRow] = (),
    clip_norm: float | None = None,
    unmeasured: Sequence[str] = (),
) -> list[Path]:
    """Writes ``summary.csv``, ``curves.csv``, the figures and ``report.html``.

    Args:
        folder: where the files go. It is made if it is missing.
        run: the run's name, for the title.
        flows: what was measured, by the state of training. The sentences and most figures are about the last state.
        metrics: the metrics of the run's training. They tell how often gradients were clipped.
        clip_norm: the threshold of the clipping; None: gradients are not clipped.
        unmeasured: the cells along which nothing was measured, from `find_unmeasured`; the page lists them.

    Returns:
        A list of the paths of all written files.

    Raises:
        ValueError: there is no state in flows, or clip_norm is not above 0.
        TypeError: flows is not a dict of lists of `Flow`, metrics not a sequence of triples, unmeasured no list of
            texts, folder no path, or clip_norm no number.
    """
    check_instance("folder", folder, (str, Path), "the path of a folder")
    _check_flows(flows)
    metrics = as_metrics("metrics", metrics)
    clip_norm = None if clip_norm is None else check_number("clip_norm", clip_norm, "(0, inf)")
    if not isinstance(unmeasured, list | tuple) or not all(isinstance(text, str) for text in unmeasured):
        raise TypeError(f"unmeasured: got {shown(unmeasured)}, expected a list of texts")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "summary.csv", folder / "curves.csv", folder / PAGE]
    _write_table(paths[0], list(COLUMNS), _summary(flows))
    _write_table(paths[1], ["state", "recurrence", "name", "index", "log10", "rows"], _curves(flows))
    images = {name: _png(figure) for name, figure in _figures(flows, metrics, clip_norm)}
    for name, image in images.items():
        paths.append(folder / f"{name}.png")
        paths[-1].write_bytes(image)
    shares = _column(metrics, "train/clipped_fraction")[:, 1].tolist()
    last, measured = list(flows.items())[-1]
    sentences = [*map(verdict, measured), *clipping_in_words(shares)]
    with atomic_write(folder / PAGE) as file:
        file.write(_page(run, last, sentences, unmeasured, flows, images))
    return paths


def _check_flows(flows: Flows) -> None:
    check_instance("flows", flows, Mapping, "a dict of lists of Flow by the state of training")
    if not flows:
        raise ValueError("flows: got no state of training, expected at least one")
    for state, measured in flows.items():
        check_instance(f"flows[{state!r}]", measured, (list, tuple), "a list of Flow")
        for flow in measured:
            check_instance(f"flows[{state!r}]", flow, Flow, "a list of Flow")


def _figures(
    flows: Flows, metrics: Sequence[MetricRow], clip_norm: float | None
) -> Iterator[tuple[str, "Figure"]]:
    """The figures that apply, by name."""
    state, last = list(flows.items())[-1]
    gains = {_with_rows(flow): flow.log_gain for flow in last}
    rates = {_with_rows(flow): flow.rate for flow in last}
    yield "decay", plot_decay(gains, f"rms gain |ds_T / ds_(T-lag)| / √n, {state}", rates=rates)
    by_lag = {flow.name: flow.log_by_lag for flow in last}
    title = f"gradient by lag |Σ_t G[t, t - lag]|, {state}"
    yield "by_lag", plot_decay(by_lag, title, ylabel="log10 of the norm", fit=False)
    yield "signal", plot_signal({flow.name: flow.log_signal for flow in last}, "")
    exponents, sizes = ({flow.name: getattr(flow, field) for flow in last} for field in ("exponents", "size"))
    yield "lyapunov_exponents", plot_spectra(exponents, sizes)
    for index in range(len(last)):
        yield from _recurrence_figures(flows, index)
    before, after = (_column(metrics, f"train/gradient_norm{name}") for name in ("", "_clipped"))
    if len(before) and clip_norm is not None:
        steps, norms = before.T
        yield "clipping", plot_clipping(steps, norms, after[:, 1], clip_norm, "means between log rows")


def _recurrence_figures(flows: Flows, index: int) -> Iterator[tuple[str, "Figure"]]:
    """The figures of one recurrence alone, by name."""
    flow = list(flows.values())[-1][index]
    figures = {}
    if flow.log_triangle is not None:
        figures["double_sum"] = plot_double_sum(flow.log_triangle, flow.log_by_lag, flow.covering_lag)
    keeping = next((gate for gate in KEEPING if gate in flow.gates), None)
    if keeping is not None:
        figures["gates"] = plot_gates(flow.gates, keeping, flow.half_life)
    if len(flows) > 1:
        signals = {state: measured[index].log_signal for state, measured in flows.items()}
        figures["signal_in_training"] = plot_signal(signals, "")
    for name, figure in figures.items():
        figure.suptitle(flow.name)
        yield f"{name}_{index}", figure


def _with_rows(flow: Flow) -> str:
    """The name of a recurrence, and the numbers of its rows if some are shorter."""
    first, last = flow.rows[0], flow.rows[-1]
    return flow.name if first == last else f"{flow.name}, {first} rows, {last} at lag {len(flow.rows) - 1}"


def _column(metrics: Sequence[MetricRow], wanted: str) -> np.ndarray:
    """The steps and values ``[N, 2]`` of one metric."""
    return np.array([(step, value) for step, name, value in metrics if name == wanted]).reshape(-1, 2)


def _summary(flows: Flows) -> Iterator[list[object]]:
    """The rows of `COLUMNS`."""
    for state, measured in flows.items():
        for flow in measured:
            yield [
                state, flow.name, flow.size, f"{flow.rate:.6g}", f"{flow.gain_half_life:.6g}",
                flow.gain_halved_at, f"{flow.exponents[0]:.6g}", f"{flow.half_life:.6g}", flow.covering_lag,
                f"{flow.lost_signal:.4g}", flow.first_nonfinite,
            ]  # fmt: skip


def _curves(flows: Flows) -> Iterator[list[object]]:
    for state, measured in flows.items():
        for flow in measured:
            for name in CURVES:
                for index, value in enumerate(getattr(flow, name) / np.log(10)):
                    rows = flow.rows[index] if name == "log_gain" else ""
                    yield [state, flow.name, name.removeprefix("log_"), index, f"{value:.6g}", rows]


def _write_table(path: Path, header: Sequence[str], rows: Iterator[list[object]]) -> None:
    with atomic_write(path) as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def _png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _page(
    run: str,
    last: str,
    sentences: Sequence[str],
    unmeasured: Sequence[str],
    flows: Flows,
    images: Mapping[str, bytes],
) -> str:
    title = html.escape(f"Gradient flow of {run}")
    left_out = f"<h2>Not measured</h2>{_html_list(unmeasured)}\n" if unmeasured else ""
    pictures = "".join(_picture(name, image) for name, image in images.items())
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>
<h1>{title}</h1>
<p>{html.escape(INTRODUCTION)}</p>
<h2>In words: {html.escape(last)}</h2>{_html_list(sentences)}
{left_out}<h2>In numbers</h2>
{_html_table(flows)}
<h2>In figures: {html.escape(last)}</h2>
{pictures}</body></html>
"""


def _html_list(texts: Sequence[str]) -> str:
    points = "".join(f"<li>{html.escape(text)}</li>\n" for text in texts)
    return f"<ul>{points}</ul>"


def _html_table(flows: Flows) -> str:
    """The summary as a table, and below it what each column means."""
    head = "".join(f"<th>{name}</th>" for name in COLUMNS)
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>\n"
        for row in _summary(flows)
    )
    meanings = "".join(
        f"<dt>{name}</dt><dd>{html.escape(meaning)}</dd>\n" for name, meaning in COLUMNS.items()
    )
    return f'<div class="wide"><table><tr>{head}</tr>\n{rows}</table></div>\n<dl>{meanings}</dl>'


def _picture(name: str, image: bytes) -> str:
    source = f"data:image/png;base64,{base64.b64encode(image).decode()}"
    return (
        f'<figure id="{name}"><figcaption>{html.escape(caption(name))}</figcaption>'
        f'<img alt="{html.escape(name)}" src="{source}"></figure>\n'
    )
