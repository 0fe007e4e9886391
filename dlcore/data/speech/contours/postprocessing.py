"""What is done to predicted contours before they are compared with people's: chosen on dev, and frozen for test."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dlcore.data.speech.contours.recordings import FRAME_RATE
from dlcore.ops.concordance import concordance
from dlcore.utils.checks import check_instance

MEDIAN_SECONDS = (0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 20.0)
LONGEST_SHIFT = 10.0


class Postprocessing(NamedTuple):
    """The steps for one contour, in this order: median filter, ``mean + scale (y - center)``, shift.

    Attributes:
        median: the seconds of the median filter; 0: none.
        center: what is subtracted before the scale.
        mean: what is added after it.
        scale: the factor of the distance from the center, so that it changes no mean.
        shift: the seconds by which the contour comes later, earlier if negative. Ratings of people come late. The
            first or the last value fills the gap.

    >>> Postprocessing(center=1.0, mean=0.0, scale=2.0)(np.array([0.0, 1.0, 3.0])).tolist()
    [-2.0, 0.0, 4.0]
    """

    median: float = 0.0
    center: float = 0.0
    mean: float = 0.0
    scale: float = 1.0
    shift: float = 0.0

    def __call__(self, contour: np.ndarray) -> np.ndarray:
        """The contour ``[T]`` of one recording after all steps, float64."""
        values = median_filter(np.asarray(contour, np.float64), self.median)
        values = self.mean + self.scale * (values - self.center)
        return move(values, round(self.shift * FRAME_RATE))


def choose_postprocessing(predicted: Sequence[np.ndarray], gold: Sequence[np.ndarray]) -> Postprocessing:
    """The steps that raise the concordance correlation coefficient of all recordings as one.

    In turn it chooses the median filter of 0.4 to 20 s, center and scale, and a shift of up to 10 s, each the best one
    with the others as they are, until none of them raises the coefficient. So the chosen steps never lower it.

    Args:
        predicted: the predictions for one contour, ``[T]`` for each recording of dev.
        gold: the contours of people, as long; NaN where there is none.

    Raises:
        TypeError: they are no lists.
        ValueError: they do not match, or no gold is known.
    """
    predicted, gold = _check(predicted, gold)
    chosen, score = Postprocessing(), concatenated_ccc(predicted, gold)
    while True:
        better = chosen
        for choose in (_choose_median, _choose_scale, _choose_shift):
            better = choose(better, predicted, gold)
        raised = concatenated_ccc(apply(better, predicted), gold)
        if raised <= score:
            return chosen
        chosen, score = better, raised


def apply(steps: Postprocessing, predicted: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The contours ``[T]`` of all recordings after some steps."""
    return [steps(contour) for contour in predicted]


def _choose_median(
    chosen: Postprocessing, predicted: Sequence[np.ndarray], gold: Sequence[np.ndarray]
) -> Postprocessing:
    options = [chosen._replace(median=seconds) for seconds in (0.0, *MEDIAN_SECONDS)]
    return max(options, key=lambda steps: concatenated_ccc(apply(steps, predicted), gold))


def _choose_scale(
    chosen: Postprocessing, predicted: Sequence[np.ndarray], gold: Sequence[np.ndarray]
) -> Postprocessing:
    """Nothing, the mean of the gold, its deviation, or both."""
    plain = chosen._replace(center=0.0, mean=0.0, scale=1.0)
    y, t = _known(apply(plain, predicted), gold)
    center, scales = float(y.mean()), (1.0, float(t.std() / y.std()) if y.std() else 1.0)
    options = [
        plain._replace(center=center, mean=mean, scale=scale)
        for mean in (center, float(t.mean()))
        for scale in scales
    ]
    return max([plain, *options], key=lambda steps: concatenated_ccc(apply(steps, predicted), gold))


def _choose_shift(
    chosen: Postprocessing, predicted: Sequence[np.ndarray], gold: Sequence[np.ndarray]
) -> Postprocessing:
    frames = round(LONGEST_SHIFT * FRAME_RATE)
    values = apply(chosen._replace(shift=0.0), predicted)
    options = sorted(range(-frames, frames + 1), key=abs)  # of equals the smallest
    best = max(options, key=lambda shift: concatenated_ccc([move(part, shift) for part in values], gold))
    return chosen._replace(shift=best / FRAME_RATE)


def concatenated_ccc(predicted: Sequence[np.ndarray], gold: Sequence[np.ndarray]) -> float:
    """The coefficient of all recordings as one; NaN of the gold does not count.

    Raises:
        TypeError, ValueError: as in `choose_postprocessing`.
    """
    y, t = _known(*_check(predicted, gold))
    covariance = ((y - y.mean()) * (t - t.mean())).mean()
    return float(concordance(covariance, y.var(), t.var(), y.mean() - t.mean()))


def median_filter(contour: np.ndarray, seconds: float) -> np.ndarray:
    """The median over about some seconds around each frame, of an odd number of frames; 0 s change nothing."""
    from scipy import ndimage

    return ndimage.median_filter(contour, 2 * round(seconds * FRAME_RATE / 2) + 1, mode="nearest")


def move(contour: np.ndarray, frames: int) -> np.ndarray:
    """A contour ``[T]`` that comes some frames later, earlier if negative; the end values fill the gap.

    >>> move(np.array([1.0, 2.0, 3.0]), 1).tolist(), move(np.array([1.0, 2.0, 3.0]), -2).tolist()
    ([1.0, 1.0, 2.0], [3.0, 3.0, 3.0])
    """
    return contour[np.clip(np.arange(len(contour)) - frames, 0, len(contour) - 1)]


def _known(predicted: Sequence[np.ndarray], gold: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and gold of all recordings where the gold is known."""
    y, t = np.concatenate(predicted), np.concatenate(gold)
    known = np.isfinite(t)
    return y[known], t[known]


def _check(predicted: Any, gold: Any) -> tuple[list[np.ndarray], list[np.ndarray]]:
    for name, contours in (("predicted", predicted), ("gold", gold)):
        check_instance(name, contours, Sequence, "a list of contours [T]")
    shapes = [[np.shape(contour) for contour in contours] for contours in (predicted, gold)]
    if shapes[0] != shapes[1] or any(len(shape) != 1 for shape in shapes[0]):
        raise ValueError(f"predicted: got shapes {shapes[0]} for gold of {shapes[1]}, expected the same [T]")
    contours = [np.asarray(contour, np.float64) for contour in gold]
    if not any(np.isfinite(contour).any() for contour in contours):
        raise ValueError("gold: got no number that is known, expected some to choose by")
    return [np.asarray(contour, np.float64) for contour in predicted], contours
