"""A decoder of token sequences: embedding, recurrent cell, attention, and the scores of the next token.

    logits = decoder(labels, memory, memory_lengths, train=True)           # teacher forcing
    tokens, lengths = decoder.decode(memory, memory_lengths, steps=20)     # its own sequences

The memory ``[B, S, M]`` is what an encoder made of the inputs: the outputs of a recurrent layer, or the places of a
convolution's feature maps. The token `data.END` begins and ends every sequence.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.traverse_util import flatten_dict

from dlcore.data.text.vocabulary import END
from dlcore.layers.decoding.attention import Attention, check_memory
from dlcore.layers.decoding.attention_decoder import AttentionDecoder
from dlcore.layers.decoding.beam_search import beam_search
from dlcore.layers.decoding.generate import generate
from dlcore.layers.fields import check_fields
from dlcore.layers.recurrent.carry import Carry, make_carry
from dlcore.layers.recurrent.layer import Recurrent
from dlcore.ops.arrays import check_floats, check_integers
from dlcore.ops.lengths import check_lengths, mean_over_time
from dlcore.utils.checks import check_bool, check_integer, check_number


class SequenceDecoder(nn.Module):
    """Predicts a sequence of tokens, one after the other, from a memory (Sutskever et al. 2014; Bahdanau et al. 2015).

    Its first state is ``tanh(s W + b)`` for each array of the cell's carry, with a vector s of each row: the encoder's
    last state, or the mean of the memory. In every step the cell reads the embedded token before, and the context that
    the attention finds in the memory, see `AttentionDecoder`. Without attention it reads the mean of the memory in
    every step, as Cho et al. 2014 read the encoder's last state.

    Scheduled sampling (Bengio et al. 2015, arXiv 1506.03099) replaces some of the labels that the decoder reads in
    training by its own tokens. They are drawn for all places at once from the distributions that teacher forcing gives
    (Duckworth et al. 2019, arXiv 1906.04331), which costs a second pass.

    Attributes:
        vocabulary: V, the number of tokens.
        cell: a cell of dlcore, such as ``dl.LSTMCell(features=128)``.
        attention: scores the steps of the memory; None: no attention.
        embedding: the width of an embedded token.
        dropout: dropout rate of the embedded tokens and before the last layer.
        sampling: the fraction of the labels that scheduled sampling replaces in training; 0: teacher forcing alone.

    Raises:
        ValueError: a number is out of its bounds.
        TypeError: a field has another type.

    >>> from dlcore.layers.decoding.attention import LuongAttention
    >>> from dlcore.layers.recurrent.cells import GRUCell
    >>> decoder = SequenceDecoder(9, GRUCell(features=8), LuongAttention("general"))
    >>> labels, memory = jnp.array([[5, 3, 0], [7, 0, 0]]), jnp.ones((2, 4, 6))
    >>> variables = jax.jit(decoder.init)(jax.random.key(0), labels, memory)
    >>> decoder.apply(variables, labels, memory).shape
    (2, 3, 9)
    >>> tokens, lengths = decoder.apply(variables, memory, steps=5, beams=2, method="decode")
    >>> tokens.shape, lengths.shape
    ((2, 5), (2,))
    """

    vocabulary: int
    cell: nn.RNNCellBase
    attention: Attention | None = None
    _: dataclasses.KW_ONLY
    embedding: int = 64
    dropout: float = 0.0
    sampling: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("dropout", "sampling"):
            check_number(name, getattr(self, name), "[0, 1)")
        super().__post_init__()

    def setup(self) -> None:
        self.embed = nn.Embed(self.vocabulary, self.embedding)
        self.layer = AttentionDecoder(self.cell, self.attention) if self.attention else Recurrent(self.cell)
        carry = jax.eval_shape(lambda: make_carry(self.cell, (1, 1)))
        self.first = jax.tree.map(lambda leaf: nn.Dense(leaf.shape[-1]), carry)
        self.noise = nn.Dropout(self.dropout)
        self.readout = nn.Dense(self.vocabulary)

    def __call__(
        self,
        labels: jax.Array,
        memory: jax.Array,
        memory_lengths: jax.Array | None = None,
        state: jax.Array | None = None,
        *,
        label_lengths: jax.Array | None = None,
        train: bool = False,
    ) -> jax.Array:
        """The scores of every label, given those before it.

        Args:
            labels: ``[B, N]`` integers, with `END` after the last token of each row.
            memory: ``[B, S, M]``.
            memory_lengths: ``[B]`` integers, the number of valid steps of each row of the memory; None: all S.
            state: s, ``[B, K]``; None: the mean of the memory.
            label_lengths: ``[B]`` integers, the number of labels of each row; later ones do nothing. None: all N.
            train: True for dropout and scheduled sampling.

        Returns:
            Logits ``[B, N, V]``, for `losses.sequences`.

        Raises:
            ValueError: shapes do not fit, or a length is out of its bounds.
            TypeError: labels or lengths are not integers, or the memory is not floating point.
        """
        check_bool("train", train)
        check_memory(memory, memory_lengths, "memory_lengths")
        labels = check_integers("labels", labels)
        if labels.ndim != 2 or labels.shape[:1] != memory.shape[:1]:
            raise ValueError(f"labels: got shape {labels.shape} for a memory {memory.shape}, expected [B, N]")
        if label_lengths is not None:
            label_lengths = check_lengths(label_lengths, labels.shape, name="label_lengths")
        before = jnp.pad(labels[:, :-1], ((0, 0), (1, 0)), constant_values=END)
        arguments = memory, memory_lengths, state, label_lengths, train
        logits = self._scores(before, *arguments)
        if not (train and self.sampling and not self.is_initializing()):
            return logits
        draw, choose = jax.random.split(self.make_rng("dropout"))
        own = jax.random.categorical(draw, jax.lax.stop_gradient(logits))
        replaced = jax.random.bernoulli(choose, self.sampling, before.shape).at[:, 0].set(False)
        return self._scores(jnp.where(replaced, jnp.roll(own, 1, axis=1), before), *arguments)

    def _scores(
        self,
        before: jax.Array,
        memory: jax.Array,
        memory_lengths: jax.Array | None,
        state: jax.Array | None,
        label_lengths: jax.Array | None,
        train: bool,
    ) -> jax.Array:
        inputs = self.noise(self.embed(before), deterministic=not train)
        carry = self.start(memory, memory_lengths, state)
        if isinstance(self.layer, AttentionDecoder):
            _, outputs = self.layer(inputs, memory, label_lengths, memory_lengths, carry, train=train)
        else:
            context = mean_over_time(memory, memory_lengths)[:, None]
            context = jnp.broadcast_to(context, (*inputs.shape[:-1], context.shape[-1]))
            joined = jnp.concatenate([inputs, context], axis=-1)
            _, outputs = self.layer(joined, label_lengths, carry, train=train)
        return self.readout(self.noise(outputs, deterministic=not train))

    def start(
        self, memory: jax.Array, memory_lengths: jax.Array | None = None, state: jax.Array | None = None
    ) -> Carry:
        """The carry before the first token; arguments and errors are those of a call."""
        check_memory(memory, memory_lengths, "memory_lengths")
        if state is None:
            state = mean_over_time(memory, memory_lengths)
        elif check_floats("state", state, 2, "[B, features]").shape[:-1] != memory.shape[:-2]:
            raise ValueError(f"state: got shape {state.shape}, expected {memory.shape[:-2]} and features")
        carry = jax.tree.map(lambda dense: jnp.tanh(dense(state)), self.first)
        if isinstance(self.layer, AttentionDecoder):
            return self.layer.initialize_carry(memory.shape, carry)
        return carry

    def step(
        self,
        carry: Carry,
        tokens: jax.Array,
        memory: jax.Array,
        memory_lengths: jax.Array | None = None,
    ) -> tuple[Carry, jax.Array]:
        """One step for `generate` and `beam_search`: carry, tokens ``[B]`` -> new carry, logits ``[B, V]``.

        With several tokens for each row of the memory, as in a beam search, those of one row stand side by side.
        """
        times = len(tokens) // len(memory)
        memory, memory_lengths = jax.tree.map(
            lambda array: jnp.repeat(array, times, axis=0), (memory, memory_lengths)
        )
        inputs = self.embed(tokens)
        if isinstance(self.layer, AttentionDecoder):
            carry, outputs = self.layer.step(carry, inputs, memory, memory_lengths)
        else:
            context = mean_over_time(memory, memory_lengths)
            carry, outputs = self.cell(carry, jnp.concatenate([inputs, context], axis=-1))
        return carry, self.readout(outputs)

    def decode(
        self,
        memory: jax.Array,
        memory_lengths: jax.Array | None = None,
        state: jax.Array | None = None,
        *,
        steps: int,
        beams: int = 1,
        length_penalty: float = 0.0,
    ) -> tuple[jax.Array, jax.Array]:
        """The most likely sequences that the decoder finds.

        Args:
            memory: as in a call.
            memory_lengths: as in a call.
            state: as in a call.
            steps: the largest number of tokens, with `END`.
            beams: number of beams, see `beam_search`; 1: the most likely token in each step.
            length_penalty: as in `beam_search`.

        Returns:
            The pair of the tokens ``[B, steps]``, which are `END` after the end of a row, and the number of tokens of
            each row, ``[B]``, without `END`.

        Raises:
            ValueError, TypeError: as in a call and in `beam_search`.
        """
        carry = self.start(memory, memory_lengths, state)
        module, variables = self.unbind()

        def step(carry: Carry, tokens: jax.Array) -> Any:
            return module.apply(variables, carry, tokens, memory, memory_lengths, method="step")

        first = jnp.full(len(memory), END)
        if check_integer("beams", beams) == 1:
            tokens = generate(step, carry, first, steps, end=END).tokens
        else:
            found = beam_search(
                step, carry, first, steps, beams=beams, end=END, length_penalty=length_penalty
            )
            tokens = found.tokens[:, 0]
        return tokens, (tokens != END).sum(axis=1)


def attention_weights(model: nn.Module, variables: Any, *arguments: Any, **options: Any) -> jax.Array:
    """The attention's weights ``[B, N, S]`` in a call of a model with one attention, for a figure.

    Args:
        model: a module that calls one `AttentionDecoder`, for instance in a `SequenceDecoder`.
        variables: its variables.
        arguments: the arguments of its call.
        options: the keywords of its call.

    Raises:
        ValueError: the call runs no attention, or several.
    """
    _, seen = model.apply(variables, *arguments, **options, mutable=["intermediates"])
    found = [
        sown for path, sown in flatten_dict(seen.get("intermediates", {})).items() if path[-1] == "weights"
    ]
    if len(found) != 1 or len(found[0]) != 1:
        raise ValueError(
            f"model: got {len(found)} attentions in {type(model).__name__}, expected one that runs once"
        )
    weights: jax.Array = found[0][0]
    return weights
