"""Figures of reading: how much a model looks at each sentence of a text."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dlcore.plots.canvas import new_figure
from dlcore.plots.checks import as_names, as_numbers
from dlcore.utils.checks import check_integer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def sentence_attention(
    sentences: Sequence[str], weights: np.ndarray, supporting: Sequence[int] = (), title: str = ""
) -> "Figure":
    """A matplotlib figure of a text, one sentence a line, and beside it a column of weights for each look at it.

    The darker a cell, the more the model looked at its sentence. The sentences that the answer follows from are bold
    and have an arrow.

    Args:
        sentences: the S sentences.
        weights: numbers ``[looks, S]`` from 0 to 1, the weights of one look after the other, for instance of
            `dl.attend`.
        supporting: the numbers, from 1, of the sentences that the answer follows from.
        title: stands above the figure, for instance the question and its answer.

    Raises:
        ValueError: the weights are not a matrix with one column a sentence, or not within 0 to 1; or a number is that
            of no sentence.
        TypeError: the weights are not real numbers, a number is no integer, or the sentences are one text or no list.
    """
    sentences, known = as_names("sentences", sentences), as_numbers("weights", weights, "[looks, S]")
    if known.shape[1] != len(sentences):
        raise ValueError(
            f"weights: got shape {known.shape} for {len(sentences)} sentences, expected one column a sentence; cut "
            "the padding off"
        )
    if not ((known >= 0) & (known <= 1 + 1e-3)).all():
        raise ValueError(f"weights: got {known.min():g} to {known.max():g}, expected 0 to 1")
    marked = [
        check_integer("supporting", number, 1, len(sentences))
        for number in as_names("supporting", supporting)
    ]
    longest = max(len(str(sentence)) for sentence in sentences)
    figure = new_figure(2.2 + 0.075 * longest + 0.6 * len(known), 1 + 0.28 * len(sentences))
    axes = figure.subplots()
    _draw_weights(axes, known)
    _draw_sentences(axes, sentences, marked)
    figure.suptitle(str(title), fontsize=10)
    return figure


def _draw_weights(axes: "Axes", weights: np.ndarray) -> None:
    axes.imshow(weights.T, cmap="Reds", vmin=0, vmax=1, aspect="auto")
    for (look, place), weight in np.ndenumerate(weights):
        color = "white" if weight > 0.6 else "black"
        axes.text(look, place, f"{weight:.2f}", ha="center", va="center", fontsize=8, color=color)
    axes.set_xticks(range(len(weights)), [f"look {look}" for look in range(1, len(weights) + 1)])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)


def _draw_sentences(axes: "Axes", sentences: Sequence[str], marked: Sequence[int]) -> None:
    lines = [
        f"\u2192 {sentence} {number}" if number in marked else f"{sentence} {number}"
        for number, sentence in enumerate(sentences, start=1)
    ]
    axes.set_yticks(range(len(lines)), lines)
    for number, label in enumerate(axes.get_yticklabels(), start=1):
        label.set_fontweight("bold" if number in marked else "normal")
