"""Figures of models that read sequences; arrays in, a matplotlib ``Figure`` out."""

from typing import TYPE_CHECKING

import numpy as np

from dlcore.plots.canvas import COLORS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def accuracy_by_length(
    lengths: np.ndarray, right: np.ndarray, unit: str = "steps", bins: int = 8
) -> "Figure":
    """Whether long sequences are harder than short ones: the accuracy at each length, above how many there are.

    Args:
        lengths: ``[N]`` integers. right: ``[N]`` booleans, whether each was classified rightly.
        unit: what a length counts. bins: at most so many bars, each of equally many lengths.

    Raises:
        ValueError: no sequence, fields of different lengths, or bins below 1.
    """
    lengths, right = np.asarray(lengths), np.asarray(right, bool)
    if not len(lengths) or lengths.shape != right.shape or bins < 1:
        raise ValueError(
            f"lengths: got shape {lengths.shape} for {right.shape} of right and {bins} bins, expected [N] of both "
            "with N and bins at least 1"
        )
    shortest = lengths.min()
    width = -(-(lengths.max() - shortest + 1) // bins)
    bars = (lengths - shortest) // width
    counts, rights = np.bincount(bars), np.bincount(bars, right)
    return _draw(counts, rights, _ranges(shortest, lengths.max(), width), unit)


def predicted_against_true(targets: np.ndarray, predictions: np.ndarray) -> "Figure":
    """What a regression said against what was true: on the diagonal it is right, on the flat line it knows the mean.

    Args:
        targets, predictions: ``[N]`` numbers.

    Raises:
        ValueError: no number, or fields of different shapes.
    """
    targets, predictions = np.asarray(targets), np.asarray(predictions)
    if not targets.size or targets.ndim != 1 or targets.shape != predictions.shape:
        raise ValueError(
            f"predictions: got shape {predictions.shape} for targets of shape {targets.shape}, expected [N] of both "
            "with N at least 1"
        )
    error, variance = ((targets - predictions) ** 2).mean(), targets.var()
    figure = new_figure(6, 5.6)
    axes = figure.subplots()
    ends = [targets.min(), targets.max()]
    axes.plot(ends, ends, color=COLORS["train"], label="right")
    axes.plot(ends, [targets.mean()] * 2, "--", color=COLORS["train"], label=f"the mean: {variance:.4f}")
    axes.plot(targets, predictions, ".", color=COLORS["eval"], markersize=3, label=f"the model: {error:.4f}")
    axes.set(xlabel="true", ylabel="said", title=f"mean squared error {error:.2g} over {len(targets)}")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    return figure


def accuracy_by_place(right: np.ndarray, chance: float) -> "Figure":
    """Which of the places of an answer are right, a bar each, beside what guessing gives.

    Args:
        right: ``[N, places]`` booleans. chance: the share that a guess has.

    Raises:
        ValueError: no answer, or no place.
    """
    right = np.asarray(right, bool)
    if right.ndim != 2 or not right.size:
        raise ValueError(f"right: got shape {right.shape}, expected [N, places] with at least one of both")
    figure = new_figure(max(6.4, 0.4 * right.shape[1]), 4)
    axes = figure.subplots()
    bars = axes.bar(range(1, right.shape[1] + 1), right.mean(axis=0), color=COLORS["eval"])
    axes.bar_label(bars, fmt="{:.1%}", fontsize=8)
    axes.axhline(chance, color=COLORS["train"], linestyle="--", label=f"guessing: {chance:.1%}")
    axes.set(xlabel="place in the answer", ylabel="accuracy", ylim=(0, 1.25))  # room for the legend
    axes.set_title(f"{right.mean():.2%} of places right, {right.all(axis=1).mean():.2%} of answers")
    axes.set_xticks(range(1, right.shape[1] + 1))
    axes.grid(alpha=0.25, axis="y")
    axes.legend(frameon=False, loc="upper right")
    return figure


def _ranges(shortest: int, longest: int, width: int) -> list[str]:
    """What each bar holds: ``["7-9", "10-11"]`` for the lengths 7 to 11 by 3."""
    starts = range(shortest, longest + 1, width)
    ends = [min(start + width - 1, longest) for start in starts]
    return [f"{start}-{end}" if start < end else f"{start}" for start, end in zip(starts, ends, strict=True)]


def _draw(counts: np.ndarray, rights: np.ndarray, names: list[str], unit: str) -> "Figure":
    figure = new_figure(max(6.4, 0.8 * len(names)), 5.2)
    upper, lower = figure.subplots(2, 1, sharex=True)
    places, total = np.arange(len(names)), rights.sum() / counts.sum()
    seen = counts > 0
    upper.plot(places[seen], rights[seen] / counts[seen], "o-", color=COLORS["eval"], label="at this length")
    upper.axhline(total, color=COLORS["train"], linestyle="--", label=f"at all lengths: {total:.2%}")
    upper.set(ylabel="accuracy", title=f"{rights.sum():g} of {counts.sum()} right")
    lower.bar(places, rights, color=COLORS["train"], label="right")
    lower.bar(places, counts - rights, bottom=rights, color=COLORS["eval"], label="wrong")
    for place in places[seen]:
        note = f"{counts[place] - rights[place]:g} wrong"
        lower.annotate(
            note, (place, counts[place]), (0, 2), textcoords="offset points", ha="center", fontsize=8
        )
    lower.set(xlabel=f"length in {unit}", ylabel="sequences", ylim=(0, counts.max() * 1.15))
    lower.set_xticks(places, names)
    for axes in (upper, lower):
        axes.grid(alpha=0.25, axis="y")
        axes.legend(frameon=False)
    return figure
