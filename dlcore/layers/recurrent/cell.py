"""The base class of all recurrent cells: parameters, dtypes, the carry, and dropout and zoneout in time.

Every cell is a ``flax.linen.RNNCellBase``: ``carry, outputs = cell(carry, inputs)`` is one step, by hand, in
``flax.linen.RNN`` or in `Recurrent`. `Recurrent` calls ``cell.sequence``, which runs all steps.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeAlias

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype, Initializer

from dlcore.layers.fields import check_fields, parameter
from dlcore.layers.recurrent import initializers
from dlcore.layers.recurrent.carry import Carry, Lengths, check_carry, hidden_of
from dlcore.layers.recurrent.noise import Noise, check_rate
from dlcore.ops.arrays import add_bias, check_floats
from dlcore.ops.chunked_scan import Loop
from dlcore.ops.recurrence import masked_scan
from dlcore.utils.checks import check_bool, check_integer

Weights: TypeAlias = dict[str, jax.Array]
"""A cell's parameters, a dict from their names to arrays."""
ALL_GATES = slice(None)


class Cell(nn.RNNCellBase):
    """A recurrent cell of G gates; use one of its subclasses.

    If the subclass does not say otherwise, the parameters are ``input_kernel [F, G * H]``,
    ``recurrent_kernel [H, G * H]`` and ``bias [G * H]``. Each gate has its own H columns of them, in the lecture's
    order. A subclass states its equations in `_step`. It may state other products in `_product`, and a faster way
    through a whole sequence in `_run_steps`.

    Dropout and zoneout draw from the rng stream ``dropout`` if the call says ``train=True``. Values that dropout keeps
    are divided by 1 - rate. The mask of an image drops whole feature maps, because neighboring pixels have similar
    values (Tompson et al. 2015, arXiv 1411.4280); input dropout on images of one channel therefore drops whole images.
    Zoneout draws for each pixel.

    Attributes:
        features: H, the width of the state and of the output.
        use_bias: True if the cell has biases.
        kernel_init: initializer of one gate's block of the input kernel.
        recurrent_kernel_init: initializer of one gate's block of the recurrent kernel.
        bias_init: initializer of one gate's bias.
        carry_init: initializer of the state before the first step.
        input_dropout: share of inputs that training sets to 0, in [0, 1).
        recurrent_dropout: share of h that training sets to 0 where h meets the recurrent kernel, in [0, 1). The path
            on which gates keep the old state is not broken.
        zoneout: share of units that keep their old state in a training step (Krueger et al. 2017, arXiv 1606.01305).
            The new state in evaluation is ``zoneout * old + (1 - zoneout) * new``. A pair gives the rates of an LSTM's
            c and h, in this order.
        variational: True if all steps of a sequence share one dropout mask (Gal & Ghahramani 2016,
            arXiv 1512.05287); otherwise each step draws its own. Zoneout draws anew in every step.
        dtype: dtype of the computation, the state and the outputs; None promotes inputs and parameters.
        param_dtype: dtype of the parameters.

    Raises:
        ValueError: a rate is outside [0, 1), zoneout has another number of rates than the carry has parts, or
            features is too small.
        TypeError: a setting has another type than stated here.
    """

    features: int
    _: dataclasses.KW_ONLY
    use_bias: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal()
    recurrent_kernel_init: Initializer = nn.initializers.orthogonal()
    bias_init: Initializer = nn.initializers.zeros
    carry_init: Initializer = nn.initializers.zeros
    input_dropout: float = 0.0
    recurrent_dropout: float = 0.0
    zoneout: float | tuple[float, ...] = 0.0
    variational: bool = True
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32

    gates: ClassVar[int] = 1
    gate_names: ClassVar[tuple[str, ...]] = ()
    carry_parts: ClassVar[int] = 1
    min_features: ClassVar[int] = 1
    layout: ClassVar[str] = "[..., features]"

    def __post_init__(self) -> None:
        check_integer("features", self.features, self.min_features)
        check_rate("input_dropout", self.input_dropout)
        check_rate("recurrent_dropout", self.recurrent_dropout)
        rates = self._zoneout_rates()
        for rate in rates:
            check_rate("zoneout", rate)
        if len(rates) != self.carry_parts:
            raise ValueError(
                f"zoneout: got {self.zoneout}, expected one rate, or {self.carry_parts}, one for each part of the state"
            )
        check_fields(self)
        super().__post_init__()

    @property
    def window(self) -> tuple[int, ...]:
        """The kernels' size along each spatial dimension, a tuple; empty for a cell over vectors."""
        return ()

    @property
    def carry_widths(self) -> tuple[int, ...]:
        """The number of units of each part of the carry, a tuple."""
        return (self.features,) * self.carry_parts

    @property
    def num_feature_axes(self) -> int:
        return len(self.window) + 1

    @nn.nowrap
    def initialize_carry(self, rng: jax.Array, input_shape: tuple[int, ...]) -> Carry:
        """The state before the first step, drawn by `carry_init`: ``[..., H]``, or a tuple of such arrays for an LSTM.

        Args:
            rng: random key.
            input_shape: shape of the inputs of one step, ``[..., F]``.

        Raises:
            ValueError: the shape has too few dimensions.
        """
        if len(input_shape) < self.num_feature_axes:
            raise ValueError(
                f"inputs: got shape {tuple(input_shape)}, expected rank {self.num_feature_axes} or more: {self.layout}"
            )
        shapes = [(*input_shape[:-1], width) for width in self.carry_widths]
        dtype = self.dtype or self.param_dtype
        if self.carry_parts == 1:
            return self.carry_init(rng, shapes[0], dtype)
        keys = jax.random.split(rng, self.carry_parts)
        return tuple(self.carry_init(key, shape, dtype) for key, shape in zip(keys, shapes, strict=True))

    def __call__(self, carry: Carry, inputs: jax.Array, *, train: bool = False) -> tuple[Carry, jax.Array]:
        """One step: ``carry_{t-1}``, ``x_t [..., F]`` -> the pair of ``carry_t`` and the output ``h_t [..., H]``.

        With ``train=True`` each call draws a new dropout mask, because a single step belongs to no sequence.

        Raises:
            ValueError: the carry or the inputs have another shape than expected.
            TypeError: the inputs are not floating point numbers.
        """
        check_floats("inputs", inputs)
        check_carry("carry", carry, self, inputs.shape)
        weights, carry, inputs = self._promoted(carry, inputs)
        noise = self._noise(train)
        inputs = noise.drop_inputs(inputs, self._mask_shape(inputs.shape))
        return self._noisy_step(weights, carry, noise)(carry, inputs, 0)

    def sequence(
        self,
        carry: Carry,
        inputs: jax.Array,
        lengths: jax.Array | None = None,
        loop: Loop = Loop(),  # noqa: B008  an immutable constant
        *,
        train: bool = False,
    ) -> tuple[Carry, jax.Array]:
        """Runs all steps in one call. `Recurrent` calls it after it has checked shapes and lengths.

        Args:
            carry: the state before the first step, arrays ``[B, H]``; ``[B, *spatial, H]`` for a convolutional cell.
            inputs: ``[B, T, F]``, or ``[B, T, *spatial, C]`` for a convolutional cell.
            lengths: ``[B]`` integers, the number of valid steps of each row; None if all steps are valid.
            loop: direction and windows of the scan.
            train: True if dropout and zoneout draw.

        Returns:
            The carry after the last valid step that each row runs, and the outputs h, ``[B, T, H]`` or
            ``[B, T, *spatial, H]``.
        """
        weights, carry, inputs = self._promoted(carry, inputs)
        noise = self._noise(train)
        return self._run_steps(weights, carry, self._drop_sequence(noise, inputs), noise, lengths, loop)

    @nn.nowrap
    def _run_steps(
        self, weights: Weights, carry: Carry, inputs: jax.Array, noise: Noise, lengths: Lengths, loop: Loop
    ) -> tuple[Carry, jax.Array]:
        """Scans the step over inputs from which dropout has taken its share; a faster cell overrides this."""
        return masked_scan(self._noisy_step(weights, carry, noise), carry, inputs, lengths, loop)

    def gate_values(self, carry: Carry, inputs: jax.Array) -> dict[str, jax.Array]:
        """A dict: gate name -> its value ``[..., H]`` in the step from this carry, without noise; empty without gates.

        The carry's arrays are ``[..., H]``, the inputs of the step ``[..., F]``. The names are ``gate_names``.
        """
        weights, carry, inputs = self._promoted(carry, inputs)
        weights, count = self._cast(weights, inputs.dtype), len(self.gate_names)
        if not count:
            return {}
        gates = slice(count * self.features)
        fed_back = self._product(weights, "recurrent", hidden_of(carry), gates)
        z = self._drive(weights, inputs)[..., gates] + fed_back
        return dict(zip(self.gate_names, jnp.split(jax.nn.sigmoid(z), count, axis=-1), strict=True))

    @nn.nowrap
    def _step(
        self, weights: Weights, carry: Carry, inputs: jax.Array, mask: jax.Array | None = None
    ) -> Carry:
        """The equations: ``carry_{t-1}, x_t -> carry_t``; the mask multiplies the h that meets the kernel."""
        raise NotImplementedError

    @nn.nowrap
    def _drive(self, weights: Weights, inputs: jax.Array) -> jax.Array:
        """The inputs' part of all pre-activations, with the bias: ``[..., F] -> [..., G * H]``."""
        drive = self._product(weights, "input", inputs)
        return add_bias(drive, weights.get("bias"))

    @nn.nowrap
    def _product(self, weights: Weights, side: str, values: jax.Array, gates: slice = ALL_GATES) -> jax.Array:
        """The product with the "input" or "recurrent" kernel, or with the part of it that belongs to ``gates``."""
        return values @ weights[f"{side}_kernel"][..., gates]

    @nn.nowrap
    def _parameters(self, depth: int) -> dict[str, tuple[Initializer, tuple[int, ...]]]:
        """Initializer and shape of every parameter, for inputs with this number of features."""
        width = self.gates * self.features
        per_gate = functools.partial(initializers.per_gate, gates=self.gates)
        return {
            "input_kernel": (per_gate(self.kernel_init), (*self.window, depth, width)),
            "recurrent_kernel": (per_gate(self.recurrent_kernel_init), (*self.window, self.features, width)),
        } | ({"bias": (self._gate_bias_init(), (width,))} if self.use_bias else {})

    @nn.nowrap
    def _gate_bias_init(self) -> Initializer:
        """The initializer of the bias of all gates."""
        return initializers.per_gate(self.bias_init, self.gates)

    @nn.compact
    def _weights(self, depth: int) -> Weights:
        return {
            name: parameter(self, name, init, shape, self.param_dtype)
            for name, (init, shape) in self._parameters(depth).items()
        }

    @nn.nowrap
    def _promoted(self, carry: Carry, inputs: jax.Array) -> tuple[Weights, Carry, jax.Array]:
        """The parameters, and carry and inputs in the dtype in which the cell computes."""
        inputs = check_floats("inputs", inputs)
        weights = self._weights(inputs.shape[-1])
        dtype = self.dtype or jnp.result_type(inputs, *weights.values())
        carry, inputs = jax.tree.map(lambda array: array.astype(dtype), (carry, inputs))
        return weights, carry, inputs

    @nn.nowrap
    def _cast(self, weights: Weights, dtype: Dtype) -> Weights:
        """The parameters in the dtype in which the cell computes."""
        return {name: array.astype(dtype) for name, array in weights.items()}

    @nn.nowrap
    def _noise(self, train: bool) -> Noise:
        """The noise of one call; it takes a key from the rng stream only if it draws."""
        check_bool("train", train)
        rates = self.input_dropout, self.recurrent_dropout, self._zoneout_rates()
        draws = train and any(jax.tree.leaves(rates))
        return Noise(*rates, self.make_rng("dropout") if draws else None)

    @nn.nowrap
    def _zoneout_rates(self) -> tuple[float, ...]:
        return self.zoneout if isinstance(self.zoneout, tuple) else (self.zoneout,) * self.carry_parts

    @nn.nowrap
    def _mask_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of a dropout mask for ``[..., *spatial, F]``: 1 in the spatial dimensions."""
        batch = len(shape) - self.num_feature_axes
        return (*shape[:batch], *[1] * len(self.window), shape[-1])

    @nn.nowrap
    def _drop_sequence(self, noise: Noise, inputs: jax.Array) -> jax.Array:
        """Input dropout of ``[B, T, ...]``, with one mask for all steps if variational."""
        shape = self._mask_shape(inputs.shape)
        return noise.drop_inputs(inputs, (shape[0], 1, *shape[2:]) if self.variational else shape)

    @nn.nowrap
    def _noisy_step(
        self, weights: Weights, carry: Carry, noise: Noise
    ) -> Callable[[Carry, jax.Array, Any], tuple[Carry, jax.Array]]:
        """The step ``carry_{t-1}, x_t, t -> carry_t, h_t``; this carry gives shapes and dtype."""
        hidden = hidden_of(carry)
        draw_mask = functools.partial(noise.recurrent_mask, self._mask_shape(hidden.shape), hidden.dtype)
        shared = draw_mask(0) if self.variational else None

        def step(carry: Carry, inputs: jax.Array, t: int | jax.Array) -> tuple[Carry, jax.Array]:
            mask = shared if self.variational else draw_mask(t)
            # Cast here, so that the steps' gradients are summed in the parameters' dtype.
            after = self._step(self._cast(weights, inputs.dtype), carry, inputs, mask)
            after = noise.zone_out(carry, after, t)
            return after, hidden_of(after)

        return step
