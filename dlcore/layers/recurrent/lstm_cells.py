"""LSTMs whose gates see the memory, and LSTMs whose memory is wider than their output."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Initializer

from dlcore.layers.recurrent import initializers
from dlcore.layers.recurrent.carry import Carry
from dlcore.layers.recurrent.cell import Weights
from dlcore.layers.recurrent.cells import FusedCell
from dlcore.layers.recurrent.gates import LSTMGates
from dlcore.ops.peephole_lstm import PeepholeKernels, PeepholeLstm
from dlcore.ops.projected_lstm import ProjectedKernels, ProjectedLstm


class _FusedLSTM(FusedCell, LSTMGates):
    """What both cells share: the gates' values are those of the step itself."""

    @property
    def equations(self) -> PeepholeLstm | ProjectedLstm:
        raise NotImplementedError

    def gate_values(self, carry: Carry, inputs: jax.Array) -> dict[str, jax.Array]:
        """A dict: gate name -> its value ``[..., H]`` in the step from this carry; see `Cell.gate_values`."""
        weights, carry, inputs = self._promoted(carry, inputs)
        _, gates = self.equations.update(self._kernels(self._cast(weights, inputs.dtype)), carry, inputs)
        values = jnp.split(gates.sigmoids, len(self.gate_names), axis=-1)
        return dict(zip(self.gate_names, values, strict=True))


class PeepholeLSTMCell(_FusedLSTM):
    """The LSTM with peepholes (Gers & Schmidhuber 2000, Recurrent nets that time and count)

        i = sigma(x_t W_i + h_{t-1} U_i + p_i * c_{t-1} + b_i),    f likewise
        g = tanh(x_t W_g + h_{t-1} U_g + b_g),    c_t = f * c_{t-1} + i * g
        o = sigma(x_t W_o + h_{t-1} U_o + p_o * c_t + b_o),    h_t = o * tanh(c_t)

    Each gate has its own columns of W, U and b, in the order i, f, o, g. The peepholes are diagonal: a unit's gates see
    the memory of this unit only. Their parameter is ``peephole_kernel [3H]``, in the order i, f, o. The carry is
    ``(c, h)``.

    Attributes:
        forget_bias: initial value of the forget gate's bias (Jozefowicz et al. 2015).
        peephole_init: initializer of one gate's peepholes. With zeros, the default, the cell starts as an `LSTMCell`.

    Raises:
        ValueError: as in `Cell`.
        TypeError: as in `Cell`.

    >>> cell = PeepholeLSTMCell(features=3)
    >>> carry = cell.initialize_carry(jax.random.key(0), (2, 5))
    >>> variables = jax.eval_shape(cell.init, jax.random.key(0), carry, jnp.ones((2, 5)))
    >>> {name: leaf.shape for name, leaf in variables["params"].items()}
    {'bias': (12,), 'input_kernel': (5, 12), 'peephole_kernel': (9,), 'recurrent_kernel': (3, 12)}
    """

    peephole_init: Initializer = nn.initializers.zeros

    @property
    def equations(self) -> PeepholeLstm:
        return PeepholeLstm()

    @nn.nowrap
    def _parameters(self, depth: int) -> dict[str, tuple[Initializer, tuple[int, ...]]]:
        peepholes = initializers.per_gate(self.peephole_init, 3), (3 * self.features,)
        return super()._parameters(depth) | {"peephole_kernel": peepholes}

    @nn.nowrap
    def _kernels(self, weights: Weights) -> PeepholeKernels:
        return PeepholeKernels(super()._kernels(weights), weights["peephole_kernel"])


class ProjectedLSTMCell(_FusedLSTM):
    """The LSTM with a recurrent projection, LSTMP (Sak, Senior & Beaufays 2014, arXiv 1402.1128), without peepholes

        i, f, o = sigma(x_t W + h_{t-1} U + b),    g = tanh(x_t W + h_{t-1} U + b)
        c_t = f * c_{t-1} + i * g,    h_t = (o * tanh(c_t)) V

    The memory c has H numbers, the output h has P. U has P rows in place of H, so a wide memory costs fewer weights.
    torch calls P ``proj_size``. The parameters are ``input_kernel [F, 4H]``, ``recurrent_kernel [P, 4H]``,
    ``bias [4H]`` and V, ``projection_kernel [H, P]``, with the gates in the order i, f, o, g. The carry is ``(c, h)``.

    Attributes:
        features: H, the width of the memory and of the gates.
        forget_bias: initial value of the forget gate's bias (Jozefowicz et al. 2015).
        projection: P, the width of the output; None is a quarter of the features, rounded down, but at least 1.
        projection_init: initializer of V.

    Raises:
        ValueError: projection is below 1; or as in `Cell`.
        TypeError: projection is not an integer; or as in `Cell`.

    >>> cell = ProjectedLSTMCell(features=8, projection=3)
    >>> carry = cell.initialize_carry(jax.random.key(0), (2, 5))
    >>> [part.shape for part in carry]
    [(2, 8), (2, 3)]
    """

    projection: int | None = None
    projection_init: Initializer = nn.initializers.lecun_normal()

    @property
    def equations(self) -> ProjectedLstm:
        return ProjectedLstm()

    @property
    def carry_widths(self) -> tuple[int, ...]:
        return self.features, self._outputs

    @property
    def _outputs(self) -> int:
        return max(self.features // 4, 1) if self.projection is None else self.projection

    @nn.nowrap
    def _parameters(self, depth: int) -> dict[str, tuple[Initializer, tuple[int, ...]]]:
        parameters = super()._parameters(depth)
        init, (_, width) = parameters["recurrent_kernel"]
        return parameters | {
            "recurrent_kernel": (init, (self._outputs, width)),
            "projection_kernel": (self.projection_init, (self.features, self._outputs)),
        }

    @nn.nowrap
    def _kernels(self, weights: Weights) -> ProjectedKernels:
        return ProjectedKernels(super()._kernels(weights), weights["projection_kernel"])
