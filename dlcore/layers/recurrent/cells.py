"""The lecture's cells: the equations of `ops.rnn`, `ops.lstm` and `ops.gru` with parameters.

Their products are plain matrix products, so that a whole sequence runs as one program with one fast derivative.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype, Initializer

from dlcore.layers.recurrent import initializers
from dlcore.layers.recurrent.carry import Carry, Lengths
from dlcore.layers.recurrent.cell import Cell, Weights
from dlcore.layers.recurrent.gates import GRUGates, LSTMGates
from dlcore.layers.recurrent.noise import Noise
from dlcore.ops import recurrence
from dlcore.ops.chunked_scan import Loop
from dlcore.ops.elementwise import is_elementwise
from dlcore.ops.gru import Gru
from dlcore.ops.lstm import Lstm
from dlcore.ops.recurrence import Equations, Kernels
from dlcore.ops.rnn import Rnn
from dlcore.utils.checks import check_bool, check_integer


class FusedCell(Cell):
    """A cell whose whole sequence runs in the fast `ops.recurrence.gated_scan`.

    Recurrent dropout in training, and zoneout, change single steps: with them the sequence runs as in `Cell`.
    """

    @property
    def equations(self) -> Equations:
        """The cell's mathematics as pure functions, an `ops.recurrence.Equations`; every subclass defines it."""
        raise NotImplementedError

    @nn.nowrap
    def _run_steps(
        self, weights: Weights, carry: Carry, inputs: jax.Array, noise: Noise, lengths: Lengths, loop: Loop
    ) -> tuple[Carry, jax.Array]:
        if noise.changes_steps or not self._has_fused_derivative(carry):
            return super()._run_steps(weights, carry, inputs, noise, lengths, loop)
        kernels = self._kernels(self._cast(weights, inputs.dtype))
        return recurrence.gated_scan(self.equations, kernels, carry, inputs, lengths, loop)

    def gate_values(self, carry: Carry, inputs: jax.Array) -> dict[str, jax.Array]:
        """A dict: gate name -> its value ``[..., H]`` in the step from this carry; see `Cell.gate_values`.

        >>> cell = LSTMCell(features=3, forget_bias=99.0)
        >>> carry, inputs = cell.initialize_carry(jax.random.key(0), (2, 5)), jnp.zeros((2, 5))
        >>> gates, _ = cell.init_with_output(jax.random.key(0), carry, inputs, method="gate_values")
        >>> {name: gate[0].tolist() for name, gate in gates.items()}
        {'input': [0.5, 0.5, 0.5], 'forget': [1.0, 1.0, 1.0], 'output': [0.5, 0.5, 0.5]}
        """
        weights, carry, inputs = self._promoted(carry, inputs)
        if not self.gate_names:
            return {}
        kernels, hidden = self._kernels(self._cast(weights, inputs.dtype)), self.equations.hidden(carry)
        return recurrence.gate_values(self.gate_names, kernels, inputs, hidden)

    @nn.nowrap
    def _step(
        self, weights: Weights, carry: Carry, inputs: jax.Array, mask: jax.Array | None = None
    ) -> Carry:
        carry, _ = self.equations.step(self._kernels(weights), carry, inputs, mask)
        return carry

    @nn.nowrap
    def _has_fused_derivative(self, carry: Carry) -> bool:
        """True if the differential of `equations` is that of the step."""
        return True

    @nn.nowrap
    def _kernels(self, weights: Weights) -> Any:
        """The weights as the equations take them; a parameter that the cell does not have is None."""
        return Kernels(
            weights["input_kernel"],
            weights.get("recurrent_kernel"),
            weights.get("bias"),
            weights.get("recurrent_bias"),
        )


class RNNCell(FusedCell):
    """The plain recurrent cell (lecture: inclusion of feedback; Elman 1990)

        h_t = f(x_t W_xh + h_{t-1} W_hh + b)

    The lecture's whole network adds the readout ``y_t = h_t W_hy``, which is ``nn.Dense(outputs, use_bias=False)`` on
    a layer's outputs.

    Attributes:
        activation: f, applied element by element; the lecture's is tanh.
        connections: the feedback within the layer (lecture: recurrent connections). ``"direct"`` connects each unit
            to itself: the parameter ``recurrent_kernel [H]`` is the diagonal of W_hh. ``"lateral"`` connects each unit
            to the others: the diagonal of ``recurrent_kernel [H, H]`` counts as 0. ``"full"`` has both. For indirect
            feedback see `FeedbackCell`.

    Raises:
        ValueError: connections is unknown, or the activation changes the shape; or as in `Cell`.
        TypeError: features is not an integer, or the activation is a module or gives no floating point numbers.

    >>> cell = RNNCell(features=3)
    >>> (carry, outputs), variables = cell.init_with_output(jax.random.key(0), jnp.zeros((2, 3)), jnp.ones((2, 5)))
    >>> {name: leaf.shape for name, leaf in variables["params"].items()}
    {'input_kernel': (5, 3), 'recurrent_kernel': (3, 3), 'bias': (3,)}
    """

    activation: Callable[[jax.Array], jax.Array] = jnp.tanh
    connections: Literal["full", "direct", "lateral"] = "full"

    def __post_init__(self) -> None:
        if isinstance(self.activation, nn.Module):
            module = type(self.activation).__name__
            raise TypeError(f"activation: got the module {module}, expected a function such as jnp.tanh")
        super().__post_init__()

    @property
    def equations(self) -> Rnn:
        return Rnn(self.activation)

    @nn.nowrap
    def _has_fused_derivative(self, carry: Carry) -> bool:
        return is_elementwise(self.equations.activate, carry)

    @nn.nowrap
    def _parameters(self, depth: int) -> dict[str, tuple[Initializer, tuple[int, ...]]]:
        parameters = super()._parameters(depth)
        if self.connections == "direct":
            init = initializers.diagonal(self.recurrent_kernel_init)
            parameters["recurrent_kernel"] = init, (self.features,)
        return parameters

    @nn.nowrap
    def _cast(self, weights: Weights, dtype: Dtype) -> Weights:
        """As in `Cell`, with the recurrent kernel as a matrix of the connections that exist."""
        weights = super()._cast(weights, dtype)
        kernel = weights.get("recurrent_kernel")
        if kernel is not None and self.connections == "direct":
            weights["recurrent_kernel"] = jnp.diag(kernel)
        elif kernel is not None and self.connections == "lateral":
            weights["recurrent_kernel"] = kernel * (1 - jnp.eye(self.features, dtype=kernel.dtype))
        return weights


class IdentityRNNCell(RNNCell):
    """The identity-RNN (Le, Jaitly & Hinton 2015, arXiv 1504.00941; lecture: identity-RNN)

        h_t = ReLU(x_t W + h_{t-1} U + b)

    At the start U is the identity, W is normal with standard deviation 0.001, and b = 0. The derivative
    ``dh_t / dh_{t-1}`` is then diagonal, with 0 or 1 for each unit. Attributes are those of `RNNCell`.
    """

    kernel_init: Initializer = nn.initializers.normal(1e-3)
    recurrent_kernel_init: Initializer = initializers.identity()
    activation: Callable[[jax.Array], jax.Array] = nn.relu


class ResidualRNNCell(RNNCell):
    """The cell that adds to its state (lecture: gradient flow, the identity)

        h_t = h_{t-1} + f(x_t W + b)                     feedback=False: dh_t / dh_{t-1} = 1
        h_t = h_{t-1} + f(x_t W + h_{t-1} U + b)         feedback=True

    The other attributes are those of `RNNCell`.

    Attributes:
        feedback: True for the second equation; False (the default) for the first, which has no recurrent kernel.
    """

    feedback: bool = False

    @property
    def equations(self) -> Rnn:
        return Rnn(self.activation, residual=True)

    @nn.nowrap
    def _parameters(self, depth: int) -> dict[str, tuple[Initializer, tuple[int, ...]]]:
        parameters = super()._parameters(depth)
        if not self.feedback:
            del parameters["recurrent_kernel"]
        return parameters


# FusedCell comes first among the bases: its step runs the fused equations.
class LSTMCell(FusedCell, LSTMGates):
    """The long short-term memory (Hochreiter & Schmidhuber 1997; Gers et al. 2000; lecture: LSTM)

        i, f, o = sigma(x_t W + h_{t-1} U + b),    g = tanh(x_t W + h_{t-1} U + b)
        c_t = f * c_{t-1} + i * g,    h_t = o * tanh(c_t)

    Each gate has its own columns of W, U and b, in the order i, f, o, g. The carry is ``(c, h)``, as in flax.

    Attributes:
        forget_bias: initial value of the forget gate's bias (Jozefowicz et al. 2015).
        chrono: T_max, the longest dependency to be learned, in steps. If given, each unit's forget bias starts as
            log u with u uniform in [1, T_max - 1), and its input bias as -log u, in place of ``forget_bias``
            (Tallec & Ollivier 2018, arXiv 1804.11188).

    Raises:
        ValueError: chrono is below 3, or is given for a cell without biases; or as in `Cell`.
        TypeError: features or chrono is not an integer.

    >>> cell = LSTMCell(features=3)
    >>> carry = cell.initialize_carry(jax.random.key(0), (2, 5))
    >>> variables = cell.init(jax.random.key(0), carry, jnp.ones((2, 5)))
    >>> variables["params"]["bias"].tolist()
    [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    """

    chrono: int | None = None

    def __post_init__(self) -> None:
        _check_chrono(self.chrono, self.use_bias)
        super().__post_init__()
        if self.chrono is not None and self.forget_bias != 1:
            raise ValueError(
                f"chrono: got {self.chrono} with forget_bias={self.forget_bias}, expected one of them; chrono draws "
                "the forget gate's bias"
            )

    @property
    def equations(self) -> Lstm:
        return Lstm()

    @nn.nowrap
    def _gate_bias_init(self) -> Initializer:
        if self.chrono is None:
            return super()._gate_bias_init()
        return initializers.chrono(self.bias_init, self.gates, self.chrono, keep=1, write=0)


class GRUCell(FusedCell, GRUGates):
    """The gated recurrent unit (Cho et al. 2014, arXiv 1406.1078; lecture: GRU)

        z = sigma(x_t W_z + h_{t-1} U_z + b_z),    r = sigma(x_t W_r + h_{t-1} U_r + b_r)
        g = tanh(x_t W_g + (r * h_{t-1}) U_g + b_g),    h_t = z * h_{t-1} + (1 - z) * g

    W, U and b hold the columns of z, r and g in this order. The carry is h.

    Attributes:
        reset: ``"before"`` multiplies by r before the product with U_g, as in the lecture. ``"after"`` multiplies after
            it, as cuDNN and torch do: ``g = tanh(x_t W_g + b_g + r * (h_{t-1} U_g + b_Ug))``, where b_Ug is one more
            parameter, ``recurrent_bias [H]``.
        chrono: T_max, the longest dependency to be learned, in steps. If given, each unit's update bias starts as
            log u with u uniform in [1, T_max - 1), in place of ``bias_init`` (after Tallec & Ollivier 2018,
            arXiv 1804.11188).

    Raises:
        ValueError: reset is unknown, or chrono is below 3 or is given for a cell without biases; or as in `Cell`.
        TypeError: features or chrono is not an integer.
    """

    reset: Literal["before", "after"] = "before"
    chrono: int | None = None

    def __post_init__(self) -> None:
        _check_chrono(self.chrono, self.use_bias)
        super().__post_init__()

    @property
    def equations(self) -> Gru:
        return Gru(self.reset)

    @nn.nowrap
    def _gate_bias_init(self) -> Initializer:
        if self.chrono is None:
            return super()._gate_bias_init()
        return initializers.chrono(self.bias_init, self.gates, self.chrono, keep=0)

    @nn.nowrap
    def _parameters(self, depth: int) -> dict[str, tuple[Initializer, tuple[int, ...]]]:
        parameters = super()._parameters(depth)
        if self.use_bias and self.reset == "after":
            parameters["recurrent_bias"] = self.bias_init, (self.features,)
        return parameters


def _check_chrono(chrono: int | None, use_bias: bool) -> None:
    if chrono is None:
        return
    check_integer("chrono", chrono, 3)
    if not check_bool("use_bias", use_bias):
        raise ValueError(f"chrono: got {chrono} with use_bias=False, expected a cell with biases, or None")
