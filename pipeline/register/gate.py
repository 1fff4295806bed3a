"""The gate: the performance of a model, and each limit as a rule with its value and verdict. Pure; see evidence.py."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.baseline import Baseline
from pipeline.params import RegisterParams
from pipeline.scores import significance
from pipeline.scores.metrics import UNDEFINED

UNSEEN = "judged on unseen images"
_BETTER = "better than the baseline (p)"
CHANCE_LEVEL = 0.05
"""Significance level at which every model must be better than the majority class; no param switches that off."""
MARGIN = 0.01
"""Accuracy below the baseline's, or one image, that a model may have where the baseline makes too few mistakes for a test."""


@dataclass(frozen=True)
class Rule:
    """One condition a model must meet; without a limit, one that is only shown."""

    name: str
    value: float
    comparison: Literal["≥", "≤"]
    limit: float | None
    passed: bool
    detail: str = ""

    @property
    def verdict(self) -> Literal["passed", "failed", "no rule"]:
        """What follows from it."""
        return "no rule" if self.limit is None else "passed" if self.passed else "failed"

    def __str__(self) -> str:
        shown = f"{self.value:,}" if isinstance(self.value, int) else f"{self.value:.4f}"
        text = f"{self.name} {UNDEFINED if math.isnan(self.value) else shown}"
        if self.limit is not None:
            opposite = {"≥": "<", "≤": ">"}[self.comparison]
            text += f" {self.comparison if self.passed else opposite} {self.limit:g}"
        return f"{text} ({self.detail})" if self.detail else text


@dataclass(frozen=True, kw_only=True)
class Performance:
    """The performance of a model on the test images."""

    labels: NDArray[np.int32]  # (n,)
    correct: NDArray[np.bool_]  # (n,), whether the most probable class is the label
    recalls: Mapping[str, float]  # class name → 0–1, by label; NaN for a class without images
    calibration_error: float  # 0–1
    slices: Mapping[str, float]  # slice of the test split → accuracy; empty where it is too small to be cut
    baseline: Baseline | None  # on the same images
    slice_rows: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)  # slice → (n,), its images
    seen: int | None  # images that it was trained on; None where that is not known

    @property
    def accuracy(self) -> float:
        """Share of the images that are predicted correctly."""
        return float(self.correct.mean())

    @property
    def weakest(self) -> str:
        """The class with the lowest recall; one without images, whose recall is not known, comes first."""
        return min(self.recalls, key=lambda name: -1.0 if math.isnan(self.recalls[name]) else self.recalls[name])


def judge(params: RegisterParams, model: Performance) -> tuple[Rule, ...]:
    """Return every rule with its verdict; without slices or without a baseline there is no rule for them."""
    weakest = model.weakest
    rules = [
        _unseen(model),
        _rule("accuracy", model.accuracy, "≥", params, "min_accuracy"),
        *_against_baseline(params.baseline_significance, model),
        _against_majority(model),
        _rule("lowest class recall", model.recalls[weakest], "≥", params, "min_class_recall", weakest),
        _rule("calibration error", model.calibration_error, "≤", params, "max_calibration_error"),
    ]
    if model.slices:
        worst = min(model.slices, key=lambda name: model.slices[name])
        rules.append(_rule("lowest slice accuracy", model.slices[worst], "≥", params, "min_slice_accuracy", worst))
    return tuple(rules)


def _unseen(model: Performance) -> Rule:
    """Refuse to judge a model on its own training images: what it reaches there says nothing about others."""
    images = f"{len(model.labels):,} test images"
    if model.seen is None:
        why = (
            "its files hold no training_images.npy, so it is not known on which images it was trained: delete its run and its "
            "version, if it has one, in the MLflow UI; `dvc repro -s -f register` then makes them again from the outputs"
        )
        return Rule(UNSEEN, math.nan, "≤", 0, False, why)
    if not model.seen:
        return Rule(UNSEEN, 0, "≤", 0, True, f"none of the {images} was used in training")
    detail = (
        f"{model.seen:,} of the {images} were used to train it, or a version that it started from: judge it on the data "
        "that it was trained on (ingest.seed), or train again"
    )
    return Rule(UNSEEN, model.seen, "≤", 0, False, detail)


def _rule(name: str, value: float, comparison: Literal["≥", "≤"], params: RegisterParams, key: str, detail: str = "") -> Rule:
    limit: float | None = getattr(params, key)
    if limit is None:
        return Rule(name, value, comparison, None, True, _joined(detail, f"register.{key} is null"))
    passed = value >= limit if comparison == "≥" else value <= limit  # NaN compares false, so it fails
    return Rule(name, value, comparison, limit, passed, detail)


def _joined(*parts: str) -> str:
    return "; ".join(filter(None, parts))


def _against_baseline(level: float | None, model: Performance) -> Iterator[Rule]:
    """Judge whether the model is better than the baseline by more than chance.

    Where the baseline makes too few mistakes for a test to show that, the model must not be worse: neither by more than
    chance, nor by more than `MARGIN`. McNemar's test compares the two on the same images.
    """
    simple = model.baseline
    if simple is None:
        return
    lost, won = significance.lost_and_won(simple.correct, model.correct)
    mistakes, images = int(np.sum(~simple.correct)), len(model.labels)
    p = significance.worse(won, lost)
    scores = (
        f"accuracy {model.accuracy:.4f} vs. {simple.accuracy:.4f} of {simple.name}; of {images:,} test images "
        f"{won:,} are correct with the model only, {lost:,} with the baseline only"
    )
    if level is None:
        yield Rule(_BETTER, p, "≤", None, True, f"{scores}; register.baseline_significance is null")
    elif p <= level or significance.can_show_gain(mistakes, level):
        yield Rule(_BETTER, p, "≤", level, p <= level, _joined(scores, _images_needed(lost, won, images, level)))
    else:
        few = f"{scores}; the {mistakes} mistakes of the baseline are too few to show that a model is better"
        worse, margin = significance.worse(lost, won), max(MARGIN, 1 / images)
        yield Rule("not worse than the baseline (p)", worse, "≥", level, worse >= level, few)
        short = max(0.0, (lost - won) / images)
        yield Rule("accuracy below the baseline", short, "≤", margin, short <= margin)


def _against_majority(model: Performance) -> Rule:
    """Judge whether the model is better than a prediction of the most frequent class for every image."""
    majority = int(np.bincount(model.labels).argmax())
    always = model.labels == majority
    lost, won = significance.lost_and_won(always, model.correct)
    p, images = significance.worse(won, lost), len(model.labels)
    scores = f"accuracy {model.accuracy:.4f} vs. {always.mean():.4f} of always predicting {list(model.recalls)[majority]}"
    needed = _images_needed(lost, won, images, CHANCE_LEVEL)
    return Rule("better than the majority class (p)", p, "≤", CHANCE_LEVEL, p <= CHANCE_LEVEL, _joined(scores, needed))


def _images_needed(lost: int, won: int, images: int, level: float) -> str:
    """Return how many test images would show a gain that these do not show; empty where there is none, or it shows."""
    if won <= lost or significance.worse(won, lost) <= level:
        return ""
    return f"a gain of this size shows on about {significance.images_to_show(lost, won, images, level):,} test images"
