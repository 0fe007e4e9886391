"""Figures of clips: a strip of frames for each, with what a model said about them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dlcore.plots.canvas import COLORS, new_figure
from dlcore.plots.checks import as_array, as_integers, as_names
from dlcore.plots.images import draw_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def film_strip(
    clips: np.ndarray, lengths: np.ndarray, truths: Sequence[object], predictions: Sequence[object]
) -> "Figure":
    """A matplotlib figure with one row for each clip: its frames, the truth about them, and a model's predictions.

    The truth about a clip stands at its left. Above each frame stand the truth about it, if frames are labeled, and
    below that the prediction, in red where it is wrong. Frames after the end of a clip are not drawn.

    Args:
        clips: ``[N, T, H, W, C]``.
        lengths: integers ``[N]`` from 1 to T, the number of frames of each clip.
        truths: for each clip the name of its class, or a list of the names of its frames' classes, one for each of T.
        predictions: for each clip a list of the names that were predicted at each of the T frames.

    Raises:
        ValueError: the clips have another rank or no element, a length is out of its bounds, or there are too few or
            too many names.
        TypeError: clips are not real numbers, lengths are not integers, or truths or predictions are no lists of names.
    """
    clips, lengths = as_array("clips", clips, "[N, T, H, W, C]"), as_integers("lengths", lengths, "[N]")
    rows, steps = clips.shape[:2]
    if lengths.shape != (rows,) or lengths.min() < 1 or lengths.max() > steps:
        raise ValueError(f"lengths: got {lengths.tolist()}, expected {rows} numbers from 1 to {steps}")
    known = [_names("truths", truth, steps) for truth in _per_clip("truths", truths, rows)]
    said = [_names("predictions", guess, steps) for guess in _per_clip("predictions", predictions, rows)]
    figure = new_figure(0.85 * steps + 0.8, 1.25 * rows + 0.3)
    panels = figure.subplots(rows, steps, squeeze=False)
    for row, length in enumerate(lengths):
        for step, axes in enumerate(panels[row]):
            if step >= length:
                axes.set_axis_off()
                continue
            draw_image(axes, clips[row, step])
            axes.set(xticks=[], yticks=[])
            right, guess = known[row][step], said[row][step]
            color = COLORS["train"] if right == guess else COLORS["eval"]
            title = guess if isinstance(truths[row], str) else f"{right}\n{guess}"
            axes.set_title(title, fontsize=8, pad=2, color=color)
        label = truths[row] if isinstance(truths[row], str) else "truth\nmodel"
        panels[row, 0].set_ylabel(label, fontsize=9, rotation=0, ha="right", va="center")
    return figure


def _per_clip(name: str, values: Sequence[object], rows: int) -> list[object]:
    """What belongs to each of the clips."""
    names = as_names(name, values)
    if len(names) != rows:
        raise ValueError(f"{name}: got {len(names)}, expected one for each of {rows} clips")
    return names


def _names(name: str, values: object, steps: int) -> list[str]:
    """The names of all frames of a clip; one name counts for all."""
    names = [values] * steps if isinstance(values, str) else as_names(name, values)
    if len(names) != steps:
        raise ValueError(f"{name}: got {len(names)} for a clip, expected one for each of {steps} frames")
    return [str(each) for each in names]
