"""Metrics of a classifier from its probabilities, by scikit-learn, and how people read them.

A ratio 0/0 (a class that was never predicted has no precision, one that is not in the data no recall) is NaN: undefined,
never a made-up 0 or 1.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
UNDEFINED = "–"


@dataclass(frozen=True)
class ClassScores:
    """Scores of each class on its own; every array has the shape `(classes,)`."""

    precision: Floats  # share of the images predicted as this class that belong to it; NaN: never predicted
    recall: Floats  # share of the images of this class that were predicted as it; NaN: none in the data
    f1: Floats  # harmonic mean of both, 2 TP / (2 TP + FP + FN); NaN: neither predicted nor in the data
    support: Counts  # images of this class
    average_precision: Floats  # area under the class's precision-recall curve; NaN: none in the data


@dataclass(frozen=True)
class Calibration:
    """One entry per bin of confidence, lowest first; every bin holds at least one image."""

    bins: Counts  # (n,): the bin of each image
    images: Counts
    confidence: Floats  # mean in the bin, 0-1
    accuracy: Floats  # share of correct predictions in the bin, 0-1

    @property
    def error(self) -> float:
        """Expected calibration error, 0-1: Σ over bins of (images in it / n) · |accuracy in it - mean confidence in it|."""
        return float((self.images * np.abs(self.accuracy - self.confidence)).sum() / self.images.sum())


@dataclass(frozen=True)
class Scores:
    """What a model reached on one set of labelled images."""

    accuracy: float  # share of correct predictions
    top2_accuracy: float  # share of the images whose class is one of the two most probable
    macro_f1: float  # mean over the classes
    weighted_f1: float  # mean over the classes, weighted by their images
    log_loss: float  # nats per image
    brier: float  # 0-2
    calibration: Calibration
    confusion: Counts  # (classes, classes), images; row = true class, column = predicted class
    per_class: ClassScores

    @property
    def weakest(self) -> int:
        """The class with the lowest recall; of equals the first."""
        return int(np.nanargmin(self.per_class.recall))

    def figures(self) -> dict[str, float]:
        """Return the scalar scores by their names in metrics.json."""
        names = ("accuracy", "top2_accuracy", "macro_f1", "weighted_f1", "log_loss", "brier")
        return {name: getattr(self, name) for name in names} | {
            "calibration_error": self.calibration.error,
            "weakest_class_recall": float(self.per_class.recall[self.weakest]),
        }


@dataclass(frozen=True)
class ConfusedPair:
    """One kind of mistake."""

    actual: int  # class
    predicted: int  # class
    images: int
    share: float  # of the images of the actual class


def score(labels: NDArray[np.int32], probabilities: NDArray[np.float32], bins: int) -> Scores:
    """Score probabilities `(n, classes)`, each row summing to one, against labels `(n,)`, n ≥ 1.

    The predicted class is the most probable one; of equals the first. Calibration is measured in at most `bins` bins.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    predicted, classes = probabilities.argmax(axis=1), range(probabilities.shape[1])
    means = image_scores(labels, probabilities).mean(axis=0).tolist()
    precision, recall, f1, support = precision_recall_fscore_support(labels, predicted, labels=classes, zero_division=np.nan)
    per_class = ClassScores(precision, recall, f1, support, average_precision(labels, probabilities))
    return Scores(
        **dict(zip(IMAGE_SCORES, means, strict=True)),
        macro_f1=float(np.nanmean(f1)),
        weighted_f1=weighted(f1, support),
        calibration=calibrate(probabilities.max(axis=1).astype(np.float64), predicted == labels, bins),
        confusion=confusion_matrix(labels, predicted, labels=classes),
        per_class=per_class,
    )


IMAGE_SCORES = ("accuracy", "log_loss", "brier", "top2_accuracy")
"""The scores that are means over the images, in the order of `image_scores`."""


def image_scores(labels: NDArray[np.int32], probabilities: NDArray[np.float32]) -> Floats:
    """Return `IMAGE_SCORES` of each image, `(n, 4)`; scikit-learn has the means only, and the bootstrap weights the images.

    - -ln(probability of the true class), in nats; below float32's resolution (1.2e-7) a probability counts as that, so that
      one confident mistake costs 16, not infinity.
    - Σ over the classes of (probability - 1 if it is the true one)², 0-2 (Brier 1950).
    - Whether the true class is among the two most probable; of equals the first come first.
    """
    rows = np.arange(len(labels))
    given = probabilities[rows, labels].astype(np.float64)
    losses = -np.log(np.clip(given, np.finfo(np.float32).eps, 1.0))
    squares = np.einsum("nc,nc->n", probabilities, probabilities, dtype=np.float64) - 2 * given + 1
    given_column = probabilities[rows, labels][:, None]
    earlier = np.arange(probabilities.shape[1]) < labels[:, None]
    rank = ((probabilities > given_column) | (earlier & (probabilities == given_column))).sum(axis=1)
    return np.stack([rank == 0, losses, squares, rank < 2], axis=1).astype(np.float64)


def weighted(scores: Floats, support: NDArray[Any]) -> float:
    """Return the mean of `scores` over the classes, weighted by their images; undefined ones count as 0."""
    return float(np.nansum(scores * support) / support.sum())


def average_precision(labels: NDArray[np.int32], probabilities: NDArray[np.float32]) -> Floats:
    """Return the average precision of each class against the rest, `(classes,)`; NaN where no image is of the class."""
    from sklearn.metrics import average_precision_score

    found = np.full(probabilities.shape[1], np.nan)
    for label in np.unique(labels):
        found[label] = average_precision_score(labels == label, probabilities[:, label])
    return found


def normalized(confusion: Counts) -> Floats:
    """Return each row as shares of its sum, 0-1; NaN throughout the row of a class that is not in the data."""
    with np.errstate(invalid="ignore"):
        shares: Floats = confusion / confusion.sum(axis=1, keepdims=True)
    return shares


def confused_pairs(confusion: Counts, most: int) -> list[ConfusedPair]:
    """Return the most frequent kinds of mistakes that happened, at most `most`; of equals the first by class."""
    mistakes = confusion * (1 - np.eye(len(confusion), dtype=np.int64))
    order = np.argsort(-mistakes, axis=None, kind="stable")[:most]
    shares = normalized(confusion)
    cells = zip(*(axis.tolist() for axis in np.unravel_index(order, confusion.shape)), strict=True)
    return [
        ConfusedPair(row, column, int(mistakes[row, column]), float(shares[row, column]))
        for row, column in cells
        if mistakes[row, column] > 0
    ]


def calibrate(confidence: Floats, correct: NDArray[np.bool_], bins: int) -> Calibration:
    """Put the predictions in at most `bins` bins of equally many images, by confidence `(n,)`.

    Bins of equal width are nearly empty where a good model seldom is, and their error depends on where the edges happen to
    lie; bins of equal mass weigh every gap by as many images (Nguyen and O'Connor 2015, https://arxiv.org/abs/1508.05154;
    Roelofs et al. 2022, https://arxiv.org/abs/2012.08668). Equal confidences share a bin, so that the order of the images
    does not count; then there are fewer bins, of unequal size.
    """
    ordered = np.sort(confidence)
    edges = np.unique(ordered[[place * len(ordered) // bins for place in range(bins)]])
    place = np.searchsorted(edges, confidence, side="right") - 1
    images = np.bincount(place, minlength=len(edges))
    sums = (np.bincount(place, weights=values, minlength=len(edges)) for values in (confidence, correct))
    return Calibration(place, images, *(each / images for each in sums))


@dataclass(frozen=True)
class Metric:
    """How people read a score."""

    key: str  # in metrics.json
    name: str
    is_share: bool  # shown in percent
    higher_is_better: bool

    def text(self, value: float) -> str:
        """Return the score as `91.24 %` or `0.2451`."""
        return percent(value, 2) if self.is_share else decimal(value, 4)

    def change(self, change: float) -> str:
        """Return a difference of two such scores as `+1.21 pp` (percentage points) or `-0.0312`."""
        if math.isnan(change):
            return UNDEFINED
        return f"{100 * change:+.2f} pp" if self.is_share else f"{change:+.4f}"

    def changes(self, low: float, high: float) -> str:
        """Return an interval of differences as `+0.81 … +1.59 pp`."""
        return f"{self.change(low).removesuffix(' pp')} … {self.change(high)}"


METRICS = (
    Metric("accuracy", "Accuracy", is_share=True, higher_is_better=True),
    Metric("top2_accuracy", "Top-2 accuracy", is_share=True, higher_is_better=True),
    Metric("macro_f1", "Macro F1", is_share=False, higher_is_better=True),
    Metric("weighted_f1", "Weighted F1", is_share=False, higher_is_better=True),
    Metric("log_loss", "Log loss", is_share=False, higher_is_better=False),
    Metric("brier", "Brier score", is_share=False, higher_is_better=False),
    Metric("calibration_error", "Calibration error", is_share=False, higher_is_better=False),
)
"""The scores that have an interval, in the order of the report."""


def percent(value: float, digits: int = 1) -> str:
    """Return a share, 0-1, as `91.2 %`; a dash where it is undefined."""
    return UNDEFINED if math.isnan(value) else f"{100 * value:.{digits}f} %"


def decimal(value: float, digits: int = 3) -> str:
    """Return a number as `0.912`; a dash where it is undefined."""
    return UNDEFINED if math.isnan(value) else f"{value:.{digits}f}"
