"""Scores of a classifier from its answers: pure functions on arrays, no files.

A ratio 0/0 (a class that was never predicted has no precision, one that is not in the data no recall) is NaN: undefined,
never a made-up 0 or 1. numpy, not scikit-learn, whose import takes longer than this whole stage's arithmetic; the tests
hold every figure against it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.scores.calibration import Calibration, calibrate

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class ClassScores:
    """Scores of each class on its own; every array has the shape `(classes,)`."""

    precision: Floats  # share of the pictures called this class that are; NaN: never predicted
    recall: Floats  # share of the pictures of this class that were called it; NaN: none in the data
    f1: Floats  # harmonic mean of both, 2 TP / (2 TP + FP + FN); NaN: neither predicted nor in the data
    support: Counts  # pictures of this class
    average_precision: Floats  # area under the class's precision-recall curve; NaN: none in the data


@dataclass(frozen=True)
class Scores:
    """What a model reached on one set of labelled pictures."""

    accuracy: float  # share of the pictures that are right
    log_loss: float  # nats per picture
    brier: float  # 0-2
    macro_f1: float  # mean over the classes
    weighted_f1: float  # mean over the classes, each as often as it is in the data
    top2_accuracy: float  # share of the pictures whose class is one of the two most probable
    calibration: Calibration
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
    predicted = probabilities.argmax(axis=1)
    confusion = confusion_matrix(labels, predicted, probabilities.shape[1])
    per_class = class_scores(confusion, average_precision(labels, probabilities))
    return Scores(
        accuracy=float(np.trace(confusion) / len(labels)),
        log_loss=float(log_losses(labels, probabilities).mean()),
        brier=float(brier_scores(labels, probabilities).mean()),
        macro_f1=float(np.nanmean(per_class.f1)),
        weighted_f1=weighted(per_class.f1, per_class.support),
        top2_accuracy=float(among_first(labels, probabilities, 2).mean()),
        calibration=calibrate(probabilities.max(axis=1).astype(np.float64), predicted == labels, bins),
        confusion=confusion,
        per_class=per_class,
    )


def confusion_matrix(labels: NDArray[np.int32], predicted: NDArray[np.int64], classes: int) -> Counts:
    """Pictures per true class (row) and predicted class (column), `(classes, classes)`."""
    cells = labels.astype(np.int64) * classes + predicted
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def normalized(confusion: Counts) -> Floats:
    """Each row as shares of its sum, 0-1; NaN throughout the row of a class that is not in the data."""
    return ratio(confusion, confusion.sum(axis=1, keepdims=True))


def class_scores(confusion: Counts, average_precisions: Floats) -> ClassScores:
    """Precision, recall, F1 and support of each class, with its average precision.

    The mean of the F1 that are defined is the macro F1 of `sklearn.metrics.f1_score`: over the classes that occur among
    labels or predictions.
    """
    right, predicted, support = np.diagonal(confusion), confusion.sum(axis=0), confusion.sum(axis=1)
    return ClassScores(
        ratio(right, predicted), ratio(right, support), f1(right, predicted, support), support, average_precisions
    )


def f1(right: Counts, predicted: Counts, support: Counts) -> Floats:
    """F1 of each class; NaN where it is neither predicted nor in the data."""
    return ratio(2 * right, predicted + support)


def weighted(scores: Floats, support: Counts) -> float:
    """The mean of `scores` over the classes, each as often as it is in the data."""
    return float(np.nansum(scores * support) / support.sum())


def log_losses(labels: NDArray[np.int32], probabilities: NDArray[np.float32]) -> Floats:
    """-ln(probability of the true class) of each picture, `(n,)`, in nats.

    Probabilities below the resolution of float32 (1.2e-7) count as that, so one sure mistake costs 16, not infinity.
    """
    given = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    losses: Floats = -np.log(np.clip(given, np.finfo(np.float32).eps, 1.0))
    return losses


def brier_scores(labels: NDArray[np.int32], probabilities: NDArray[np.float32]) -> Floats:
    """Σ over the classes of (probability - 1 if it is the true one)² of each picture, `(n,)`, 0-2 (Brier 1950)."""
    given = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    squares: Floats = np.einsum("nc,nc->n", probabilities, probabilities, dtype=np.float64)
    return squares - 2 * given + 1


def among_first(labels: NDArray[np.int32], probabilities: NDArray[np.float32], most: int) -> NDArray[np.bool_]:
    """Whether the true class is among the `most` most probable of each picture, `(n,)`; of equals the first come first."""
    given = probabilities[np.arange(len(labels)), labels][:, None]
    before = np.arange(probabilities.shape[1]) < labels[:, None]
    ahead = (probabilities > given) | (before & (probabilities == given))
    first: NDArray[np.bool_] = ahead.sum(axis=1) < most
    return first


def average_precision(labels: NDArray[np.int32], probabilities: NDArray[np.float32]) -> Floats:
    """Of each class against the rest: Σ over the thresholds of (recall - recall before) · precision; NaN without pictures."""
    return np.array([_average_precision(*precision_recall(labels == c, column)) for c, column in enumerate(probabilities.T)])


def _average_precision(precision: Floats, recall: Floats) -> float:
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def precision_recall(is_class: NDArray[np.bool_], given: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Precision and recall when pictures from a probability on are called the class, for each that was `given`, falling.

    Args:
        is_class: `(n,)`.
        given: The class's probability, `(n,)`.

    Returns:
        Two arrays with an entry per different probability; recall is NaN where there is no picture of the class.
    """
    order = np.argsort(-given, kind="stable")
    last = np.flatnonzero(np.diff(given[order], append=-np.inf))  # equal probabilities are one threshold
    found = np.cumsum(is_class[order])[last].astype(np.int64)
    return ratio(found, last + 1), ratio(found, np.array(np.count_nonzero(is_class)))


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


def ratio(part: Counts, whole: Counts) -> Floats:
    """`part / whole`, NaN where `whole` is 0."""
    whole = np.broadcast_to(whole, part.shape)
    shares = np.full(part.shape, np.nan)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares
