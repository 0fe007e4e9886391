"""What all figures share: the colors, an empty figure, and the files that figures are saved in.

Every function of a figure imports matplotlib when it is called, so that ``import dlcore`` stays fast.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dlcore.utils.checks import check_number
from dlcore.utils.files import atomic_write_bytes

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

COLORS = {"train": "#7a8ba3", "eval": "#c1440e"}
"""The color of training and of evaluation; figures with other pairs use them for reference and model."""


def new_figure(width: float, height: float) -> "Figure":
    """An empty matplotlib figure with this width and height in inches.

    Raises:
        ValueError: a size is not above 0, or not finite.
        TypeError: a size is not a number.
    """
    from matplotlib.figure import Figure

    size = check_number("width", width, "(0, inf)"), check_number("height", height, "(0, inf)")
    return Figure(figsize=size, layout="constrained", dpi=120)


def label_log_axis(axis: "Axis") -> None:
    """Gives a logarithmic axis of less than two decades at least two labels, in plain numbers (0.7, not 7 x 10^-1).

    Call it after everything is drawn, as it looks at the axis' limits. A longer axis keeps its powers of ten.
    """
    from matplotlib.ticker import LogLocator, MaxNLocator

    low, high = sorted(axis.get_view_interval())
    if high >= 100 * low:
        return
    few = high < 3 * low  # such an axis may hold only one of the places below, or none
    axis.set_major_locator(MaxNLocator(6) if few else LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter("")


def save_figures(folder: Path, figures: Mapping[str, "Figure"]) -> Iterator[Path]:
    """Saves each figure as ``NAME.png``, whole or not at all; a link with this name is replaced, not followed.

    Args:
        folder: the folder of the files; it is made if it is missing.
        figures: figures by name.

    Returns:
        An iterator of the files' paths. Each figure is saved when the iterator comes to it, so run it to its end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        path = folder / f"{name}.png"
        with atomic_write_bytes(path) as file:
            figure.savefig(file, format="png")
        yield path
