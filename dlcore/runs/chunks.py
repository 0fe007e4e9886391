"""Predictions for waveforms of any length, in chunks whose borders nobody hears."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

CHUNK_FRAMES = 500


def predict_in_chunks(
    encode: Callable[[jax.Array, jax.Array], jax.Array],
    read: Callable[[Any, jax.Array], tuple[Any, jax.Array]],
    carry: Any,
    parts: Iterable[np.ndarray],
    samples: int,
    context: int,
) -> Iterator[np.ndarray]:
    """The outputs of a network for a waveform that comes in parts: those for the whole waveform, up to rounding.

    The encoder reads each chunk together with ``context`` frames of its neighbors. The recurrent layers, which run
    forward, begin a chunk with the state of the last one. So memory does not grow with the length of the waveform.

    Args:
        encode: ``encode(waveforms [1, N, 1], lengths [1]) -> frames [1, N / samples, F]``, for instance of
            `WaveformEncoder`.
        read: ``read(carry, frames [1, T, F]) -> carry, outputs [1, T, K]``.
        carry: the state before the first frame.
        parts: the waveform, arrays ``[N]`` of any lengths, for instance of `data.stream_audio`. An incomplete frame at
            the end is left out.
        samples: the number of samples of a frame.
        context: the number of frames before and after a frame that its encoding depends on.

    Yields:
        Outputs ``[T, K]`` of chunks, one after the other.
    """
    encode, read = jax.jit(encode), jax.jit(read)
    for before, chunk, after in _chunks(parts, samples, context):
        whole = np.concatenate([before, chunk, after])
        lengths = np.array([len(whole)], np.int32)
        longest = (len(before) // samples + CHUNK_FRAMES + context) * samples
        padded = np.pad(whole, (0, longest - len(whole)))  # so that the last chunk is not compiled once more
        first, count = len(before) // samples, len(chunk) // samples
        frames = encode(jnp.asarray(padded)[None, :, None], lengths)[:, first : first + count]
        carry, outputs = read(carry, frames)
        yield np.asarray(outputs[0])


def _chunks(
    parts: Iterable[np.ndarray], samples: int, context: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The chunks of a waveform, each with the samples before and after it that are there and that it needs."""
    size, reach = CHUNK_FRAMES * samples, context * samples
    before, held = np.zeros(0, np.float32), np.zeros(0, np.float32)
    for part in itertools.chain(parts, [None]):
        held = held[: len(held) // samples * samples] if part is None else np.concatenate([held, part])
        needed = 1 if part is None else size + reach
        while len(held) >= needed:
            yield before, held[:size], held[size : size + reach]
            heard = np.concatenate([before, held[:size]])
            before, held = heard[max(len(heard) - reach, 0) :], held[size:]
