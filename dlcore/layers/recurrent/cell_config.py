"""The settings of a recurrent experiment's cell, the same flags wherever a cell is chosen by its name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from flax import linen as nn
from flax.typing import Initializer

from dlcore.config.settings import setting
from dlcore.layers.recurrent import initializers
from dlcore.layers.recurrent.cells import CELLS, Cell

CellName: TypeAlias = Literal["rnn", "identity", "residual", "lstm", "gru"]
RECURRENT_INITS: dict[str, Callable[[float], Initializer]] = {
    "orthogonal": nn.initializers.orthogonal,
    "gaussian": lambda scale: nn.initializers.variance_scaling(scale**2, "fan_in", "normal"),
    "identity": initializers.identity,
}
"""How a recurrent kernel starts, gate by gate, times a scale; a gaussian one has a spectral radius of about that."""


@dataclass
class CellConfig:
    """What a cell is and starts with. An experiment's Config inherits the flags, and may have other defaults:

    ``class Config(dl.CellConfig, dl.Config)``, and then ``dl.Recurrent(config.make_cell())``.

    >>> CellConfig("lstm", 8, forget_bias=4.0).make_cell().forget_bias
    4.0
    """

    cell: CellName = setting("gru", "Of dl.CELLS.")
    features: int = setting(64, "Units.", minimum=1)
    forget_bias: float | None = setting(None, "Where the lstm's forget gate starts; none is 1.")
    chrono: int | None = setting(
        None,
        "The longest memory in steps, with which biases of lstm and gru start, see LSTMCell; none: as they do.",
        minimum=3,
    )
    recurrent_init: Literal["own", "orthogonal", "gaussian", "identity"] = setting(
        "own",
        "How the recurrent kernel starts, gate by gate; own: of the cell identity as that, else orthogonal.",
    )
    recurrent_scale: float = setting(
        1.0, "Factor of the recurrent kernel's start; below 1 the plain cell's gradient vanishes.", above=0
    )
    input_deviation: float | None = setting(
        None, "Of the input kernel's normal start; none is lecun_normal, of the identity 0.001.", above=0
    )

    def make_cell(self) -> Cell:
        """The cell, unbound.

        Raises:
            ValueError: it has no gate for such a bias, two settings say where one starts, or there is no such cell.
        """
        if self.cell not in CELLS:
            raise ValueError(f"cell: got {self.cell!r}, expected one of {', '.join(CELLS)}")
        if self.chrono is not None and self.forget_bias is not None:
            raise ValueError(
                f"chrono: got {self.chrono} and a forget_bias of {self.forget_bias}, expected one of them"
            )
        settings: dict[str, Any] = {}
        for name, gated in (("forget_bias", ("lstm",)), ("chrono", ("lstm", "gru"))):
            value = getattr(self, name)
            if value is None:
                continue
            if self.cell not in gated:
                raise ValueError(
                    f"{name}: got {value} for the cell {self.cell!r}, expected none, which has no such gate; "
                    f"it is for {' and '.join(gated)}"
                )
            settings[name] = value
        if (self.recurrent_init, self.recurrent_scale) != ("own", 1):
            own = "identity" if self.cell == "identity" else "orthogonal"
            start = own if self.recurrent_init == "own" else self.recurrent_init
            settings["recurrent_kernel_init"] = RECURRENT_INITS[start](self.recurrent_scale)
        if self.input_deviation is not None:
            settings["kernel_init"] = nn.initializers.normal(self.input_deviation)
        return CELLS[self.cell](self.features, **settings)
