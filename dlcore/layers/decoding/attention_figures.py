"""Figures of the attention of a trained encoder and decoder."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from dlcore.data.text.tokens import pad_sequences
from dlcore.data.text.vocabulary import SPECIAL, Vocabulary
from dlcore.layers.decoding.encoder_decoder import EncoderDecoder
from dlcore.layers.decoding.sequence_decoder import attention_weights
from dlcore.plots.attention_matrix import attention
from dlcore.utils.checks import check_instance

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def attention_figures(
    model: EncoderDecoder,
    params: Any,
    sources: Sequence[np.ndarray],
    written: Sequence[np.ndarray],
    vocabularies: tuple[Vocabulary, Vocabulary],
) -> list["Figure"]:
    """What the decoder attended to while it wrote: a matplotlib figure of `plots.attention` for each pair of sequences.

    Args:
        model: the model; without attention there are no figures.
        params: its parameters.
        sources: the numbers of the tokens of each source.
        written: the numbers of the tokens that the decoder wrote for each, without `END`.
        vocabularies: those of the sources and of what is written.

    Raises:
        TypeError: the model is no `EncoderDecoder`, or the sequences are not sequences of integers.
        ValueError: there is none.
    """
    check_instance("model", model, EncoderDecoder, "a dl.EncoderDecoder")
    if model.decoder.attention is None:
        return []
    (inputs, lengths), (labels, _) = pad_sequences(sources), pad_sequences(written, end=True)
    weights = jax.jit(partial(attention_weights, model))({"params": params}, inputs, lengths, labels)
    figures = []
    for source, target, row in zip(sources, written, np.asarray(weights), strict=True):
        columns, rows = (
            vocabulary.decode(part) for vocabulary, part in zip(vocabularies, (source, target), strict=True)
        )
        figures.append(attention(row[: len(rows) + 1, : len(columns)], [*rows, SPECIAL[0]], columns))
    return figures
