"""Scores of a classifier from its answers: pure functions on arrays, no files.

All but log loss and calibration error come from the confusion matrix. A ratio 0/0 (a class that was never predicted has
no precision, one that is not in the data no recall) is NaN: undefined, never a made-up 0 or 1.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class ClassScores:
    """Scores of each class on its own; every array has the shape `(classes,)`."""

    precision: Floats  # share of the pictures called this class that are; NaN: never predicted
    recall: Floats  # share of the pictures of this class that were called it; NaN: none in the data
    f1: Floats  # harmonic mean of both, 2 TP / (2 TP + FP + FN); NaN: neither predicted nor in the data
    support: Counts  # pictures of this class


@dataclass(frozen=True)
class Scores:
    """What a model reached on one set of labelled pictures."""

    accuracy: float  # share of the pictures that are right
    log_loss: float  # nats per picture
    macro_f1: float
    calibration_error: float  # 0-1
    confusion: Counts  # (classes, classes), pictures; row = true class, column = predicted class
    per_class: ClassScores

    @property
    def weakest(self) -> int:
        """The class with the lowest recall; of equals the first."""
        return int(np.nanargmin(self.per_class.recall))


@dataclass(frozen=True)
class ConfusedPair:
    """One kind of mistake."""

    actual: int  # class
    predicted: int  # class
    pictures: int
    share: float  # of the pictures of the actual class


def score(labels: NDArray[np.int32], probabilities: NDArray[np.float32], bins: int) -> Scores:
    """Scores probabilities `(n, classes)`, each row summing to one, against labels `(n,)`, n ≥ 1.

    The predicted class is the most probable one; of equals the first.
    """
    confusion = confusion_matrix(labels, probabilities.argmax(axis=1), probabilities.shape[1])
    per_class = class_scores(confusion)
    return Scores(
        accuracy=float(np.trace(confusion) / len(labels)),
        log_loss=log_loss(labels, probabilities),
        macro_f1=float(np.nanmean(per_class.f1)),
        calibration_error=calibration_error(labels, probabilities, bins),
        confusion=confusion,
        per_class=per_class,
    )


def confusion_matrix(labels: NDArray[np.int32], predicted: NDArray[np.int64], classes: int) -> Counts:
    """Pictures per true class (row) and predicted class (column), `(classes, classes)`."""
    cells = labels.astype(np.int64) * classes + predicted
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def normalized(confusion: Counts) -> Floats:
    """Each row as shares of its sum, 0-1; NaN throughout the row of a class that is not in the data."""
    return _ratio(confusion, confusion.sum(axis=1, keepdims=True))


def class_scores(confusion: Counts) -> ClassScores:
    """Precision, recall, F1 and support of each class.

    The mean of the F1 that are defined is the macro F1 of `sklearn.metrics.f1_score`: over the classes that occur among
    labels or predictions.
    """
    right, predicted, support = np.diagonal(confusion), confusion.sum(axis=0), confusion.sum(axis=1)
    return ClassScores(_ratio(right, predicted), _ratio(right, support), _ratio(2 * right, predicted + support), support)


def log_loss(labels: NDArray[np.int32], probabilities: NDArray[np.float32]) -> float:
    """Mean of -ln(probability of the true class), in nats.

    Probabilities below the resolution of float32 (1.2e-7) count as that, so one sure mistake costs 16, not infinity.
    """
    given = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.clip(given, np.finfo(np.float32).eps, 1.0)).mean())


def calibration_error(labels: NDArray[np.int32], probabilities: NDArray[np.float32], bins: int) -> float:
    """Expected calibration error, 0-1: how far confidence and accuracy lie apart, on average over the pictures.

    The confidence of an answer is its largest probability. It falls in one of `bins` equal-width bins ((i - 1)/bins, i/bins];
    ECE = Σ over bins of (pictures in it / n) · |accuracy in it - mean confidence in it|.
    Guo et al. 2017, On Calibration of Modern Neural Networks, equation 3, https://arxiv.org/abs/1706.04599.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    surplus = confidence - (probabilities.argmax(axis=1) == labels)
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    return float(np.abs(np.bincount(place, weights=surplus, minlength=bins)).sum() / len(labels))


def confused_pairs(confusion: Counts, most: int) -> list[ConfusedPair]:
    """The most frequent kinds of mistakes that happened, at most `most`; of equals the first by true class, then predicted."""
    mistakes = confusion * (1 - np.eye(len(confusion), dtype=np.int64))
    order = np.argsort(-mistakes, axis=None, kind="stable")[:most]
    shares = normalized(confusion)
    cells = [(int(cell) // len(confusion), int(cell) % len(confusion)) for cell in order]
    return [
        ConfusedPair(row, column, int(mistakes[row, column]), float(shares[row, column]))
        for row, column in cells
        if mistakes[row, column] > 0
    ]


def _ratio(part: Counts, whole: Counts) -> Floats:
    """`part / whole`, NaN where `whole` is 0."""
    whole = np.broadcast_to(whole, part.shape)
    shares = np.full(part.shape, np.nan)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares
