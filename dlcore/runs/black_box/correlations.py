"""Correlations of units with features, and how large they are by chance.

A correlation alone shows nothing about learning: among many units one always resembles a slow feature. So units are
chosen on one part of the data and reported on another, beside what circular shifts give, which keep how slowly both
move and undo that they belong together.
"""

from collections.abc import Sequence

import numpy as np


def correlate(units: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Pearson's correlation of each unit with each feature, float64 ``[U, K]``; 0 if one of the two is constant.

    Args:
        units: activations ``[T, U]``.
        features: ``[T, K]``; a time with NaN does not count for that feature.

    >>> correlate(np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]]), np.array([[5.0], [3.0], [1.0]])).round(6).tolist()
    [[-1.0], [0.0]]
    """
    known = np.isfinite(features)
    columns = [
        _correlate(units[times], feature[times]) for feature, times in zip(features.T, known.T, strict=True)
    ]
    return np.stack(columns, axis=1)


def _correlate(units: np.ndarray, feature: np.ndarray) -> np.ndarray:
    """The correlation of each unit ``[T, U]`` with a feature ``[T]``."""
    units, feature = _standardized(units), _standardized(feature[:, None])
    return units.T @ feature[:, 0] / max(len(feature), 1)


def _standardized(values: np.ndarray) -> np.ndarray:
    """Columns with the mean 0 and the deviation 1; 0 for constant ones, up to rounding."""
    values = np.asarray(values, np.float64)
    centered = values - values.mean(axis=0, keepdims=True)
    deviation = centered.std(axis=0, keepdims=True)
    varied = deviation > 1e-6 * np.abs(values).max(axis=0, keepdims=True, initial=0)
    return np.where(varied, centered / np.where(varied, deviation, 1), 0)


def shift_level(units: np.ndarray, feature: np.ndarray, apart: int, share: float = 0.95) -> float:
    """The largest correlation over units that a circular shift of the feature has in ``share`` of all shifts.

    Args:
        units: activations ``[T, U]``, of one recording or of several one after the other.
        feature: ``[T]`` without NaN.
        apart: shifts by fewer frames than this, which leave the two together, do not count.
        share: the quantile.

    Returns:
        A level of ``max_u |r_u|``, 0 to 1; NaN if there are too few frames to shift.
    """
    steps = len(feature)
    if steps < 2 * apart + 1:
        return float("nan")
    first, second = (
        np.fft.rfft(_standardized(values), axis=0) for values in (units, np.asarray(feature)[:, None])
    )
    correlations = np.fft.irfft(first * second.conj(), steps, axis=0) / steps
    largest = np.abs(correlations[apart : steps - apart + 1]).max(axis=1)
    return float(np.quantile(largest, share))


def bootstrap_interval(
    units: Sequence[np.ndarray],
    features: Sequence[np.ndarray],
    generator: np.random.Generator,
    draws: int = 1000,
    share: float = 0.95,
) -> tuple[float, float]:
    """The interval of a unit's correlation with a feature over recordings that are drawn with replacement.

    Args:
        units: the activation of one unit in each recording, ``[T]``.
        features: the feature in each recording, as long, without NaN.
        generator: draws the recordings.
        draws: the number of draws.
        share: the part of the draws that lies within the interval.
    """
    sums = np.array([_moments(unit, feature) for unit, feature in zip(units, features, strict=True)])
    chosen = generator.integers(len(sums), size=(draws, len(sums)))
    found = _correlation_of_moments(sums[chosen].sum(axis=1))
    low, high = np.quantile(found, ((1 - share) / 2, (1 + share) / 2))
    return float(low), float(high)


def _moments(unit: np.ndarray, feature: np.ndarray) -> tuple[float, ...]:
    unit, feature = np.asarray(unit, np.float64), np.asarray(feature, np.float64)
    products = unit @ feature, unit @ unit, feature @ feature
    return len(unit), unit.sum(), feature.sum(), *products


def _correlation_of_moments(sums: np.ndarray) -> np.ndarray:
    """Correlations from sums ``[..., 6]`` as `_moments` has them."""
    count, unit, feature, product, unit_square, feature_square = np.moveaxis(sums, -1, 0)
    covariance = product / count - unit * feature / count**2
    variances = (
        (square / count - (mean / count) ** 2)
        for square, mean in ((unit_square, unit), (feature_square, feature))
    )
    deviations = np.sqrt(np.prod([np.maximum(variance, 0) for variance in variances], axis=0))
    return np.divide(covariance, deviations, out=np.zeros_like(covariance), where=deviations > 0)
