"""Figures of texts whose words or characters have numbers: how surprising they were, or how much they counted."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dlcore.plots.canvas import COLORS, new_figure
from dlcore.plots.checks import as_names, as_numbers
from dlcore.utils.checks import check_instance, check_integer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Place = tuple[int, int, str, float]
"""A token's line and column, its text and its number."""


def token_values(
    tokens: Sequence[Sequence[str]],
    values: Sequence[Sequence[float] | np.ndarray],
    titles: Sequence[str] = (),
    *,
    label: str = "",
    width: int = 90,
) -> "Figure":
    """A matplotlib figure of one panel that prints texts, with a color for the number of each word or character.

    If all numbers are at least 0, a stronger color is a larger number. Otherwise positive numbers are red and negative
    ones blue, equally strong on both sides. A line's end within a text is shown as ``↵`` and begins a new line. Words
    have a space between them; a text of single characters has none.

    Args:
        tokens: the words or characters of each text.
        values: finite numbers, one for each token.
        titles: a line above each text; none, or one for each text.
        label: what the numbers are, for the scale of the colors.
        width: the largest number of characters in a line; a longer word has a line of its own.

    Raises:
        ValueError: there is no text, a text has no token, the numbers do not fit the tokens or are not finite, the
            number of titles is neither 0 nor the number of texts, or the width is below 1.
        TypeError: tokens are no texts, the numbers are not real, or the width is not an integer.
    """
    rows = _rows(tokens, values)
    titles = as_names("titles", titles)
    if len(titles) not in (0, len(rows)):
        raise ValueError(f"titles: got {len(titles)} for {len(rows)} texts, expected none or one for each")
    check_integer("width", width)
    places: list[Place] = []
    headings: list[tuple[int, str]] = []
    line = 0
    for index, (texts, numbers) in enumerate(rows):
        if titles:
            parts = textwrap.wrap(str(titles[index]), width) or [""]
            headings += enumerate(parts, line)
            line += len(parts)
        places += _lay_out(texts, numbers, line, width)
        line = places[-1][0] + 2
    columns = max(width, *(column + len(text) for _, column, text, _ in places))
    figure = new_figure(0.4 + 0.085 * columns, 0.9 + 0.2 * line)
    _draw(figure, figure.subplots(), places, headings, label)
    return figure


def bits_by_context(bits: np.ndarray, unit: str = "characters") -> "Figure":
    """A matplotlib figure of one panel: what a token costs a model of language by how much of the text it has read.

    Where the line is flat, what lies further back does not help: the model has no use for it, or has forgotten it.

    Args:
        bits: numbers ``[N, T]``. Column t is the cost of the token that follows on the first t + 1 tokens of N texts.
        unit: what the tokens are, for the label of the axis.

    Raises:
        ValueError: the bits have another rank or no element, or are not finite.
        TypeError: the bits are not real numbers.
    """
    known = as_numbers("bits", bits, "[N, T]")
    if not np.isfinite(known).all():
        raise ValueError(f"bits: got NaN or Inf among {known.size} numbers, expected finite ones")
    starts = [2**power for power in range(known.shape[1].bit_length())]
    groups = np.split(known, np.array(starts[1:], int) - 1, axis=1)
    means = [group.mean() for group in groups]
    errors = [group.mean(axis=1).std() / np.sqrt(len(known)) for group in groups]
    ends = [*starts[1:], known.shape[1] + 1]
    names = [
        f"{start}-{end - 1}" if start < end - 1 else f"{start}"
        for start, end in zip(starts, ends, strict=True)
    ]
    figure = new_figure(7, 4)
    axes = figure.subplots()
    axes.errorbar(range(len(means)), means, errors, fmt="o-", color=COLORS["eval"], capsize=3)
    axes.axhline(known.mean(), color=COLORS["train"], linestyle="--", label=f"mean: {known.mean():.3f}")
    axes.set(
        xlabel=f"{unit} read before", ylabel="bits a token", title=f"{len(known)} texts, with standard errors"
    )
    axes.set_xticks(range(len(means)), names, rotation=45)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    return figure


def _rows(tokens: Any, values: Any) -> list[tuple[list[str], np.ndarray]]:
    """The checked tokens and numbers of each text."""
    texts, numbers = as_names("tokens", tokens), as_names("values", values)
    if not texts or len(texts) != len(numbers):
        raise ValueError(
            f"values: got {len(numbers)} for {len(texts)} texts, expected at least one text, and numbers for each"
        )
    rows = []
    for row, known in zip(texts, numbers, strict=True):
        words, array = as_names("tokens", row), as_numbers("values", known, "[T]")
        for word in words:
            check_instance("tokens", word, str, "words or characters")
        if array.shape != (len(words),) or not np.isfinite(array).all():
            raise ValueError(
                f"values: got shape {array.shape} for {len(words)} tokens, expected a finite number for each"
            )
        rows.append((words, array))
    return rows


def _lay_out(tokens: list[str], values: np.ndarray, line: int, width: int) -> list[Place]:
    """The place of each token of a text that begins in a line."""
    gap = int(any(len(token) > 1 for token in tokens))
    column, places = 0, []
    for token, value in zip(tokens, values, strict=True):
        shown = token.replace("\n", "↵").replace("\t", " ")
        if column and column + len(shown) > width:
            line, column = line + 1, 0
        places.append((line, column, shown, float(value)))
        column += len(shown) + gap
        if token.endswith("\n"):
            line, column = line + 1, 0
    return places


def _draw(
    figure: "Figure",
    axes: "Axes",
    places: list[Place],
    headings: list[tuple[int, str]],
    label: str,
) -> None:
    lines = 1 + max(line for line, *_ in places)
    columns = max(column + len(text) for _, column, text, _ in places)
    colors = np.full((lines, columns), np.nan)
    for line, column, text, value in places:
        colors[line, column : column + len(text)] = value
    most = max(abs(value) for *_, value in places) or 1.0
    signed = min(value for *_, value in places) < 0
    image = axes.imshow(
        colors,
        cmap="RdBu_r" if signed else "Oranges",
        # The strongest colors are too dark for black letters.
        vmin=-1.6 * most if signed else 0,
        vmax=1.6 * most,
        extent=(0, columns, lines - 0.5, -0.5),
        aspect="auto",
    )
    for line, column, text, _ in places:
        middle = column + len(text) / 2
        axes.text(
            middle, line, text, family="monospace", fontsize=8, ha="center", va="center", parse_math=False
        )
    for line, title in headings:
        axes.text(0, line, title, fontsize=8, va="center", style="italic", parse_math=False)
    axes.set_axis_off()
    figure.colorbar(image, ax=axes, label=label, location="bottom", aspect=60)
