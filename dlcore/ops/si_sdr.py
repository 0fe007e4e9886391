"""The scale-invariant signal-to-distortion ratio of waveforms."""

import jax
import jax.numpy as jnp

from dlcore.ops.arrays import to_array, to_real

ROUNDING = 1e-8
"""The part of an estimate's energy that bounds the ratio: it is -80 dB to 80 dB, and its gradient is finite."""

TINY = 1e-20
"""An energy that stands for none."""


def si_sdr(estimates: jax.Array, targets: jax.Array, valid: jax.Array | None = None) -> jax.Array:
    """The scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019, arXiv 1811.02508, equation 3).

    With the waveform s of the target and the estimate e of it:

    - ``a = e . s / s . s``, the factor of the target that is nearest to the estimate;
    - ``SI-SDR = 10 log10 (|a s|^2 / |e - a s|^2)``.

    Both energies get 1e-8 of ``|e|^2``, so that the ratio is -80 to 80 dB, at most 1e-3 dB off from -40 to 40 dB, and
    has a finite gradient everywhere. A silent estimate has -80 dB, and so has every estimate of a silent target. Means
    are not removed: subtract them before if a waveform has an offset.

    Args:
        estimates: e, ``[..., N]``.
        targets: s, ``[..., N]``.
        valid: booleans ``[..., N]``, False for samples that do not count and may be NaN; None: all count.

    Returns:
        The ratios ``[...]``.

    Raises:
        TypeError: estimates or targets are not arrays of real numbers.
        ValueError: the shapes differ, or the waveforms are scalars.

    >>> round(float(si_sdr(jnp.array([3.0, 1.0]), jnp.array([1.0, 0.0]))), 4)  # |a s|^2 = 9, |e - a s|^2 = 1
    9.5424
    """
    estimates, targets = to_real("estimates", estimates), to_real("targets", targets)
    if estimates.shape != targets.shape or not estimates.ndim:
        raise ValueError(
            f"estimates: got {estimates.shape} for targets of shape {targets.shape}, expected the same shape [..., N]"
        )
    if valid is not None:
        valid = to_array("valid", valid)
        if valid.shape != targets.shape:
            raise ValueError(
                f"valid: got shape {valid.shape} for targets of shape {targets.shape}, expected the same"
            )
        estimates, targets = (jnp.where(valid, values, 0) for values in (estimates, targets))
    factor = (estimates * targets).sum(axis=-1) / jnp.maximum((targets**2).sum(axis=-1), TINY)
    projection = factor[..., None] * targets
    signal, distortion = ((values**2).sum(axis=-1) for values in (projection, estimates - projection))
    bound = ROUNDING * (signal + distortion)
    # Two logarithms: the gradient of a quotient has the square of its denominator, which may be too small for float32.
    return 10 * (jnp.log10(signal + bound + ROUNDING * TINY) - jnp.log10(distortion + bound + TINY))
