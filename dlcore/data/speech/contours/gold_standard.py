"""One contour out of those of several people."""

import itertools

import numpy as np

from dlcore.ops.concordance import concordance


def gold_standard(ratings: np.ndarray) -> np.ndarray:
    """The gold standard of RECOLA (Ringeval et al. 2013): the mean of all raters, moved to a weighted mean level.

    ``g[t] = mean_r x_r[t] - mean_r m_r + sum_r w_r m_r / sum_r w_r`` with the mean m_r over time of rater r, and as
    weight w_r the mean concordance correlation coefficient of r with the others, at least 0. So somebody who agrees
    with nobody does not move the level. If no weight is above 0, the level is that of all.

    Args:
        ratings: floats ``[T, R]``, a column for each rater; none is NaN.

    Returns:
        Floats ``[T]``.

    >>> gold_standard(np.array([[0.0, 1.0], [2.0, 3.0]])).tolist()
    [0.5, 2.5]
    """
    means = ratings.mean(axis=0)
    agreement = pairwise_ccc(ratings)
    others = max(ratings.shape[1] - 1, 1)
    weights = np.maximum((agreement.sum(axis=1) - agreement.diagonal()) / others, 0)
    level = np.average(means, weights=weights) if weights.any() else means.mean()
    return ratings.mean(axis=1) - means.mean() + level


def pairwise_ccc(ratings: np.ndarray) -> np.ndarray:
    """The concordance correlation coefficient of each pair of columns, ``[R, R]``; 1 for a column with itself."""
    agreement = np.eye(ratings.shape[1])
    covariance, means = np.cov(ratings.T, ddof=0), ratings.mean(axis=0)
    for first, second in itertools.combinations(range(len(means)), 2):
        variances = covariance[first, first], covariance[second, second]
        value = concordance(covariance[first, second], *variances, means[first] - means[second])
        agreement[first, second] = agreement[second, first] = value
    return agreement
