"""The gate: each threshold a rule with value, limit and verdict. Pure; it reads no file and asks no server."""

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
    """Every rule with its verdict.

    Args:
        params: The limits.
        accuracy: Share of test pictures that are right, 0–1.
        recalls: Class name → recall, 0–1; NaN for a class without test pictures, which fails its rule.
        calibration_error: Expected calibration error, 0–1.
        slices: Part of the test split → accuracy in it, 0–1; where there is none, there is no rule for it.
    """
    weakest, recall = min(recalls.items(), key=lambda item: -1.0 if math.isnan(item[1]) else item[1])
    rules = (
        _at_least("accuracy", accuracy, params.min_accuracy),
        _at_least("lowest class recall", recall, params.min_class_recall, weakest),
        _at_most("calibration error", calibration_error, params.max_calibration_error),
    )
    if not slices:
        return rules
    worst = min(slices, key=lambda name: slices[name])
    return *rules, _at_least("lowest slice accuracy", slices[worst], params.min_slice_accuracy, worst)


def _at_least(name: str, value: float, limit: float, detail: str = "") -> Rule:
    return Rule(name, value, "≥", limit, value >= limit, detail)  # NaN compares false, so it fails


def _at_most(name: str, value: float, limit: float) -> Rule:
    return Rule(name, value, "≤", limit, value <= limit)
