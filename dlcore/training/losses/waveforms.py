"""The loss of waveforms: their scale-invariant signal-to-distortion ratio."""

from collections.abc import Mapping

import jax

from dlcore.data.batch import get_field
from dlcore.ops.arrays import to_array
from dlcore.training import metrics
from dlcore.training.metrics.waveforms import row_ratios


def si_sdr(outputs: jax.Array, batch: Mapping[str, jax.Array]) -> tuple[jax.Array, dict[str, metrics.Metric]]:
    """Minus the mean over rows of the scale-invariant signal-to-distortion ratio in dB, see `metrics.si_sdr`.

    ``L = -mean 10 log10 (|a t|^2 / |y - a t|^2)`` with ``a = y . t / t . t`` (Le Roux et al. 2019, arXiv 1811.02508).
    The loudness of the outputs does not matter. The gradient is finite, also that of silent or perfect outputs, for
    which it is 0.

    Args:
        outputs: y, waveforms ``[B, N]`` or ``[B, N, 1]``.
        batch: has t as ``targets``, of the same shape. ``lengths`` say how many samples of each row count, and ``mask``
            which rows, see `metrics.place_weights`.

    Returns:
        The scalar loss (0 if no row counts), and a dict of the metrics ``loss``, ``si_sdr``, and ``si_sdr_gain`` if the
        batch has ``inputs`` of the same shape: how much higher the ratio is than that of the inputs.

    Raises:
        TypeError: outputs or targets are not arrays of real numbers.
        ValueError: the batch has no targets, their shape differs from that of the outputs, or mask or lengths do not
            match.

    >>> import jax.numpy as jnp
    >>> batch = {"inputs": jnp.array([[1.0, 1.0]]), "targets": jnp.array([[1.0, 0.0]])}
    >>> loss, measured = si_sdr(jnp.array([[3.0, 1.0]]), batch)
    >>> {name: round(float(metric.value()), 4) for name, metric in measured.items()}
    {'loss': -9.5424, 'si_sdr': 9.5424, 'si_sdr_gain': 9.5424}
    """
    targets = to_array("targets", get_field(batch, "targets"))
    weights = metrics.place_weights(batch, targets.shape)
    ratios, rows = row_ratios(outputs, targets, weights)
    mean = metrics.Average.of(ratios, rows)
    measured: dict[str, metrics.Metric] = {"loss": metrics.Average.of(-ratios, rows), "si_sdr": mean}
    inputs = batch.get("inputs")
    if inputs is not None and to_array("inputs", inputs).shape == targets.shape:
        noisy, _ = row_ratios(inputs, targets, weights)
        measured["si_sdr_gain"] = metrics.Average.of(ratios - noisy, rows)
    return -mean.value(), measured
