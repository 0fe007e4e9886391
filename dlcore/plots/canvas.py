"""What all figures share: the colors, an empty figure, and the files that figures are saved in.

Every function of a figure imports matplotlib when it is called, so that ``import dlcore`` stays fast.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLORS = {"train": "#7a8ba3", "eval": "#c1440e"}
"""The color of training and of evaluation; figures with other pairs use them for reference and model."""


def new_figure(width: float, height: float) -> "Figure":
    """An empty matplotlib figure with this width and height in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def save_figures(folder: Path, figures: Mapping[str, "Figure"]) -> Iterator[Path]:
    """Saves each figure as ``NAME.png``.

    Args:
        folder: the folder of the files; it is made if it is missing.
        figures: figures by name.

    Returns:
        An iterator of the files' paths. Each figure is saved when the iterator comes to it, so run it to its end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        path = folder / f"{name}.png"
        figure.savefig(path)
        yield path
