"""Figures of models that read sequences: accuracy by length, by place and over time, predictions against targets."""

from typing import TYPE_CHECKING

import numpy as np

from dlcore.plots.canvas import COLORS, new_figure
from dlcore.plots.checks import as_booleans, as_integers, as_numbers
from dlcore.utils.checks import check_integer, check_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def accuracy_by_length(
    lengths: np.ndarray, correct: np.ndarray, unit: str = "steps", bins: int = 8
) -> "Figure":
    """A matplotlib figure of two panels that shows whether long sequences are harder than short ones.

    Above is the accuracy by length, as a line. Below are bars of the numbers of correct and of wrong sequences.

    Args:
        lengths: integers ``[N]``, at least 0.
        correct: booleans ``[N]``, True where a sequence was classified correctly.
        unit: the unit of the lengths, for the label of the axis.
        bins: at most this many ranges of lengths, all equally wide but perhaps the last.

    Raises:
        ValueError: there is no sequence, the shapes differ, a length is negative, ``correct`` holds other numbers than
            0 and 1, or bins is below 1.
        TypeError: lengths or bins are not integers, or ``correct`` does not hold booleans.
    """
    lengths, correct = as_integers("lengths", lengths, "[N]"), as_booleans("correct", correct, "[N]")
    bins = check_integer("bins", bins)
    if lengths.shape != correct.shape:
        raise ValueError(
            f"correct: got shape {correct.shape} for lengths of shape {lengths.shape}, expected one for each"
        )
    if lengths.min() < 0:
        raise ValueError(f"lengths: got {lengths.min()}, expected lengths of at least 0")
    shortest, longest = lengths.min(), lengths.max()
    width = -(-(longest - shortest + 1) // bins)
    bars = (lengths - shortest) // width
    counts, hits, names = np.bincount(bars), np.bincount(bars, correct), _ranges(shortest, longest, width)
    figure = new_figure(max(6.4, 0.8 * len(names)), 5.2)
    upper, lower = figure.subplots(2, 1, sharex=True)
    _draw_accuracy(upper, counts, hits)
    _draw_counts(lower, counts, hits)
    lower.set_xlabel(f"length in {unit}")
    lower.set_xticks(range(len(names)), names)
    for axes in (upper, lower):
        axes.grid(alpha=0.25, axis="y")
        axes.legend(frameon=False)
    return figure


def _ranges(shortest: int, longest: int, width: int) -> list[str]:
    """The lengths of each bar: ``["7-9", "10-11"]`` for the lengths 7 to 11 and a width of 3."""
    starts = range(shortest, longest + 1, width)
    ends = [min(start + width - 1, longest) for start in starts]
    return [f"{start}-{end}" if start < end else f"{start}" for start, end in zip(starts, ends, strict=True)]


def _draw_accuracy(axes: "Axes", counts: np.ndarray, hits: np.ndarray) -> None:
    places, total = np.flatnonzero(counts), hits.sum() / counts.sum()
    shares = hits[places] / counts[places]
    axes.plot(places, shares, "o-", color=COLORS["eval"], label="at this length")
    axes.axhline(total, color=COLORS["train"], linestyle="--", label=f"at all lengths: {total:.2%}")
    axes.set(ylabel="accuracy", title=f"{hits.sum():g} of {counts.sum()} correct")


def _draw_counts(axes: "Axes", counts: np.ndarray, hits: np.ndarray) -> None:
    places = np.arange(len(counts))
    axes.bar(places, hits, color=COLORS["train"], label="correct")
    axes.bar(places, counts - hits, bottom=hits, color=COLORS["eval"], label="wrong")
    for place in np.flatnonzero(counts):
        note, above = f"{counts[place] - hits[place]:g} wrong", (place, counts[place])
        axes.annotate(note, above, (0, 2), textcoords="offset points", ha="center", fontsize=8)
    axes.set(ylabel="sequences", ylim=(0, counts.max() * 1.15))


def accuracy_by_place(correct: np.ndarray, chance: float) -> "Figure":
    """A matplotlib figure with one bar for each place of an answer: the accuracy there, and a line for a guess.

    Args:
        correct: booleans ``[N, places]``, True where an answer is correct at a place.
        chance: the accuracy of a guess, 0 to 1.

    Raises:
        ValueError: ``correct`` has another rank, no element or other numbers than 0 and 1; or ``chance`` is outside
            [0, 1].
        TypeError: ``correct`` does not hold booleans, or ``chance`` is not a number.
    """
    correct, chance = as_booleans("correct", correct, "[N, places]"), check_number("chance", chance, "[0, 1]")
    places = range(1, correct.shape[1] + 1)
    figure = new_figure(max(6.4, 0.4 * len(places)), 4)
    axes = figure.subplots()
    bars = axes.bar(places, correct.mean(axis=0), color=COLORS["eval"])
    axes.bar_label(bars, fmt="{:.1%}", fontsize=8)
    axes.axhline(chance, color=COLORS["train"], linestyle="--", label=f"guessing: {chance:.1%}")
    axes.set(xlabel="place in the answer", ylabel="accuracy", ylim=(0, 1.25))  # room for the legend
    axes.set_title(f"{correct.mean():.2%} of places and {correct.all(axis=1).mean():.2%} of answers correct")
    axes.set_xticks(places)
    axes.grid(alpha=0.25, axis="y")
    axes.legend(frameon=False, loc="upper right")
    return figure


def accuracy_over_time(lengths: np.ndarray, correct: np.ndarray, unit: str = "steps") -> "Figure":
    """A matplotlib figure of the accuracy at each time step, over the sequences that have this step.

    Args:
        lengths: integers ``[N]`` from 0 to T, the number of valid steps of each sequence.
        correct: booleans ``[N, T]``, True where a sequence is classified correctly at a step.
        unit: the unit of the steps, for the label of the axis.

    Raises:
        ValueError: ``correct`` has another rank, no element or other numbers than 0 and 1; or the lengths do not fit
            it, or all are 0.
        TypeError: lengths are not integers, or ``correct`` does not hold booleans.
    """
    lengths, correct = as_integers("lengths", lengths, "[N]"), as_booleans("correct", correct, "[N, T]")
    rows, steps = correct.shape
    if lengths.shape != (rows,) or lengths.min() < 0 or lengths.max() > steps or not lengths.any():
        raise ValueError(f"lengths: got {lengths.tolist()}, expected {rows} numbers from 0 to {steps}")
    valid = np.arange(steps) < lengths[:, None]
    places = np.flatnonzero(valid.any(axis=0))
    counts, hits = valid.sum(axis=0)[places], (correct & valid).sum(axis=0)[places]
    figure = new_figure(6.4, 4)
    axes = figure.subplots()
    axes.plot(places + 1, hits / counts, "o-", color=COLORS["eval"], label="at this step")
    total = hits.sum() / counts.sum()
    axes.axhline(total, color=COLORS["train"], linestyle="--", label=f"at all steps: {total:.2%}")
    axes.set(xlabel=f"time in {unit}", ylabel="accuracy", xticks=places + 1)
    axes.set_title(f"{hits.sum()} of {counts.sum()} correct")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    return figure


def predicted_against_true(targets: np.ndarray, predictions: np.ndarray) -> "Figure":
    """A matplotlib figure of the predictions of a regression against its targets, one point for each example.

    Perfect predictions lie on the diagonal. The predictions of a model that knows only the mean lie on the horizontal
    line. The legend gives the mean squared error of that model and of the predictions.

    Args:
        targets: numbers ``[N]``.
        predictions: numbers ``[N]``.

    Raises:
        ValueError: the targets or predictions have another rank or no number, or their shapes differ.
        TypeError: the targets or predictions are not real numbers.
    """
    targets = as_numbers("targets", targets, "[N]")
    predictions = as_numbers("predictions", predictions, "[N]")
    if targets.shape != predictions.shape:
        raise ValueError(
            f"predictions: got shape {predictions.shape} for targets of shape {targets.shape}, expected one for each"
        )
    error, variance = ((targets - predictions) ** 2).mean(), targets.var()
    figure = new_figure(6, 5.6)
    axes = figure.subplots()
    ends = [targets.min(), targets.max()]
    axes.plot(ends, ends, color=COLORS["train"], label="perfect")
    axes.plot(ends, [targets.mean()] * 2, "--", color=COLORS["train"], label=f"mean: {variance:.4f}")
    axes.plot(targets, predictions, ".", color=COLORS["eval"], markersize=3, label=f"model: {error:.4f}")
    axes.set(xlabel="target", ylabel="prediction")
    axes.set_title(f"mean squared error {error:.2g} over {len(targets)} examples")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, title="mean squared error")
    return figure
