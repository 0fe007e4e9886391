"""The scale-invariant signal-to-distortion ratio as sums over batches."""

import jax
import jax.numpy as jnp

from dlcore.ops import si_sdr as formula
from dlcore.ops.arrays import to_real
from dlcore.training.metrics.averages import Average
from dlcore.training.metrics.places import mask_or_ones


def si_sdr(outputs: jax.Array, targets: jax.Array, mask: jax.Array | None = None) -> Average:
    """An `Average`: the mean over rows of the scale-invariant signal-to-distortion ratio in dB.

    ``10 log10 (|a t|^2 / |y - a t|^2)`` with ``a = y . t / t . t`` (Le Roux et al. 2019, arXiv 1811.02508). Each row is
    bounded to -80 to 80 dB. A row whose target is silent does not count, as it has no ratio.

    Args:
        outputs: y, waveforms ``[B, N]`` or ``[B, N, 1]``.
        targets: t, of the same shape.
        mask: as in `Average.of`, for instance `place_weights` of a batch: it is False for samples that do not count.
            The largest weight of a row's samples is the weight of the row.

    Raises:
        TypeError: outputs or targets are not arrays of real numbers.
        ValueError: their shapes differ or are others, or the mask does not match.

    >>> round(float(si_sdr(jnp.array([[3.0, 1.0]]), jnp.array([[1.0, 0.0]])).value()), 4)
    9.5424
    """
    return Average.of(*row_ratios(outputs, targets, mask))


def row_ratios(
    outputs: jax.Array, targets: jax.Array, mask: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """The ratio of each row ``[B]`` and its weight ``[B]``; the arguments and errors are those of `si_sdr`."""
    outputs, targets = to_real("outputs", outputs), to_real("targets", targets)
    if outputs.shape != targets.shape or outputs.ndim not in (2, 3) or outputs.shape[2:] not in ((), (1,)):
        raise ValueError(
            f"outputs: got {outputs.shape} for targets of shape {targets.shape}, expected the same shape [B, N] or "
            "[B, N, 1]"
        )
    weights = mask_or_ones(mask, targets.shape).reshape(targets.shape[:2])
    outputs, targets = outputs.reshape(weights.shape), targets.reshape(weights.shape)
    counts = weights != 0
    sounds = (jnp.where(counts, targets, 0) != 0).any(axis=1)
    heaviest = weights.max(axis=1, initial=0)
    return formula.si_sdr(outputs, targets, counts), jnp.where(
        sounds, heaviest, jnp.zeros((), heaviest.dtype)
    )
