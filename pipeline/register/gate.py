"""The gate: each limit a rule with its value and verdict. Pure: no file is read, no server is asked."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline.params import RegisterParams


@dataclass(frozen=True)
class Rule:
    """One condition a model must meet."""

    name: str
    value: float
    comparison: Literal["≥", "≤"]
    limit: float
    passed: bool
    detail: str = ""

    def __str__(self) -> str:
        opposite = {"≥": "<", "≤": ">"}[self.comparison]
        text = f"{self.name} {self.value:.4f} {self.comparison if self.passed else opposite} {self.limit:g}"
        return f"{text} ({self.detail})" if self.detail else text


def judge(
    params: RegisterParams,
    accuracy: float,
    recalls: Mapping[str, float],
    calibration_error: float,
    slices: Mapping[str, float],
) -> tuple[Rule, ...]:
    """Return every rule with its verdict.

    Args:
        params: The limits.
        accuracy: Share of test images predicted correctly, 0–1.
        recalls: Class name → recall, 0–1; NaN for a class without test images, which fails its rule.
        calibration_error: Expected calibration error, 0–1.
        slices: Slice of the test split → accuracy, 0–1; without slices there is no rule for them.
    """
    weakest, recall = min(recalls.items(), key=lambda item: -1.0 if math.isnan(item[1]) else item[1])
    error, limit = calibration_error, params.max_calibration_error
    rules = (
        _at_least("accuracy", accuracy, params.min_accuracy),
        _at_least("lowest class recall", recall, params.min_class_recall, weakest),
        Rule("calibration error", error, "≤", limit, error <= limit),
    )
    if not slices:
        return rules
    worst = min(slices, key=lambda name: slices[name])
    return *rules, _at_least("lowest slice accuracy", slices[worst], params.min_slice_accuracy, worst)


def _at_least(name: str, value: float, limit: float, detail: str = "") -> Rule:
    return Rule(name, value, "≥", limit, value >= limit, detail)  # NaN compares false, so it fails
