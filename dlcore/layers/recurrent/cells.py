"""Recurrent cells: the equations of `ops` with parameters, by the lecture's names.

Every cell is a ``flax.linen.RNNCellBase``: ``carry, outputs = cell(carry, inputs)`` is one step, by hand, in
``flax.linen.RNN`` or in `Recurrent`, which asks for ``cell.sequence``: all steps at once, with one fast derivative.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype, Initializer

from dlcore.layers.recurrent import initializers
from dlcore.layers.recurrent.carry import Carry, check_carry
from dlcore.layers.recurrent.noise import Noise, check_rate
from dlcore.ops import recurrence
from dlcore.ops.arrays import check_floats
from dlcore.ops.chunked_scan import Loop
from dlcore.ops.gru import GATES as GRU_GATES
from dlcore.ops.gru import Gru
from dlcore.ops.lstm import GATES as LSTM_GATES
from dlcore.ops.lstm import Lstm
from dlcore.ops.recurrence import Equations, Kernels
from dlcore.ops.rnn import Rnn
from dlcore.utils.checks import check_integer


class Cell(nn.RNNCellBase):
    """What all gated cells share; use one of those below.

    Parameters are ``input_kernel [F, G * H]``, ``recurrent_kernel [H, G * H]`` and ``bias [G * H]``, with the G gates
    side by side in the lecture's order.

    Attributes:
        features: H, the width of the state and of the output.
        use_bias: whether there are biases.
        kernel_init, recurrent_kernel_init, bias_init: of one gate each, whatever their number.
        carry_init: of the state before the first step.
        input_dropout: the share of inputs set to 0 in training, in [0, 1).
        recurrent_dropout: the same of the h that meets the recurrent kernel; the path on which gates keep the old
            state is not broken.
        zoneout: the share of units that keep their old state in a step (Krueger et al. 2017, arXiv 1606.01305); in
            evaluation the mean of old and new with these weights. Of an LSTM's c and h, in this order, also a pair.
        variational: one dropout mask for all steps of a sequence (Gal & Ghahramani 2016, arXiv 1512.05287); otherwise
            one a step. Zoneout always draws anew.
        train: whether dropout and zoneout draw, from the rng stream ``dropout``. Said here or in the call, as in
            ``nn.Dropout(deterministic=...)``; needed only where a rate is not 0.
        dtype, param_dtype: as in flax; state and outputs have the dtype too.

    Raises:
        ValueError: a rate is outside [0, 1), or features below 1. TypeError: features is no integer.
    """

    features: int
    use_bias: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal()
    recurrent_kernel_init: Initializer = nn.initializers.orthogonal()
    bias_init: Initializer = nn.initializers.zeros
    carry_init: Initializer = nn.initializers.zeros
    input_dropout: float = 0.0
    recurrent_dropout: float = 0.0
    zoneout: float | tuple[float, float] = 0.0
    variational: bool = True
    train: bool | None = None
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32

    gates: ClassVar[int] = 1
    gate_names: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        check_integer("features", self.features)
        check_rate("input_dropout", self.input_dropout)
        check_rate("recurrent_dropout", self.recurrent_dropout)
        for rate in self.zoneout if isinstance(self.zoneout, tuple) else (self.zoneout,):
            check_rate("zoneout", rate)
        super().__post_init__()

    @property
    def equations(self) -> Equations:
        """The cell's mathematics as pure functions."""
        raise NotImplementedError

    @property
    def num_feature_axes(self) -> int:
        return 1

    @nn.nowrap
    def initialize_carry(self, rng: jax.Array, input_shape: tuple[int, ...]) -> Carry:
        """The state before the first step, for inputs ``[..., F]``: ``[..., H]``."""
        dtype = self.dtype or self.param_dtype
        return self.carry_init(rng, (*input_shape[:-1], self.features), dtype)

    def __call__(self, carry: Carry, inputs: jax.Array, train: bool | None = None) -> tuple[Carry, jax.Array]:
        """One step: ``carry_{t-1}``, ``x_t [..., F]`` -> ``carry_t``, ``h_t [..., H]``.

        With a fresh dropout mask, as a single step knows of no sequence.

        Raises:
            ValueError: the carry's shape. TypeError: the inputs are no floating point numbers.
        """
        check_carry("carry", carry, self, inputs.shape)
        kernels, carry, inputs = self._promoted(carry, inputs)
        noise = self._noise(train)
        if noise is None:
            carry, _ = self.equations.step(kernels, carry, inputs)
        else:
            mask = noise.recurrent_mask(inputs.shape[:-1], self.features, inputs.dtype)
            step = noise.step(self.equations, kernels, mask)
            carry, _ = step(carry, noise.drop(inputs), 0)
        return carry, self.equations.hidden(carry)

    def sequence(
        self,
        carry: Carry,
        inputs: jax.Array,
        lengths: jax.Array | None = None,
        loop: Loop = Loop(),  # noqa: B008  an immutable constant
        train: bool | None = None,
    ) -> tuple[Carry, jax.Array]:
        """All steps of ``[B, T, F]``; see `ops.recurrence.run`, which is what runs where there is no noise."""
        kernels, carry, inputs = self._promoted(carry, inputs)
        noise = self._noise(train)
        run = recurrence.gated_scan if noise is None else noise.sequence
        return run(self.equations, kernels, carry, inputs, lengths, loop)

    def gate_values(self, carry: Carry, inputs: jax.Array) -> dict[str, jax.Array]:
        """The gates of the step from this carry, without noise, by name, each ``[..., H]``; of a cell without, none.

        >>> cell = LSTMCell(features=3, forget_bias=99.0)
        >>> carry, inputs = cell.initialize_carry(jax.random.key(0), (2, 5)), jnp.zeros((2, 5))
        >>> gates, _ = cell.init_with_output(jax.random.key(0), carry, inputs, method="gate_values")
        >>> {name: gate[0].tolist() for name, gate in gates.items()}
        {'input': [0.5, 0.5, 0.5], 'forget': [1.0, 1.0, 1.0], 'output': [0.5, 0.5, 0.5]}
        """
        kernels, carry, inputs = self._promoted(carry, inputs)
        if not self.gate_names:
            return {}
        return recurrence.gate_values(self.gate_names, kernels, inputs, self.equations.hidden(carry))

    def _noise(self, train: bool | None) -> Noise | None:
        """What there is to draw in this call, or to average over; None where nothing is."""
        rates = (self.input_dropout, self.recurrent_dropout, self.zoneout)
        if not any(jax.tree.leaves(rates)):
            return None
        train = nn.merge_param("train", self.train, train)
        if not train and not any(jax.tree.leaves(self.zoneout)):
            return None
        return Noise(*rates, self.variational, self.make_rng("dropout") if train else None)

    def _promoted(self, carry: Carry, inputs: jax.Array) -> tuple[Kernels, Carry, jax.Array]:
        """Kernels, carry and inputs in the dtype that all are computed in."""
        check_floats("inputs", inputs)
        kernels = self._kernels(inputs.shape[-1])
        dtype = self.dtype or jnp.result_type(inputs, *jax.tree.leaves(kernels))
        kernels, carry, inputs = jax.tree.map(lambda array: array.astype(dtype), (kernels, carry, inputs))
        return kernels, carry, inputs

    @nn.compact
    def _kernels(self, inputs: int) -> Kernels:
        width = self.gates * self.features
        return Kernels(
            self.param("input_kernel", self._per_gate(self.kernel_init), (inputs, width), self.param_dtype),
            self._recurrent_kernel(),
            self.param("bias", self._bias_init(), (width,), self.param_dtype) if self.use_bias else None,
            self._recurrent_bias(),
        )

    def _per_gate(self, init: Initializer) -> Initializer:
        return initializers.per_gate(init, self.gates)

    def _recurrent_kernel(self) -> Any:
        shape = (self.features, self.gates * self.features)
        init = self._per_gate(self.recurrent_kernel_init)
        return self.param("recurrent_kernel", init, shape, self.param_dtype)

    def _bias_init(self) -> Initializer:
        return self._per_gate(self.bias_init)

    def _recurrent_bias(self) -> jax.Array | None:
        return None


class RNNCell(Cell):
    """The plain recurrent cell (lecture: inclusion of feedback; Elman 1990)

        h_t = f(x_t W_xh + h_{t-1} W_hh + b)

    The lecture's whole network adds the readout ``y_t = h_t W_hy``, which is ``nn.Dense(outputs, use_bias=False)`` on
    a layer's outputs.

    Attributes:
        activation: f, element by element; the lecture's is tanh.
        connections: which feedback there is within the layer: ``"direct"``, from each unit to itself (the
            recurrent kernel is its diagonal ``[H]``), ``"lateral"``, to the others (its diagonal is 0), or
            ``"full"``, both. (Lecture: recurrent connections. Indirect feedback is `FeedbackCell`.)

    >>> cell = RNNCell(features=3)
    >>> (carry, outputs), variables = cell.init_with_output(jax.random.key(0), jnp.zeros((2, 3)), jnp.ones((2, 5)))
    >>> {name: leaf.shape for name, leaf in variables["params"].items()}
    {'input_kernel': (5, 3), 'recurrent_kernel': (3, 3), 'bias': (3,)}
    """

    activation: Callable[[jax.Array], jax.Array] = jnp.tanh
    connections: Literal["full", "direct", "lateral"] = "full"

    def __post_init__(self) -> None:
        if self.connections not in ("full", "direct", "lateral"):
            raise ValueError(f'connections: got {self.connections!r}, expected "full", "direct" or "lateral"')
        super().__post_init__()

    @property
    def equations(self) -> Rnn:
        return Rnn(self.activation)

    def _recurrent_kernel(self) -> Any:
        if self.connections == "direct":
            init = _diagonal(self.recurrent_kernel_init)
            return jnp.diag(self.param("recurrent_kernel", init, (self.features,), self.param_dtype))
        kernel = super()._recurrent_kernel()
        if self.connections == "lateral":
            kernel = kernel * (1 - jnp.eye(self.features, dtype=self.param_dtype))
        return kernel


class IdentityRNNCell(RNNCell):
    """The identity-RNN (Le, Jaitly & Hinton 2015, arXiv 1504.00941; lecture: identity-RNN)

        h_t = ReLU(x_t W + h_{t-1} U + b),    U starts as the identity, W small, b = 0

    so that at first the derivative through time is 0 or 1 in every unit.
    """

    kernel_init: Initializer = nn.initializers.normal(1e-3)
    recurrent_kernel_init: Initializer = initializers.identity()
    activation: Callable[[jax.Array], jax.Array] = nn.relu


class ResidualRNNCell(RNNCell):
    """The cell that adds to its state (lecture: gradient flow, the identity)

        h_t = h_{t-1} + f(x_t W + b)                     dh_t / dh_{t-1} = 1
        h_t = h_{t-1} + f(x_t W + h_{t-1} U + b)         with ``feedback``

    Attributes:
        feedback: whether f sees the state, too.
    """

    feedback: bool = False

    @property
    def equations(self) -> Rnn:
        return Rnn(self.activation, residual=True)

    def _recurrent_kernel(self) -> Any:
        return super()._recurrent_kernel() if self.feedback else None


class LSTMCell(Cell):
    """The long short-term memory (Hochreiter & Schmidhuber 1997; Gers et al. 2000; lecture: LSTM)

        i, f, o = sigma(x_t W + h_{t-1} U + b),    g = tanh(x_t W + h_{t-1} U + b)
        c_t = f * c_{t-1} + i * g,    h_t = o * tanh(c_t)

    The gates lie in the order i, f, o, g; the carry is ``(c, h)``, as in flax.

    Attributes:
        forget_bias: where the forget gate's bias starts (Jozefowicz et al. 2015).
        chrono: T_max, the longest dependency to be learned: in its place the forget gates' biases start as
            ``log U(1, T_max - 1)`` and the input gates' as their negatives (Tallec & Ollivier 2018, arXiv 1804.11188).

    Raises:
        ValueError: chrono is below 3, or given to a cell without biases; or as `Cell`. TypeError: it is no integer.

    >>> cell = LSTMCell(features=3)
    >>> carry = cell.initialize_carry(jax.random.key(0), (2, 5))
    >>> variables = cell.init(jax.random.key(0), carry, jnp.ones((2, 5)))
    >>> variables["params"]["bias"].tolist()
    [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    """

    forget_bias: float = 1.0
    chrono: int | None = None

    gates: ClassVar[int] = 4
    gate_names: ClassVar[tuple[str, ...]] = LSTM_GATES

    def __post_init__(self) -> None:
        _check_chrono(self.chrono, self.use_bias)
        super().__post_init__()

    @property
    def equations(self) -> Lstm:
        return Lstm()

    @nn.nowrap
    def initialize_carry(self, rng: jax.Array, input_shape: tuple[int, ...]) -> Carry:
        """The state ``(c, h)`` before the first step, for inputs ``[..., F]``: each ``[..., H]``."""
        of_cell, of_hidden = jax.random.split(rng)
        return super().initialize_carry(of_cell, input_shape), super().initialize_carry(
            of_hidden, input_shape
        )

    def _bias_init(self) -> Initializer:
        if self.chrono is not None:
            return initializers.chrono(self.bias_init, self.gates, self.chrono, keep=1, write=0)
        return initializers.with_gate(self.bias_init, self.gates, 1, self.forget_bias)


class GRUCell(Cell):
    """The gated recurrent unit (Cho et al. 2014, arXiv 1406.1078; lecture: GRU)

        z = sigma(x_t W_z + h_{t-1} U_z + b_z),    r = sigma(x_t W_r + h_{t-1} U_r + b_r)
        g = tanh(x_t W_g + (r * h_{t-1}) U_g + b_g),    h_t = z * h_{t-1} + (1 - z) * g

    The gates lie in the order z, r, g.

    Attributes:
        reset: ``"before"`` the product, as the lecture has it, or ``"after"``, as cuDNN and torch compute it:
            ``g = tanh(x_t W_g + b_g + r * (h_{t-1} U_g + b_Ug))``, with a ``recurrent_bias [H]`` more.
        chrono: T_max, the longest dependency to be learned: the update gates' biases start as ``log U(1, T_max - 1)``
            (after Tallec & Ollivier 2018, arXiv 1804.11188); None: as ``bias_init`` says.
    """

    reset: Literal["before", "after"] = "before"
    chrono: int | None = None

    gates: ClassVar[int] = 3
    gate_names: ClassVar[tuple[str, ...]] = GRU_GATES

    def __post_init__(self) -> None:
        if self.reset not in ("before", "after"):
            raise ValueError(f'reset: got {self.reset!r}, expected "before" or "after"')
        _check_chrono(self.chrono, self.use_bias)
        super().__post_init__()

    @property
    def equations(self) -> Gru:
        return Gru(self.reset)

    def _bias_init(self) -> Initializer:
        if self.chrono is not None:
            return initializers.chrono(self.bias_init, self.gates, self.chrono, keep=0)
        return super()._bias_init()

    def _recurrent_bias(self) -> jax.Array | None:
        if not self.use_bias or self.reset == "before":
            return None
        return self.param("recurrent_bias", self.bias_init, (self.features,), self.param_dtype)


def _check_chrono(chrono: int | None, use_bias: bool) -> None:
    if chrono is None:
        return
    check_integer("chrono", chrono, 3)
    if not use_bias:
        raise ValueError(f"chrono: got {chrono} with use_bias=False, expected a cell with biases, or None")


def _diagonal(init: Initializer) -> Initializer:
    """A diagonal from an initializer of matrices."""

    def diagonal(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
        return jnp.diagonal(init(key, (*shape, *shape), jnp.promote_types(dtype, jnp.float32))).astype(dtype)

    return diagonal


CELLS: dict[str, Callable[..., Cell]] = {
    "rnn": RNNCell,
    "identity": IdentityRNNCell,
    "residual": functools.partial(ResidualRNNCell, feedback=True),
    "lstm": LSTMCell,
    "gru": GRUCell,
}
"""Cells by the names that flags give them."""
