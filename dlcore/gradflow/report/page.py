"""The report of gradient flow: a folder with tables and figures, and one HTML page that holds all of it.

The tables are for programs, the page is for people. The page needs no other file.
"""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from dlcore.gradflow.models.flow import Flow
from dlcore.gradflow.report.figures import pictures
from dlcore.gradflow.report.tables import Flows, html_table, write_curves, write_summary
from dlcore.gradflow.report.words import INTRODUCTION, changes, clipping_in_words, verdict
from dlcore.plots.checks import as_metrics
from dlcore.utils.checks import check_instance, check_number, shown
from dlcore.utils.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MetricRow: TypeAlias = tuple[int, str, float]
"""Training step, name and value, as `read_metrics` returns them."""

PAGE = "report.html"
LEFT_OUT = (
    "Gradient flow is measured along recurrent layers of dlcore and jax.lax.scan, but not along these parts:"
)

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
        unmeasured: the loops and cells along which nothing was measured, from `find_unmeasured`; the page lists them.

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
    write_summary(paths[0], flows)
    write_curves(paths[1], flows)
    drawn = ""
    for name, caption, figure in pictures(flows, _clipping(metrics), clip_norm):
        image = _png(figure)
        paths.append(folder / f"{name}.png")
        paths[-1].write_bytes(image)
        drawn += _html_picture(name, caption, image)
    shares = [] if clip_norm is None else _column(metrics, "train/clipped_fraction")[:, 1].tolist()
    last, measured = list(flows.items())[-1]
    sentences = [*map(verdict, measured), *clipping_in_words(shares)]
    with atomic_write(folder / PAGE) as file:
        file.write(_page(run, last, sentences, unmeasured, flows, drawn))
    return paths


def _check_flows(flows: Flows) -> None:
    check_instance("flows", flows, Mapping, "a dict of lists of Flow by the state of training")
    if not flows:
        raise ValueError("flows: got no state of training, expected at least one")
    for state, measured in flows.items():
        check_instance(f"flows[{state!r}]", measured, (list, tuple), "a list of Flow")
        for flow in measured:
            check_instance(f"flows[{state!r}]", flow, Flow, "a list of Flow")


def _clipping(metrics: Sequence[MetricRow]) -> np.ndarray:
    """Step, gradient norm before and after clipping ``[N, 3]`` of each row of the log that has them."""
    before, after = (dict(_column(metrics, f"train/gradient_norm{name}")) for name in ("", "_clipped"))
    rows = [(step, norm, after[step]) for step, norm in before.items() if step in after]
    return np.array(rows).reshape(-1, 3)


def _column(metrics: Sequence[MetricRow], wanted: str) -> np.ndarray:
    """The steps and values ``[N, 2]`` of one metric."""
    return np.array([(step, value) for step, name, value in metrics if name == wanted]).reshape(-1, 2)


def _changes(flows: Flows) -> list[str]:
    """What changed between the first and the last state, for each recurrence that both have."""
    states = list(flows.values())
    before = {flow.name: flow for flow in states[0]}
    return [
        changes(before[flow.name], flow) for flow in states[-1] if flow.name in before and len(states) > 1
    ]


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
    drawn: str,
) -> str:
    title = html.escape(f"Gradient flow of {run}")
    left_out = f"<h2>Not measured</h2><p>{LEFT_OUT}</p>{_html_list(unmeasured)}\n" if unmeasured else ""
    changed = _changes(flows)
    heading = html.escape(f"From {next(iter(flows))} to {last}")
    compared = f"<h2>{heading}</h2>{_html_list(changed)}\n" if changed else ""
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>
<h1>{title}</h1>
<p>{html.escape(INTRODUCTION)}</p>
<h2>In words: {html.escape(last)}</h2>{_html_list(sentences)}
{compared}{left_out}<h2>In numbers</h2>
{html_table(flows)}
<h2>In figures: {html.escape(last)}</h2>
{drawn}</body></html>
"""


def _html_list(texts: Sequence[str]) -> str:
    points = "".join(f"<li>{html.escape(text)}</li>\n" for text in texts)
    return f"<ul>{points}</ul>"


def _html_picture(name: str, caption: str, image: bytes) -> str:
    source = f"data:image/png;base64,{base64.b64encode(image).decode()}"
    return (
        f'<figure id="{name}"><figcaption>{html.escape(caption)}</figcaption>'
        f'<img alt="{html.escape(caption)}" src="{source}"></figure>\n'
    )
