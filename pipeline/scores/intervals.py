"""95 % confidence intervals: where a score would lie for 95 of 100 test sets of the same size and kind.

Proportions have score intervals, as a bootstrap knows only the mistakes it has seen: of 359 images with 3 mistakes it covers
87 %, and without a mistake it has no width. The other scores are bootstrapped, and reach at least as far as the mistakes that
the accuracy's interval allows would move them. How often they cover: benchmarks/RESULTS.md.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.scores.metrics import IMAGE_SCORES, Calibration, Counts, Floats, image_scores, weighted

_Z = 1.959964  # standard normal quantile of 0.975
_Z_ONE_SIDED = 1.644854  # of 0.95
_ONE = 1 / 8  # mistakes: the lower end where one was seen; see `proportion`
_RESAMPLES, _RESAMPLES_OF_MANY, _MANY = 1000, 200, 100_000  # images; an interval of so many is narrow, and each costs 30 ms
_SEED = 0  # equal predictions have equal intervals
_NAMES = (*IMAGE_SCORES, "macro_f1", "weighted_f1", "calibration_error")
_SHARES = ("accuracy", "top2_accuracy")
Predicted = tuple[NDArray[np.float32], Calibration]  # probabilities (n, classes) of a model


class Interval(NamedTuple):
    """A confidence interval, 95 % unless its maker says otherwise."""

    low: float
    high: float


def proportion(hits: Counts, of: Counts) -> tuple[Floats, Floats]:
    """Return the lower and upper ends of the interval of each share `hits / of`; NaN where `of` is 0.

    Wilson 1927 (https://doi.org/10.1080/01621459.1927.10502953): unlike the normal approximation it stays within 0-1 and is
    not empty at 0 of n. With one mistake (or one hit) the nearer end is 1 / 8n away: Wilson's 0.18 / n covers 84 % where few
    mistakes are expected, and 0.05 / n of Brown, Cai and DasGupta 2001 (https://doi.org/10.1214/ss/1009213286) up to 99.5 %.
    On arrays, as SciPy's own takes 2 ms a share and a data set may have 1,000 classes.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        share, count = hits / of, of.astype(np.float64)
        middle = share + _Z**2 / (2 * count)
        reach = _Z * np.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
        scale = 1 + _Z**2 / count
        low, high = np.maximum((middle - reach) / scale, 0), np.minimum((middle + reach) / scale, 1)
        low = np.where(hits == 1, np.minimum(low, _ONE / count), low)
        return low, np.where(of - hits == 1, np.maximum(high, 1 - _ONE / count), high)


def difference(lost: int, won: int, images: int, z: float = _Z) -> Interval:
    """Return the interval of the accuracy difference of two models on the same images; it is never empty.

    Tango 1998 (https://doi.org/10.1002/(SICI)1097-0258(19980430)17:8%3C891::AID-SIM780%3E3.0.CO;2-B), the paired form of
    Wilson's: the differences that the score test does not reject.

    Args:
        lost: Images that only the old model predicts correctly.
        won: Images that only the new one does.
        images: All of them, ≥ 1.
        z: Standard normal quantile of each end.
    """
    return Interval(_lower(lost, won, images, z), -_lower(won, lost, images, z))


def lowest_difference(lost: float, won: float, images: int) -> float:
    """Return the lower end of `difference` for 95 % on this side: the loss that is not ruled out, as a negative share."""
    return _lower(lost, won, images, _Z_ONE_SIDED)


def _lower(lost: float, won: float, images: int, z: float) -> float:
    from scipy.optimize import brentq

    def distance(delta: float) -> float:
        """Return by how many images `delta` is farther from what was seen than the score test allows."""
        b = (2 * images - won + lost) * delta - won - lost
        likely = (math.sqrt(b * b + 8 * images * lost * delta * (1 - delta)) - b) / (4 * images)  # share lost, given delta
        variance = images * (2 * likely + delta * (1 - delta))
        return won - lost - images * delta - z * math.sqrt(max(variance, 0.0))

    seen = (won - lost) / images
    return float(brentq(distance, -1.0, max(seen - 1e-9, -1.0)))


def bootstrap(labels: NDArray[np.int32], probabilities: NDArray[np.float32], calibration: Calibration) -> dict[str, Interval]:
    """Return the interval of each score by name: `proportion` of the shares, else percentile bootstrap (Efron 1979).

    The calibration error of a resample is too high by what resampling adds to each gap, so its interval is mirrored at the
    value (the basic bootstrap), cut at 0, and stretched to hold the value. The bins stay those of all images.
    """
    ends = _ends(_resampled(labels, probabilities, calibration))
    low, high = ends["calibration_error"]
    ends["calibration_error"] = Interval(
        max(2 * calibration.error - high, 0), max(2 * calibration.error - low, calibration.error)
    )
    hits, n = image_scores(labels, probabilities).sum(axis=0).astype(np.int64), len(labels)
    for name in _shares(probabilities):
        share = proportion(hits[[IMAGE_SCORES.index(name)]], np.array([n]))
        ends[name] = Interval(*(float(end[0]) for end in share))
    harder = _with_mistakes(labels, probabilities, math.ceil(n * (1 - ends["accuracy"].low)))
    worse = _scorer(harder, probabilities, calibration)(np.ones(n))
    return ends | {
        name: Interval(min(ends[name].low, value), max(ends[name].high, value))
        for name, value in zip(_NAMES, worse.tolist(), strict=True)
        if name not in _SHARES
    }


def _with_mistakes(labels: NDArray[np.int32], probabilities: NDArray[np.float32], mistakes: int) -> NDArray[np.int32]:
    """Return labels by which the model makes so many mistakes: the least confident predictions become incorrect."""
    correct = np.flatnonzero(probabilities.argmax(axis=1) == labels)
    doubtful = correct[np.argsort(probabilities.max(axis=1)[correct], kind="stable")]
    chosen = doubtful[: max(mistakes - (len(labels) - len(correct)), 0)]
    others, changed = probabilities[chosen], labels.copy()
    others[range(len(chosen)), labels[chosen]] = -1
    changed[chosen] = others.argmax(axis=1)
    return changed


def paired(labels: NDArray[np.int32], a: Predicted, b: Predicted) -> dict[str, Interval]:
    """Return the interval of each score's difference, `b` - `a`, by name: `difference` of the shares, else bootstrapped.

    Each resample draws the same images for both models: what makes an image hard for both cancels out, so that the interval
    is narrower than those of the two scores would suggest. What resampling adds to the calibration error differs little
    between the two; its interval is mirrored at the difference, as in `bootstrap`, and stretched to hold it. A model and itself
    do not differ.
    """
    if np.array_equal(a[0], b[0]):
        return dict.fromkeys(_NAMES, Interval(0.0, 0.0))
    old, new = (_resampled(labels, *each) for each in (a, b))
    ends = _ends({name: new[name] - old[name] for name in old})
    change, (low, high) = b[1].error - a[1].error, ends["calibration_error"]
    ends["calibration_error"] = Interval(min(2 * change - high, change), max(2 * change - low, change))
    before, after = (image_scores(labels, each[0]) > 0 for each in (a, b))
    for name in _shares(a[0]):
        was, is_now = before[:, IMAGE_SCORES.index(name)], after[:, IMAGE_SCORES.index(name)]
        ends[name] = difference(int(np.sum(was & ~is_now)), int(np.sum(~was & is_now)), len(labels))
    return ends


def _shares(probabilities: NDArray[np.float32]) -> Sequence[str]:
    """Return the scores that are proportions and not certain: of two classes, the true one is always among the top two."""
    return _SHARES if probabilities.shape[1] > 2 else _SHARES[:1]


def _ends(resampled: dict[str, Floats]) -> dict[str, Interval]:
    return {name: Interval(*np.quantile(values, (0.025, 0.975)).tolist()) for name, values in resampled.items()}


def _resampled(labels: NDArray[np.int32], probabilities: NDArray[np.float32], calibration: Calibration) -> dict[str, Floats]:
    """Return each score's values in all resamples; equally many images give the same resamples, whatever was predicted."""
    n, score = len(labels), _scorer(labels, probabilities, calibration)
    resamples = _RESAMPLES if n <= _MANY else _RESAMPLES_OF_MANY
    generator = np.random.default_rng(_SEED)
    drawn = (np.bincount(generator.integers(0, n, n), minlength=n) for _ in range(resamples))
    return dict(zip(_NAMES, np.stack([score(times) for times in drawn], axis=1), strict=True))


def _scorer(
    labels: NDArray[np.int32], probabilities: NDArray[np.float32], calibration: Calibration
) -> Callable[[NDArray[np.int64] | Floats], Floats]:
    """Return a function from how often each image counts, `(n,)`, to the scores in the order of `_NAMES`."""
    n, classes = probabilities.shape
    predicted, per_image = probabilities.argmax(axis=1), image_scores(labels, probabilities)
    correct = predicted == labels
    surplus = probabilities.max(axis=1).astype(np.float64) - correct

    def score(times: NDArray[np.int64] | Floats) -> Floats:
        hits = np.bincount(labels, weights=times * correct, minlength=classes)
        support = np.bincount(labels, weights=times, minlength=classes)
        with np.errstate(invalid="ignore"):  # NaN for a class that is neither drawn nor predicted
            f1 = 2 * hits / (support + np.bincount(predicted, weights=times, minlength=classes))
        gaps = np.abs(np.bincount(calibration.bins, weights=times * surplus)).sum() / n
        return np.array([*(times @ per_image / n), np.nanmean(f1), weighted(f1, support), gaps])

    return score
