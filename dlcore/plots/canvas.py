"""TODO."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


COLORS = {"train": "#7a8ba3", "eval": "#c1440e"}


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of this size in inches."""
    from matplotlib.figure import Figure  # late: `import dlcore` loads no plotting package

    return Figure(figsize=(width, height), layout="constrained", dpi=120)
