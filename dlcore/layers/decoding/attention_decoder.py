"""A recurrent decoder that attends, in every step, to the outputs of an encoder of another sequence.

    carry, outputs = decoder(inputs, memory, lengths, memory_lengths, initial_carry)

Inputs are ``[*batch, T, E]``. The memory holds an encoder's outputs, ``[*batch, S, M]``. Each has its own lengths.
As in `Recurrent`, padding reaches no value and no gradient.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from flax.typing import Dtype, Initializer

from dlcore.layers.decoding.attention import Attention, check_memory, masked_softmax, weighted_mean
from dlcore.layers.fields import check_fields, parameter
from dlcore.layers.recurrent.carry import Carry, check_like, hidden_of, make_carry
from dlcore.layers.recurrent.scan import CellStep, check_inputs, pure_step
from dlcore.ops import recurrence
from dlcore.ops.arrays import check_floats
from dlcore.ops.chunked_scan import Loop
from dlcore.ops.lengths import check_lengths, zero_padding
from dlcore.utils.checks import check_bool


class AttentionDecoder(nn.Module):
    """A recurrent layer that reads a memory ``m`` in every step, with the equations of the attention's paper.

    With `LuongAttention` the query is the new state, and the result is fed into the next step (input feeding):

        h_t = cell(h_{t-1}, [x_t, a_{t-1}]),    c_t = attend(score(h_t, m), m),    a_t = tanh([c_t, h_t] W)

    The outputs are ``a_t``; W is ``output_kernel [M + H, features]``, and ``a_0 = 0``. With `BahdanauAttention` the
    query is the old state:

        c_t = attend(score(h_{t-1}, m), m),    h_t = cell(h_{t-1}, [x_t, c_t])

    The outputs are ``h_t``. In both cases the carry is ``(the cell's carry, outputs_t)``; `initialize_carry` makes one
    from an encoder's last state. The weights ``[*batch, T, S]`` are sown into ``intermediates`` as ``weights``. Only
    ``apply(..., mutable=["intermediates"])`` keeps them, for figures.

    Attributes:
        cell: a cell of dlcore, or any ``flax.linen.RNNCellBase`` over ``[..., features]`` with h as the last part of
            its carry. Its dropout draws anew in every step.
        attention: scores the steps of the memory.
        features: the width of ``a_t``; None is the width of h. It must be None with `BahdanauAttention`.
        time_chunk: as in `Recurrent`. For the gradient, additive attention keeps ``T * S`` vectors for each row; with
            ``time_chunk`` it keeps ``time_chunk * S``.
        truncate: as in `Recurrent`.
        unroll: as in `Recurrent`.
        kernel_init: initializer of W.
        dtype: dtype of the product with W; None promotes, as in flax.
        param_dtype: dtype of W.

    Raises:
        ValueError: features does not fit the attention or is below 1, or the cell is not one over vectors.
        TypeError: the cell is no flax cell, the attention no `Attention`, or another setting has another type than
            stated here.

    >>> from dlcore.layers.decoding.attention import LuongAttention
    >>> from dlcore.layers.recurrent.cells import GRUCell
    >>> decoder = AttentionDecoder(GRUCell(features=4), LuongAttention("general"))
    >>> inputs, memory, memory_lengths = jnp.ones((2, 5, 3)), jnp.ones((2, 7, 6)), jnp.array([7, 2])
    >>> variables = jax.jit(decoder.init)(jax.random.key(0), inputs, memory, None, memory_lengths)
    >>> import functools
    >>> apply = jax.jit(functools.partial(decoder.apply, mutable=["intermediates"]))
    >>> (carry, outputs), seen = apply(variables, inputs, memory, None, memory_lengths)
    >>> outputs.shape, seen["intermediates"]["weights"][0].shape
    ((2, 5, 4), (2, 5, 7))
    """

    cell: nn.RNNCellBase
    attention: Attention
    _: dataclasses.KW_ONLY
    features: int | None = None
    time_chunk: int | None = None
    truncate: int | None = None
    unroll: int = 2
    kernel_init: Initializer = nn.initializers.lecun_normal()
    dtype: Dtype | None = None
    param_dtype: Dtype = jnp.float32

    def __post_init__(self) -> None:
        check_fields(self)
        if self.cell.num_feature_axes != 1:
            raise ValueError(f"cell: got {type(self.cell).__name__}, expected one over [..., features]")
        if self.features is not None and self.attention.attends == "before":
            raise ValueError(
                f"features: got {self.features} with {type(self.attention).__name__}, where the outputs are the "
                "cell's, expected None"
            )
        super().__post_init__()

    def __call__(
        self,
        inputs: jax.Array,
        memory: jax.Array,
        lengths: jax.Array | None = None,
        memory_lengths: jax.Array | None = None,
        initial_carry: Carry | None = None,
        *,
        train: bool = False,
    ) -> tuple[Carry, jax.Array]:
        """Decodes whole sequences.

        Args:
            inputs: ``[*batch, T, E]``, in training the embedded targets of the previous steps (teacher forcing).
            memory: ``[*batch, S, M]``, an encoder's outputs. A row of memory length 0 has contexts 0.
            lengths: ``[*batch]`` integers, the number of valid steps of each row of the inputs; None: all T.
            memory_lengths: ``[*batch]`` integers, the number of valid steps of each row of the memory; None: all S.
            initial_carry: a carry from `initialize_carry`; None is that without an encoder's state.
            train: True if the cell's dropout and zoneout draw.

        Returns:
            The carry after each row's last valid step, and the outputs: ``a_t [*batch, T, features]`` or
            ``h_t [*batch, T, H]``, 0 in the padding.

        Raises:
            ValueError: shapes do not fit, or a length is out of its bounds.
            TypeError: inputs or memory are not real floating point numbers, or lengths are not integers.
        """
        loop = Loop(False, self.unroll, self.time_chunk, self.truncate)
        inputs = check_inputs(self.cell, inputs)
        batch = inputs.shape[:-2]
        lengths = None if lengths is None else check_lengths(lengths, inputs.shape, len(batch))
        carry = self._checked_carry("initial_carry", initial_carry, inputs.shape)
        memory_lengths = self._check_memory(memory, memory_lengths, batch)

        def flat(array: jax.Array) -> jax.Array:
            return array.reshape(math.prod(batch), *array.shape[len(batch) :])

        rows, memory, lengths, memory_lengths, carry = jax.tree.map(
            flat, (inputs, memory, lengths, memory_lengths, carry)
        )
        step = self._make_step(memory, memory_lengths, (len(rows), rows.shape[-1]), train)
        result = recurrence.masked_scan(step, carry, rows, lengths, loop)
        carry, (outputs, weights) = jax.tree.map(
            lambda array: array.reshape(*batch, *array.shape[1:]), result
        )
        self.sow("intermediates", "weights", weights)
        return carry, outputs

    def step(
        self,
        carry: Carry,
        inputs: jax.Array,
        memory: jax.Array,
        memory_lengths: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> tuple[Carry, jax.Array]:
        """One step with the same parameters, for `generate`: carry, inputs ``[*batch, E]`` -> new carry, outputs.

        Outputs are ``[*batch, features]`` or ``[*batch, H]``; memory, lengths and errors are as in a call. Every step
        computes also what depends on the memory only. In a compiled loop with a constant memory, as in `generate`,
        XLA moves that computation before the loop.
        """
        inputs = check_floats("inputs", inputs, 1, "[*batch, features]")
        memory_lengths = self._check_memory(memory, memory_lengths, inputs.shape[:-1])
        carry = self._checked_carry("carry", carry, memory.shape)
        step = self._make_step(memory, memory_lengths, inputs.shape, train)
        carry, (outputs, weights) = step(carry, inputs, 0)
        self.sow("intermediates", "weights", weights)
        return carry, outputs

    @nn.nowrap
    def initialize_carry(self, input_shape: tuple[int, ...], state: Carry | None = None) -> Carry:
        """The carry before the first step: the pair of the cell's carry and the outputs ``a_0`` or ``h_0``.

        Args:
            input_shape: the shape ``[*batch, T, E]`` of the inputs, or that of the memory: only ``*batch`` counts.
            state: the cell's carry, such as the last one of an encoder with an equal cell; None is the cell's own
                initial carry.
        """
        batch = tuple(input_shape[:-2])
        if state is None:
            state = make_carry(self.cell, (*batch, 1))
        if self.attention.attends == "before":
            return state, hidden_of(state)
        features = self.features or self._hidden_width()
        return state, jnp.zeros((*batch, features), self.dtype or self.param_dtype)

    @nn.nowrap
    def _hidden_width(self) -> int:
        """H, the width of the cell's h."""
        return hidden_of(jax.eval_shape(lambda: make_carry(self.cell, (1,)))).shape[-1]

    @nn.nowrap
    def _checked_carry(self, name: str, carry: Carry | None, input_shape: tuple[int, ...]) -> Carry:
        if carry is None:
            return self.initialize_carry(input_shape)
        expected = jax.eval_shape(lambda: self.initialize_carry(input_shape))
        owner = f"for a {type(self.cell).__name__} and the outputs; initialize_carry(inputs.shape, its carry) makes one"
        check_like(name, carry, expected, owner)
        return carry

    @nn.nowrap
    def _check_memory(
        self, memory: jax.Array, lengths: jax.Array | None, batch: tuple[int, ...]
    ) -> jax.Array | None:
        lengths = check_memory(memory, lengths, "memory_lengths")
        if memory.shape[:-2] != batch:
            raise ValueError(
                f"memory: got shape {memory.shape}, expected the inputs' batch {batch} and [S, features]"
            )
        return lengths

    @nn.compact
    def _make_step(
        self, memory: jax.Array, lengths: jax.Array | None, input_shape: tuple[int, ...], train: bool
    ) -> CellStep:
        """The decoder's step as a pure function, for inputs ``[*batch, E]`` of this shape."""
        memory = memory if lengths is None else zero_padding(memory, lengths)
        *batch, depth = input_shape
        width = self._hidden_width()
        features = self.features or width
        scores = self.attention(memory, width)

        def read(query: jax.Array) -> tuple[jax.Array, jax.Array]:
            weights = masked_softmax(scores(query), lengths)
            return weighted_mean(weights, memory), weights

        if self.attention.attends == "before":
            return _attend_before(self._cell_step((*batch, depth + memory.shape[-1]), train), read)
        kernel_shape = (memory.shape[-1] + width, features)
        kernel = parameter(self, "output_kernel", self.kernel_init, kernel_shape, self.param_dtype)

        def combine(context: jax.Array, hidden: jax.Array) -> jax.Array:
            joined, weights = promote_dtype(_join(context, hidden), kernel, dtype=self.dtype)
            return jnp.tanh(joined @ weights)

        return _attend_after(self._cell_step((*batch, depth + features), train), read, combine)

    def _cell_step(self, input_shape: tuple[int, ...], train: bool) -> CellStep:
        check_bool("train", train)
        state = make_carry(self.cell, input_shape)
        return pure_step(self.cell, state, jnp.zeros(input_shape), train)


def _attend_after(
    cell: CellStep, read: Callable[[jax.Array], Any], combine: Callable[..., jax.Array]
) -> CellStep:
    """A step whose query is the new state (Luong)."""

    def step(carry: Carry, inputs: jax.Array, t: Any) -> tuple[Carry, Any]:
        state, outputs = carry
        state, hidden = cell(state, _join(inputs, outputs), t)
        context, weights = read(hidden)
        outputs = combine(context, hidden)
        return (state, outputs), (outputs, weights)

    return step


def _attend_before(cell: CellStep, read: Callable[[jax.Array], Any]) -> CellStep:
    """A step whose query is the old state (Bahdanau)."""

    def step(carry: Carry, inputs: jax.Array, t: Any) -> tuple[Carry, Any]:
        state, hidden = carry
        context, weights = read(hidden)
        state, hidden = cell(state, _join(inputs, context), t)
        return (state, hidden), (hidden, weights)

    return step


def _join(*parts: jax.Array) -> jax.Array:
    return jnp.concatenate(parts, axis=-1)
