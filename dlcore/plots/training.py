"""Figures of a run's metrics over the training steps."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dlcore.plots.canvas import COLORS, label_log_axis, new_figure
from dlcore.plots.checks import as_metrics, as_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SET_COLORS = (COLORS["eval"], "#2b6a99", "#4c8c3f", "#8a4fb0", "#b8860b")
"""The colors of evaluation sets with names, in their order; the sixth has the first one's color again."""


def learning_curves(
    rows: Sequence[tuple[int, str, float]], best: str, eval_sets: Sequence[str] = ()
) -> "Figure":
    """A matplotlib figure of three panels over the training steps.

    They show the loss, the metric that selects the best step, and the gradient's norm before and after clipping. The
    first two have one line for the training batches and one for each evaluation set.

    Args:
        rows: triples of step, name and value, the rows of a run's ``metrics.csv``.
        best: the name, without ``eval/``, of the evaluation metric that selects the best step.
        eval_sets: the names of the evaluation sets, as in the rows ``eval/SET/METRIC``; empty if there is one set
            without a name.

    Raises:
        TypeError: the rows are not such triples, or the sets no names.
    """
    rows, eval_sets = as_metrics("rows", rows), as_names("eval_sets", eval_sets)
    selecting, _, metric_of_set = str(best).partition("/")
    metrics = "loss", metric_of_set if selecting in eval_sets else best
    sets = [(f"eval/{name}", name, color) for name, color in zip(eval_sets, itertools.cycle(SET_COLORS))]
    parts = [
        ("train", "training batches", COLORS["train"]),
        *(sets or [("eval", "evaluation set", COLORS["eval"])]),
    ]
    figure = new_figure(12, 3.6)
    panels = figure.subplots(1, 3)
    for axes, metric in zip(panels, metrics, strict=False):
        for part, label, color in parts:
            _curve(axes, rows, f"{part}/{metric}", label, color)
        axes.set(xlabel="step", ylabel=metric, title=metric)
    panels[0].set_yscale("log")
    _curve(panels[2], rows, "train/gradient_norm", "before clipping", COLORS["train"])
    _curve(panels[2], rows, "train/gradient_norm_clipped", "after clipping", COLORS["eval"])
    panels[2].set(xlabel="step", ylabel="global norm", title="gradient norm", yscale="log")
    for axes in (panels[0], panels[2]):
        label_log_axis(axes.yaxis)
    for axes in panels:
        axes.grid(alpha=0.25, which="both")
        if axes.lines:
            axes.legend(frameon=False, fontsize="small" if len(axes.lines) > 3 else None)
    return figure


def _curve(axes: "Axes", rows: Sequence[tuple[int, str, float]], name: str, label: str, color: str) -> None:
    """Draws the values of one metric; few points get markers."""
    points = [(step, value) for step, row_name, value in rows if row_name == name]
    if points:
        marker: dict[str, Any] = {"marker": "o", "markersize": 3} if len(points) < 30 else {}
        axes.plot(*zip(*points, strict=True), label=label, color=color, **marker)
