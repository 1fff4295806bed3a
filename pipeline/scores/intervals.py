"""How sure the figures are: what another test set of the same size and kind would give in 95 of 100 cases."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.scores import metrics
from pipeline.scores.calibration import Calibration
from pipeline.scores.metrics import Counts, Floats

_Z = 1.959964  # standard normal quantile of 0.975
_TAILS = (0.025, 0.975)
_RESAMPLES, _RESAMPLES_OF_MANY, _MANY = 1000, 200, 100_000  # pictures; an interval of so many is narrow, and each costs 30 ms
_SEED = 0  # equal answers have equal intervals


@dataclass(frozen=True)
class Interval:
    """A 95 % confidence interval."""

    low: float
    high: float


def wilson(hits: Counts, of: Counts) -> tuple[Floats, Floats]:
    """Lower and upper ends of the interval of each share `hits / of`; NaN where `of` is 0.

    Wilson 1927 (https://doi.org/10.1080/01621459.1927.10502953): unlike the normal approximation it stays within 0-1 and
    is not empty at 0 of n.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        share, count = hits / of, of.astype(np.float64)
        middle = share + _Z**2 / (2 * count)
        reach = _Z * np.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
        scale = 1 + _Z**2 / count
        return np.maximum((middle - reach) / scale, 0), np.minimum((middle + reach) / scale, 1)


def bootstrap(labels: NDArray[np.int32], probabilities: NDArray[np.float32], calibration: Calibration) -> dict[str, Interval]:
    """Name of a score → its percentile bootstrap interval (Efron 1979), by drawing pictures with replacement.

    The calibration error of a resample is too high by what resampling adds to each gap, so its interval is mirrored at the
    figure (the basic bootstrap), cut at 0, and stretched to hold the figure. The bins stay those of all pictures.
    """
    ends = _ends(_drawn(labels, probabilities, calibration))
    low, high = ends["calibration_error"]
    ends["calibration_error"] = [max(2 * calibration.error - high, 0.0), max(2 * calibration.error - low, calibration.error)]
    return {name: Interval(*values) for name, values in ends.items()}


@dataclass(frozen=True)
class Answered:
    """One of two models that are compared."""

    probabilities: NDArray[np.float32]  # (n, classes)
    calibration: Calibration


def paired(labels: NDArray[np.int32], a: Answered, b: Answered) -> dict[str, Interval]:
    """Name of a score → the percentile bootstrap interval of its difference, `b` - `a`, on the same pictures.

    Each resample draws the same pictures for both models: what makes a picture hard for both cancels out, so that the interval
    is narrower than those of the two scores would suggest. What resampling adds to the calibration error differs little
    between the two; its interval is mirrored at the difference, as in `bootstrap`, and stretched to hold it.
    """
    both = [_drawn(labels, each.probabilities, each.calibration) for each in (a, b)]
    ends = _ends([{name: new[name] - old[name] for name in old} for old, new in zip(*both, strict=True)])
    difference, (low, high) = b.calibration.error - a.calibration.error, ends["calibration_error"]
    ends["calibration_error"] = [min(2 * difference - high, difference), max(2 * difference - low, difference)]
    return {name: Interval(*values) for name, values in ends.items()}


def _drawn(labels: NDArray[np.int32], probabilities: NDArray[np.float32], calibration: Calibration) -> list[dict[str, float]]:
    """The scores of each resample; equally many pictures give the same resamples, whatever was answered."""
    resamples = _RESAMPLES if len(labels) <= _MANY else _RESAMPLES_OF_MANY
    generator, resample = np.random.default_rng(_SEED), _Resample(labels, probabilities, calibration)
    return [resample.scores(generator) for _ in range(resamples)]


def _ends(drawn: list[dict[str, float]]) -> dict[str, list[float]]:
    return {name: np.quantile([scores[name] for scores in drawn], _TAILS).tolist() for name in drawn[0]}


class _Resample:
    """What is the same for every resample, per picture; a resample is how often each was drawn."""

    def __init__(self, labels: NDArray[np.int32], probabilities: NDArray[np.float32], calibration: Calibration) -> None:
        self._classes = probabilities.shape[1]
        self._labels, self._predicted = labels, probabilities.argmax(axis=1)
        self._right = self._predicted == labels
        self._bins = calibration.bins
        self._surplus = probabilities.max(axis=1).astype(np.float64) - self._right
        losses, squares = metrics.log_losses(labels, probabilities), metrics.brier_scores(labels, probabilities)
        self._figures = np.stack([self._right, losses, squares, metrics.among_first(labels, probabilities, 2)], axis=1)

    def scores(self, generator: np.random.Generator) -> dict[str, float]:
        """The scores of one resample, by name."""
        n = len(self._labels)
        times = np.bincount(generator.integers(0, n, n), minlength=n)
        accuracy, log_loss, brier, top2 = (times @ self._figures / n).tolist()
        right, support = self._per_class(times * self._right, self._labels), self._per_class(times, self._labels)
        f1 = metrics.f1(right, self._per_class(times, self._predicted), support)
        return {
            "accuracy": accuracy,
            "log_loss": log_loss,
            "brier": brier,
            "macro_f1": float(np.nanmean(f1)),
            "weighted_f1": metrics.weighted(f1, support),
            "top2_accuracy": top2,
            "calibration_error": float(np.abs(np.bincount(self._bins, weights=times * self._surplus)).sum() / n),
        }

    def _per_class(self, times: Counts, classes: NDArray[np.integer]) -> Counts:
        return np.bincount(classes, weights=times, minlength=self._classes).astype(np.int64)
