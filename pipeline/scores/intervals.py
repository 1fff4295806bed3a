"""95 % confidence intervals: where a score would lie for 95 of 100 test sets of the same size and kind."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.scores.metrics import IMAGE_SCORES, Calibration, Counts, Floats, image_scores, weighted

_Z = 1.959964  # standard normal quantile of 0.975
_RESAMPLES, _RESAMPLES_OF_MANY, _MANY = 1000, 200, 100_000  # images; an interval of so many is narrow, and each costs 30 ms
_SEED = 0  # equal predictions have equal intervals
Predicted = tuple[NDArray[np.float32], Calibration]  # probabilities (n, classes) of a model


class Interval(NamedTuple):
    """A 95 % confidence interval."""

    low: float
    high: float


def wilson(hits: Counts, of: Counts) -> tuple[Floats, Floats]:
    """Return the lower and upper ends of the interval of each share `hits / of`; NaN where `of` is 0.

    Wilson 1927 (https://doi.org/10.1080/01621459.1927.10502953): unlike the normal approximation it stays within 0-1 and
    is not empty at 0 of n. On arrays, as SciPy's own takes 2 ms a share and a data set may have 1,000 classes.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        share, count = hits / of, of.astype(np.float64)
        middle = share + _Z**2 / (2 * count)
        reach = _Z * np.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
        scale = 1 + _Z**2 / count
        return np.maximum((middle - reach) / scale, 0), np.minimum((middle + reach) / scale, 1)


def bootstrap(labels: NDArray[np.int32], probabilities: NDArray[np.float32], calibration: Calibration) -> dict[str, Interval]:
    """Return the percentile bootstrap interval (Efron 1979) of each score by name, from images drawn with replacement.

    The calibration error of a resample is too high by what resampling adds to each gap, so its interval is mirrored at the
    value (the basic bootstrap), cut at 0, and stretched to hold the value. The bins stay those of all images.
    """
    ends = _ends(_resampled(labels, probabilities, calibration))
    low, high = ends["calibration_error"]
    ends["calibration_error"] = Interval(
        max(2 * calibration.error - high, 0), max(2 * calibration.error - low, calibration.error)
    )
    return ends


def paired(labels: NDArray[np.int32], a: Predicted, b: Predicted) -> dict[str, Interval]:
    """Return the percentile bootstrap interval of each score's difference, `b` - `a`, by name, on the same images.

    Each resample draws the same images for both models: what makes an image hard for both cancels out, so that the interval
    is narrower than those of the two scores would suggest. What resampling adds to the calibration error differs little
    between the two; its interval is mirrored at the difference, as in `bootstrap`, and stretched to hold it.
    """
    old, new = (_resampled(labels, *each) for each in (a, b))
    ends = _ends({name: new[name] - old[name] for name in old})
    difference, (low, high) = b[1].error - a[1].error, ends["calibration_error"]
    ends["calibration_error"] = Interval(min(2 * difference - high, difference), max(2 * difference - low, difference))
    return ends


def _ends(resampled: dict[str, Floats]) -> dict[str, Interval]:
    return {name: Interval(*np.quantile(values, (0.025, 0.975)).tolist()) for name, values in resampled.items()}


def _resampled(labels: NDArray[np.int32], probabilities: NDArray[np.float32], calibration: Calibration) -> dict[str, Floats]:
    """Return each score's values in all resamples; equally many images give the same resamples, whatever was predicted."""
    n, classes = probabilities.shape
    predicted, per_image = probabilities.argmax(axis=1), image_scores(labels, probabilities)
    correct = predicted == labels
    surplus = probabilities.max(axis=1).astype(np.float64) - correct
    resamples = _RESAMPLES if n <= _MANY else _RESAMPLES_OF_MANY
    names = (*IMAGE_SCORES, "macro_f1", "weighted_f1", "calibration_error")
    generator, found = np.random.default_rng(_SEED), np.empty((resamples, len(names)))
    for row in found:
        times = np.bincount(generator.integers(0, n, n), minlength=n)  # how often each image was drawn
        hits = np.bincount(labels, weights=times * correct, minlength=classes)
        support = np.bincount(labels, weights=times, minlength=classes)
        with np.errstate(invalid="ignore"):  # NaN for a class that is neither drawn nor predicted
            f1 = 2 * hits / (support + np.bincount(predicted, weights=times, minlength=classes))
        gaps = np.abs(np.bincount(calibration.bins, weights=times * surplus)).sum() / n
        row[:] = (*(times @ per_image / n), np.nanmean(f1), weighted(f1, support), gaps)
    return dict(zip(names, found.T, strict=True))
