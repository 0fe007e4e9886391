"""From raw waveforms to frames: the convolutional part of the lecture's end-to-end speech system."""

import math

import jax
from flax import linen as nn

from dlcore.layers.convolution.conv import Conv
from dlcore.layers.fields import check_fields
from dlcore.ops.arrays import check_floats
from dlcore.ops.convolution import Method
from dlcore.ops.dimensions import per_dimension
from dlcore.ops.pooling import channel_pool, max_pool

LONG = 256
"""Filters with at least as many taps are applied by the Fourier transform."""


class WaveformEncoder(nn.Module):
    """Frames of features that are learned from a waveform (Trigeorgis et al. 2016, ICASSP; lecture: CLSTM).

    ``X -> conv -> rectifier -> max pool in time -> conv -> max pool over neighboring channels -> frames``. Each frame
    has the outputs of its time one after the other. Both convolutions keep the length, with zeros around the waveform.
    The second pool takes the largest of ``channel_pool`` filters at one time, so no output mixes times.

    Attributes:
        samples: the number of samples of a frame.
        filters: the number of filters of each convolution.
        taps: the lengths of their filters, two numbers or one for both; those of the second count samples after the
            first pool.
        time_pool: the number of samples of the first pool.
        channel_pool: the number of neighboring channels of the second pool, a divisor of the filters.

    Raises:
        ValueError: a number is below 1, ``taps`` are more than two, ``time_pool`` does not divide the samples of a
            frame, or ``channel_pool`` the filters.
        TypeError: a setting has another type.

    >>> encoder = WaveformEncoder(samples=40, filters=8, taps=(5, 9), channel_pool=4)
    >>> frames, _ = encoder.init_with_output(jax.random.key(0), jax.numpy.ones((2, 400, 1)))
    >>> frames.shape
    (2, 10, 40)
    """

    samples: int
    filters: int = 40
    taps: tuple[int, int] = (80, 4000)
    time_pool: int = 2
    channel_pool: int = 20

    def __post_init__(self) -> None:
        check_fields(self)
        first, second = per_dimension("taps", self.taps, 2)
        self.taps = first, second
        for name, pool, whole in (
            ("time_pool", self.time_pool, self.samples),
            ("channel_pool", self.channel_pool, self.filters),
        ):
            if whole % pool:
                raise ValueError(f"{name}: got {pool}, expected a divisor of {whole}")
        super().__post_init__()

    @property
    def context(self) -> int:
        """The number of frames before and after a frame that it depends on."""
        first, second = (taps // 2 for taps in self.taps)
        return math.ceil((first + self.time_pool * (second + 1)) / self.samples)

    @nn.compact
    def __call__(self, waveforms: jax.Array, lengths: jax.Array | None = None) -> jax.Array:
        """The frames of waveforms.

        Args:
            waveforms: X, ``[B, T M, 1]``, with M samples for each frame.
            lengths: integers ``[B]``, the numbers of valid samples, each a multiple of M; None: all are valid.

        Returns:
            ``[B, T, F]`` with ``F = M / time_pool * filters / channel_pool``; frames after the end of a row are 0.

        Raises:
            ValueError: the waveforms have another shape, or no multiple of M samples.
            TypeError: the waveforms are not real floating point numbers, or the lengths are not integers.
        """
        waveforms = check_floats("waveforms", waveforms, rank=3, layout="[B, N, 1]")
        if waveforms.shape[2:] != (1,) or waveforms.shape[1] % self.samples:
            raise ValueError(
                f"waveforms: got shape {waveforms.shape}, expected [B, N, 1] with a multiple of {self.samples} samples"
            )
        maps = nn.relu(self._conv(0)(waveforms, lengths))
        maps = max_pool(maps, self.time_pool, lengths=lengths)
        lengths = None if lengths is None else lengths // self.time_pool
        maps = channel_pool(self._conv(1)(maps, lengths), self.channel_pool)
        return maps.reshape(len(maps), waveforms.shape[1] // self.samples, -1)

    def _conv(self, place: int) -> Conv:
        taps = self.taps[place]
        method: Method = "fft" if taps >= LONG else "direct"
        return Conv(self.filters, (taps,), padding="SAME", method=method, name=f"conv_{place}")
