"""Two models compared in numbers: differences with intervals, exact tests, what changed and where; and their training data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import tracking
from pipeline.compare.models import Evaluated, Pair
from pipeline.errors import DatasetError
from pipeline.scores import significance
from pipeline.scores.intervals import Interval, paired
from pipeline.scores.metrics import METRICS, Counts, Metric, percent
from pipeline.scores.significance import p_text
from pipeline.tracking import Source
from pipeline.validate import drift
from pipeline.validate.drift import Drift

_PROFILE = "data/profile.json"
_LIMIT = 0.05  # of p: below it, a difference is more than chance


@dataclass(frozen=True)
class Change:
    """One score of both models."""

    metric: Metric
    a: float
    b: float
    interval: Interval  # 95 %, of b - a, over the same images

    @property
    def verdict(self) -> str:
        """B is `better` or `worse` where the interval excludes zero, else ``."""
        if self.interval.low <= 0 <= self.interval.high:
            return ""
        return "better" if (self.interval.low > 0) == self.metric.higher_is_better else "worse"


@dataclass(frozen=True)
class ClassChange:
    """One class of both models; a ratio 0/0 is NaN."""

    name: str
    images: int
    recall: tuple[float, float]  # of A and of B
    f1: tuple[float, float]
    lost: int  # images of the class that only A predicts correctly
    won: int  # those that only B predicts correctly
    p: float  # exact McNemar, two-sided, adjusted for so many classes (Holm)

    @property
    def verdict(self) -> str:
        """B is `better` or `worse` at the class where that is more than chance, else ``."""
        if self.p >= _LIMIT:
            return ""
        return "better" if self.won > self.lost else "worse"


@dataclass(frozen=True)
class DataDrift:
    """How the training data of B differs from that of A."""

    unknown: str  # why it is not known, such as "no profile on run 1a2b3c4d"; "" where it is
    drift: Sequence[Drift] = ()  # of each feature, and of the class shares
    only_a: Sequence[str] = ()  # classes that have training images in A's data only
    only_b: Sequence[str] = ()

    @property
    def summary(self) -> str:
        """What differs beyond chance, in one line; "" where nothing does or nothing is known."""
        drifted = sorted((each for each in self.drift if each.beyond_chance > 0), key=lambda each: -each.beyond_chance)
        parts = [f"{each.name.replace('_', ' ')} PSI {each.beyond_chance:.2f} beyond chance" for each in drifted]
        only = {"A": self.only_a, "B": self.only_b}
        return "; ".join([*parts, *(f"only in {name}: {', '.join(classes)}" for name, classes in only.items() if classes)])


@dataclass(frozen=True)
class Comparison:
    """What the page and the table in the terminal are made from."""

    pair: Pair
    data: DataDrift
    changes: Sequence[Change]
    lost: int  # images that only A predicts correctly
    won: int  # images that only B predicts correctly
    p: float  # exact McNemar, two-sided
    classes: Sequence[ClassChange]

    @property
    def confusion(self) -> Counts:
        """Images more than with A, `(classes, classes)`; row = true class, column = predicted class."""
        return self.pair.b.scores.confusion - self.pair.a.scores.confusion

    @property
    def verdict(self) -> str:
        """`same`, `better`, `worse` or `open`: how B compares with A."""
        if self.pair.same_model:
            return "same"
        if self.p >= _LIMIT:
            return "open"
        return "better" if self.won > self.lost else "worse"

    @property
    def headline(self) -> str:
        """The verdict in a sentence."""
        a, b = (percent(each.scores.accuracy, 2) for each in (self.pair.a, self.pair.b))
        return {
            "same": f"A and B are the same model: equal weights, {a} accuracy",
            "open": f"No clear difference: accuracy {a} → {b}",
            "better": f"B is better: accuracy {a} → {b}",
            "worse": f"B is worse: accuracy {a} → {b}",
        }[self.verdict]

    @property
    def evidence(self) -> str:
        """What the verdict rests on, in a sentence."""
        count = f"{len(self.pair.a.labels):,} test images"
        if self.won + self.lost == 0:
            return f"Both predict the same of {count} correctly."
        p = f"exact McNemar test, p {p_text(self.p)}"
        return f"Of {count}, only B is correct on {self.won:,} and only A on {self.lost:,} ({p})."

    def newly(self, correct: bool, most: int) -> NDArray[np.int64]:
        """Return rows that only B predicts correctly, or only A; the most confident mistakes first, `most` at most."""
        a, b = self.pair.a, self.pair.b
        rows = np.flatnonzero(b.correct & ~a.correct if correct else a.correct & ~b.correct)
        confidence = (a if correct else b).confidence[rows]
        return rows[np.argsort(-confidence, kind="stable")[:most]]


def compare(pair: Pair, data: DataDrift) -> Comparison:
    """Compare B with A."""
    a, b = pair.a, pair.b
    lost, won = significance.lost_and_won(a.correct, b.correct)
    intervals = paired(a.labels, *((each.probabilities, each.scores.calibration) for each in (a, b)))
    old, new = a.scores.figures(), b.scores.figures()
    changes = [Change(each, old[each.key], new[each.key], intervals[each.key]) for each in METRICS]
    return Comparison(pair, data, changes, lost, won, significance.different(lost, won), _classes(a, b))


def _classes(a: Evaluated, b: Evaluated) -> list[ClassChange]:
    counts = [
        significance.lost_and_won(a.correct[rows], b.correct[rows])
        for rows in (a.labels == label for label in range(len(a.class_names)))
    ]
    adjusted = significance.holm([significance.different(*each) for each in counts])
    old, new = a.scores.per_class, b.scores.per_class
    return [
        ClassChange(
            name,
            int(old.support[label]),
            (float(old.recall[label]), float(new.recall[label])),
            (float(old.f1[label]), float(new.f1[label])),
            *counts[label],
            adjusted[label],
        )
        for label, name in enumerate(a.class_names)
    ]


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
                return DataDrift(
                    f"{_PROFILE} on run {source.run_id[:8]} is damaged: where its data was validated, `mlflow artifacts "
                    f"log-artifact --local-file reports/profile.json --artifact-path data --run-id {source.run_id}` replaces it"
                )
    old, new = ({name for name, count in profile.classes.items() if count} for profile in profiles)
    return DataDrift("", drift.between(profiles[1], profiles[0]), sorted(old - new), sorted(new - old))
