"""From one sequence of tokens to another one: a recurrent encoder, and a decoder that reads its outputs."""

import dataclasses

import jax
from flax import linen as nn

from dlcore.layers.decoding.sequence_decoder import SequenceDecoder
from dlcore.layers.fields import check_fields
from dlcore.layers.recurrent.deep import DeepRecurrent
from dlcore.layers.recurrent.layer import Bidirectional, Recurrent
from dlcore.ops.arrays import check_integers
from dlcore.ops.lengths import check_lengths
from dlcore.utils.checks import check_bool, check_instance, check_number


class EncoderDecoder(nn.Module):
    """Translates sequences of tokens into sequences of other tokens and lengths (Bahdanau et al. 2015).

    The encoder reads the embedded tokens of the source. Its outputs are the memory of the decoder, and its last state
    begins the decoder's. In the lecture it is the pattern of sequences of different lengths.

    Attributes:
        tokens: number of tokens of the source's vocabulary.
        encoder: a `Recurrent`, `Bidirectional` or `DeepRecurrent` layer.
        decoder: a `SequenceDecoder`.
        embedding: the width of an embedded token of the source.
        dropout: dropout rate of the embedded tokens of the source and of the encoder's outputs.

    Raises:
        ValueError: a number is out of its bounds.
        TypeError: a field has another type.

    >>> import jax.numpy as jnp
    >>> from dlcore.layers.decoding.attention import LuongAttention
    >>> from dlcore.layers.recurrent.cells import GRUCell
    >>> encoder = Bidirectional(GRUCell(features=4), GRUCell(features=4))
    >>> model = EncoderDecoder(9, encoder, SequenceDecoder(7, GRUCell(features=4), LuongAttention("general")))
    >>> inputs, lengths, labels = jnp.array([[3, 8, 5]]), jnp.array([3]), jnp.array([[4, 4, 6, 0]])
    >>> variables = jax.jit(model.init)(jax.random.key(0), inputs, lengths, labels)
    >>> model.apply(variables, inputs, lengths, labels).shape
    (1, 4, 7)
    >>> tokens, lengths = model.apply(variables, inputs, lengths, steps=5, beams=2, method="decode")
    >>> tokens.shape
    (1, 5)
    """

    tokens: int
    encoder: Recurrent | Bidirectional | DeepRecurrent
    decoder: SequenceDecoder
    _: dataclasses.KW_ONLY
    embedding: int = 64
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_fields(self)
        layers = (Recurrent, Bidirectional, DeepRecurrent)
        check_instance(
            "encoder", self.encoder, layers, "a dl.Recurrent, dl.Bidirectional or dl.DeepRecurrent"
        )
        check_number("dropout", self.dropout, "[0, 1)")
        super().__post_init__()

    def setup(self) -> None:
        self.embed = nn.Embed(self.tokens, self.embedding)
        self.noise = nn.Dropout(self.dropout)

    def __call__(
        self,
        inputs: jax.Array,
        lengths: jax.Array,
        labels: jax.Array,
        label_lengths: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> jax.Array:
        """The scores of every label, given the source and the labels before it.

        Args:
            inputs: ``[B, S]`` integers, the tokens of the source.
            lengths: ``[B]`` integers, their number.
            labels: ``[B, N]`` integers, with `END` after the last token of each row.
            label_lengths: ``[B]`` integers, the number of labels with `END`; None: all N.
            train: True for dropout and scheduled sampling.

        Returns:
            Logits ``[B, N, V]``, for `losses.sequences`.

        Raises:
            ValueError: shapes do not fit, or a length is out of its bounds.
            TypeError: tokens or lengths are not integers.
        """
        check_bool("train", train)
        memory, state = self.encode(inputs, lengths, train=train)
        return self.decoder(labels, memory, lengths, state, label_lengths=label_lengths, train=train)

    def encode(
        self, inputs: jax.Array, lengths: jax.Array, *, train: bool = False
    ) -> tuple[jax.Array, jax.Array]:
        """The encoder's outputs ``[B, S, M]`` and its last state ``[B, K]``; arguments and errors are a call's."""
        inputs = check_integers("inputs", inputs, 2, "[B, S]")
        lengths = check_lengths(lengths, inputs.shape)
        embedded = self.noise(self.embed(inputs), deterministic=not train)
        carry, outputs = self.encoder(embedded, lengths, train=train)
        return self.noise(outputs, deterministic=not train), self.encoder.hidden(carry)

    def decode(
        self,
        inputs: jax.Array,
        lengths: jax.Array,
        *,
        steps: int,
        beams: int = 1,
        length_penalty: float = 0.0,
    ) -> tuple[jax.Array, jax.Array]:
        """The most likely sequences that the decoder finds for the source.

        Args:
            inputs: as in a call.
            lengths: as in a call.
            steps: the largest number of tokens, with `END`.
            beams: as in `SequenceDecoder.decode`.
            length_penalty: as in `SequenceDecoder.decode`.

        Returns:
            The pair of the tokens ``[B, steps]``, which are `END` after the end of a row, and their numbers ``[B]``
            without `END`.

        Raises:
            ValueError, TypeError: as in a call and in `beam_search`.
        """
        memory, state = self.encode(inputs, lengths)
        return self.decoder.decode(
            memory, lengths, state, steps=steps, beams=beams, length_penalty=length_penalty
        )
