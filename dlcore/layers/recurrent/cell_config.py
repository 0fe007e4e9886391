"""The settings of a recurrent experiment's cell: the same flags wherever a cell is chosen by its name."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias

from flax import linen as nn
from flax.typing import Initializer

from dlcore.config.settings import Settings, check, setting
from dlcore.layers.recurrent import initializers
from dlcore.layers.recurrent.cell import Cell
from dlcore.layers.recurrent.cells import GRUCell, IdentityRNNCell, LSTMCell, ResidualRNNCell, RNNCell
from dlcore.layers.recurrent.lstm_cells import PeepholeLSTMCell, ProjectedLSTMCell

CellName: TypeAlias = Literal["rnn", "identity", "residual", "lstm", "gru", "peephole", "projected"]
CELLS: dict[str, Callable[..., Cell]] = {
    "rnn": RNNCell,
    "identity": IdentityRNNCell,
    "residual": functools.partial(ResidualRNNCell, feedback=True),
    "lstm": LSTMCell,
    "gru": GRUCell,
    "peephole": PeepholeLSTMCell,
    "projected": ProjectedLSTMCell,
}
"""By the name that flags use, the function that makes a cell from its features and keywords."""
RECURRENT_INITS: dict[str, Callable[[float], Initializer]] = {
    "orthogonal": nn.initializers.orthogonal,
    "gaussian": lambda scale: nn.initializers.variance_scaling(scale**2, "fan_in", "normal"),
    "identity": initializers.identity,
}
"""By name, functions from a scale to the initializer of one gate's block of a recurrent kernel.

The spectral radius of a gaussian kernel is about its scale.
"""
CELLS_WITH = {
    "forget_bias": ("lstm", "peephole", "projected"),
    "chrono": ("lstm", "gru"),
    "projection": ("projected",),
}
"""For each setting that some cells have, the names of these cells."""


@dataclass
class CellConfig(Settings):
    """The settings that choose a recurrent cell, its width and its initial values.

    An experiment's Config inherits them as flags and may change their defaults:
    ``class Config(dl.CellConfig, dl.Config)``, and then ``dl.Recurrent(config.make_cell())``.

    >>> CellConfig("lstm", 8, forget_bias=4.0).make_cell().forget_bias
    4.0
    """

    cell: CellName = setting("gru", "Name of the cell in dl.CELLS.")
    features: int = setting(64, "Number of units.", minimum=1)
    forget_bias: float | None = setting(
        None,
        "Initial bias of the forget gate of lstm, peephole and projected; none takes the cell's default, 1.",
    )
    chrono: int | None = setting(
        None,
        "Longest memory in steps; biases of lstm and gru spread memories up to it, see LSTMCell. None does not.",
        minimum=3,
    )
    recurrent_init: Literal["own", "orthogonal", "gaussian", "identity"] = setting(
        "own",
        "Initializer of the recurrent kernel, gate by gate; own is identity for the cell identity, else orthogonal.",
    )
    recurrent_scale: float = setting(
        1.0,
        "Factor of the recurrent kernel's initial values; below 1 the plain cell's gradient vanishes.",
        above=0,
    )
    input_deviation: float | None = setting(
        None,
        "Standard deviation of the input kernel's normal initializer; none takes lecun_normal, or 0.001 for the "
        "cell identity.",
        above=0,
    )
    projection: int | None = setting(
        None, "Number of outputs of the cell projected; none is a quarter of its units.", minimum=1
    )

    def make_cell(self) -> Cell:
        """The `Cell` that the settings describe, unbound (without parameters).

        Raises:
            ValueError: a setting has another type or is out of its bounds, the cell does not have it, or two settings
                initialize one bias.
        """
        check(CellConfig(*(getattr(self, field.name) for field in fields(CellConfig))))
        settings: dict[str, Any] = self._own_settings()
        if (self.recurrent_init, self.recurrent_scale) != ("own", 1):
            own = "identity" if self.cell == "identity" else "orthogonal"
            init = own if self.recurrent_init == "own" else self.recurrent_init
            settings["recurrent_kernel_init"] = RECURRENT_INITS[init](self.recurrent_scale)
        if self.input_deviation is not None:
            settings["kernel_init"] = nn.initializers.normal(self.input_deviation)
        return CELLS[self.cell](self.features, **settings)

    def _own_settings(self) -> dict[str, Any]:
        """The given settings of `CELLS_WITH`, checked."""
        if self.chrono is not None and self.forget_bias is not None:
            raise ValueError(
                f"chrono: got {self.chrono} and a forget_bias of {self.forget_bias}, expected one of them"
            )
        settings = {name: getattr(self, name) for name in CELLS_WITH if getattr(self, name) is not None}
        for name, value in settings.items():
            if self.cell not in CELLS_WITH[name]:
                raise ValueError(
                    f"{name}: got {value} for the cell {self.cell!r}, expected none, as it has no such part; "
                    f"it is for {' and '.join(CELLS_WITH[name])}"
                )
        return settings
