"""Two models on the same pictures, compared in numbers: differences with intervals, exact tests, what changed and where."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import tracking
from pipeline.compare.models import Evaluated, Pair
from pipeline.errors import DatasetError
from pipeline.evaluate.wording import SCORES, Wording, percent
from pipeline.scores import significance
from pipeline.scores.intervals import Answered, Interval, paired
from pipeline.scores.metrics import Counts
from pipeline.tracking import Source
from pipeline.validate import drift
from pipeline.validate.drift import Drift

_PROFILE = "data/profile.json"
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
        rows = np.flatnonzero(b.correct & ~a.correct if right else a.correct & ~b.correct)
        wrong = (a if right else b).probabilities[rows].max(axis=1)
        return rows[np.argsort(-wrong, kind="stable")[:most]]


@dataclass(frozen=True)
class DataDrift:
    """How the training data of B differs from that of A."""

    unknown: str  # why it is not known, such as "no profile on run 1a2b3c4d"; "" where it is
    drift: Sequence[Drift] = ()  # of each feature, and of the class shares
    only_a: Sequence[str] = ()  # classes that have training images in A's data only
    only_b: Sequence[str] = ()

    @property
    def drifted(self) -> Sequence[Drift]:
        """Those beyond chance, the largest first."""
        return sorted((each for each in self.drift if each.beyond_chance > 0), key=lambda each: -each.beyond_chance)

    @property
    def summary(self) -> str:
        """What differs, in one line; "" where nothing does or nothing is known."""
        parts = [f"{each.name.replace('_', ' ')} PSI {each.beyond_chance:.2f} beyond chance" for each in self.drifted]
        for name, classes in (("A", self.only_a), ("B", self.only_b)):
            if classes:
                parts.append(f"only in {name}: {', '.join(classes)}")
        return "; ".join(parts)


def data_drift(client: Any, a: Source, b: Source) -> DataDrift:
    """Return how the training data of `b` differs from that of `a`, by the profiles that validate stored on their runs.

    Raises:
        RegistryError: a run's files cannot be fetched.
    """
    profiles = []
    for source in (a, b):
        with tracking.artifact(client, source, _PROFILE) as path:
            if path is None:
                return DataDrift(f"no profile on run {source.run_id[:8]}")
            try:
                profiles.append(drift.read(path))
            except DatasetError:
                return DataDrift(f"the profile on run {source.run_id[:8]} cannot be read")
    old, new = ({name for name, count in profile.classes.items() if count} for profile in profiles)
    return DataDrift("", drift.between(profiles[1], profiles[0]), sorted(old - new), sorted(new - old))


def compare(pair: Pair) -> Comparison:
    """Compares B with A."""
    a, b = pair.a, pair.b
    lost, won = significance.lost_and_won(a.correct, b.correct)
    return Comparison(pair, _changes(a, b), lost, won, significance.different(lost, won), _classes(a, b))


def _changes(a: Evaluated, b: Evaluated) -> list[Change]:
    answered = (Answered(each.probabilities, each.scores.calibration) for each in (a, b))
    intervals = paired(a.labels, *answered)
    return [Change(score, a.metrics[score.key], b.metrics[score.key], intervals[score.key]) for score in SCORES]


def _classes(a: Evaluated, b: Evaluated) -> list[ClassChange]:
    counts = [
        significance.lost_and_won(a.correct[rows], b.correct[rows])
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
