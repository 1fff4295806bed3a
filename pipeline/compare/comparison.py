"""Two models on the same pictures, compared in numbers: differences with intervals, exact tests, what changed and where."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.compare.predictions import Pair, Predictions
from pipeline.evaluate.wording import SCORES, Wording, percent
from pipeline.scores import significance
from pipeline.scores.intervals import Answered, Interval, paired
from pipeline.scores.metrics import Counts

LIMIT = 0.05  # of p: below it, a difference is more than luck with the pictures


@dataclass(frozen=True)
class Change:
    """One score of both."""

    score: Wording
    a: float
    b: float
    interval: Interval  # 95 %, of b - a, over the same pictures

    @property
    def verdict(self) -> str:
        """B is `better` or `worse` where the interval leaves out zero, else ``."""
        if self.interval.low <= 0 <= self.interval.high:
            return ""
        return "better" if (self.interval.low > 0) == self.score.higher_is_better else "worse"


@dataclass(frozen=True)
class ClassChange:
    """One class of both; a ratio 0/0 is NaN."""

    name: str
    pictures: int
    recall: tuple[float, float]  # of A and of B
    f1: tuple[float, float]
    lost: int  # pictures of the class that only A has right
    won: int  # those that only B has right
    p: float  # exact McNemar, two-sided, adjusted for so many classes (Holm)

    @property
    def verdict(self) -> str:
        """B is `better` or `worse` at the class where that is more than luck, else ``."""
        if self.p >= LIMIT:
            return ""
        return "better" if self.won > self.lost else "worse"


@dataclass(frozen=True)
class Comparison:
    """What pages and tables are made from."""

    pair: Pair
    changes: Sequence[Change]
    lost: int  # pictures that only A has right
    won: int  # pictures that only B has right
    p: float  # exact McNemar, two-sided
    classes: Sequence[ClassChange]

    @property
    def confusion(self) -> Counts:
        """Pictures more than with A, `(classes, classes)`; row = true class, column = predicted class."""
        return self.pair.b.scores.confusion - self.pair.a.scores.confusion

    @property
    def verdict(self) -> str:
        """`same`, `better`, `worse` or `open`: what is said of B."""
        if self.pair.same_model:
            return "same"
        if self.p >= LIMIT:
            return "open"
        return "better" if self.won > self.lost else "worse"

    @property
    def headline(self) -> str:
        """The verdict in a sentence."""
        accuracy = self.changes[0]
        of_both = f"{percent(accuracy.b, 2)} instead of {percent(accuracy.a, 2)} accuracy"
        return {
            "same": f"A and B are the same model: equal weights, {percent(accuracy.a, 2)} accuracy",
            "open": f"No clear difference: {of_both}",
            "better": f"B is better: {of_both}",
            "worse": f"B is worse: {of_both}",
        }[self.verdict]

    @property
    def evidence(self) -> str:
        """What the verdict rests on, in a sentence."""
        if self.won + self.lost == 0:
            return f"Both are right on the same of {len(self.pair.a.labels):,} test pictures."
        return (
            f"Of {len(self.pair.a.labels):,} test pictures B has {self.won:,} right that A has wrong, and {self.lost:,} wrong "
            f"that A has right (exact McNemar test, p {said_p(self.p)})."
        )

    def newly(self, right: bool, most: int) -> NDArray[np.int64]:
        """Rows that only B has right, or only A; those first where the wrong one of the two was surest, `most` at most."""
        a, b = self.pair.a, self.pair.b
        rows = np.flatnonzero(b.right & ~a.right if right else a.right & ~b.right)
        wrong = (a if right else b).probabilities[rows].max(axis=1)
        return rows[np.argsort(-wrong, kind="stable")[:most]]


def compare(pair: Pair) -> Comparison:
    """Compares B with A."""
    a, b = pair.a, pair.b
    lost, won = significance.lost_and_won(a.right, b.right)
    return Comparison(pair, _changes(a, b), lost, won, significance.different(lost, won), _classes(a, b))


def _changes(a: Predictions, b: Predictions) -> list[Change]:
    answered = (Answered(each.probabilities, each.scores.calibration) for each in (a, b))
    intervals = paired(a.labels, *answered)
    return [Change(score, a.metrics[score.key], b.metrics[score.key], intervals[score.key]) for score in SCORES]


def _classes(a: Predictions, b: Predictions) -> list[ClassChange]:
    counts = [
        significance.lost_and_won(a.right[rows], b.right[rows])
        for rows in (a.labels == label for label in range(len(a.class_names)))
    ]
    adjusted = significance.holm([significance.different(lost, won) for lost, won in counts])
    per_class = a.scores.per_class, b.scores.per_class
    return [
        ClassChange(
            name,
            int(per_class[0].support[label]),
            (float(per_class[0].recall[label]), float(per_class[1].recall[label])),
            (float(per_class[0].f1[label]), float(per_class[1].f1[label])),
            *counts[label],
            adjusted[label],
        )
        for label, name in enumerate(a.class_names)
    ]


def said_p(p: float) -> str:
    """A p value after the letter: `= 0.031`, `< 0.0001`."""
    return "< 0.0001" if p < 0.0001 else f"= {p:.2g}"
