"""The gate of a promotion: each rule a row of the record. Pure; it reads no file and asks no server.

To staging a version must load and answer, and keep the limits of `register`. To production it must besides not be worse than
what is there: a test on the pictures both answered says what is luck, and Holm's correction keeps one unlucky class of many
from stopping a version. What is asked by no param, or cannot be compared, is a row too.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.params import PromoteParams, RegisterParams
from pipeline.promotion.record import Row
from pipeline.register.gate import judge
from pipeline.scores import significance

LOADS = "loads and answers"  # the one rule that --force does not overrule
_OVERALL, _CLASSES = "as good as production", "each class as good"
_CALIBRATION = "calibration error added"
_MEGABYTE = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a version showed on the test pictures."""

    name: str  # as people say it
    labels: NDArray[np.int32]  # (n,)
    right: NDArray[np.bool_]  # (n,), whether its most probable class is the true one
    class_names: Sequence[str]
    recalls: Mapping[str, float]  # class name → 0–1; NaN where no picture is of it
    calibration_error: float
    slices: Mapping[str, float]  # part of the test split → accuracy; empty where they are of other data

    @property
    def accuracy(self) -> float:
        """Share of the pictures that are right."""
        return float(self.right.mean())


@dataclass(frozen=True)
class Cost:
    """What an answer costs, as the fresh process measured it."""

    milliseconds: float  # per picture
    bytes: int  # of all files


def limits(params: RegisterParams, new: Shown) -> list[Row]:
    """The limits a version must keep to be registered, asked again with those that hold now."""
    rows = [
        Row(
            rule=rule.name,
            verdict="passed" if rule.passed else "failed",
            value=None if math.isnan(rule.value) else rule.value,
            comparison=rule.comparison,
            limit=rule.limit,
            detail=rule.detail,
        )
        for rule in judge(params, new.accuracy, new.recalls, new.calibration_error, new.slices)
    ]
    if not new.slices:
        rows.append(Row(rule="lowest slice accuracy", verdict="nothing to compare", detail="it has no slices of this data"))
    return rows


def against(params: PromoteParams, new: Shown, old: Shown | None) -> list[Row]:
    """`new` beside `old`, the version in production, row for row on the same pictures.

    Args:
        params: Significance and margins.
        new: The version that is to go to production.
        old: None where nothing is in production; then every rule says that there is nothing to compare with.
    """
    if old is None:
        rules = (_OVERALL, _CLASSES, _CALIBRATION)
        nothing = [Row(rule=rule, verdict="nothing to compare", detail="nothing is in production") for rule in rules]
        return [*nothing, _gain(params.min_gain, None)]
    loss = new.calibration_error - old.calibration_error
    return [
        _overall(params.significance, new, old),
        _classes(params.significance, new, old),
        Row(
            rule=_CALIBRATION,
            verdict=_verdict(loss <= params.max_calibration_loss),
            value=loss,
            comparison="≤",
            limit=params.max_calibration_loss,
            detail=f"{new.calibration_error:.4f} against {old.calibration_error:.4f}",
        ),
        _gain(params.min_gain, new.accuracy - old.accuracy),
    ]


def costs(params: PromoteParams, cost: Cost) -> list[Row]:
    """Time and size."""
    return [
        _at_most("milliseconds per picture", cost.milliseconds, params.max_milliseconds),
        _at_most("megabytes", cost.bytes / _MEGABYTE, params.max_megabytes),
    ]


def _overall(limit: float, new: Shown, old: Shown) -> Row:
    lost, won = significance.lost_and_won(old.right, new.right)
    p = significance.worse(lost, won)
    accuracies = f"accuracy {new.accuracy:.4f} against {old.accuracy:.4f}"
    return Row(
        rule=_OVERALL,
        verdict=_verdict(p >= limit),
        value=p,
        comparison="≥",
        limit=limit,
        detail=f"{accuracies} of {old.name}; {won} newly right, {lost} newly wrong; McNemar's p",
    )


def _classes(limit: float, new: Shown, old: Shown) -> Row:
    """The class with the smallest p, adjusted for all classes that have pictures."""
    known = [label for label in range(len(new.class_names)) if np.any(new.labels == label)]
    counts = [significance.lost_and_won(old.right[rows], new.right[rows]) for rows in (new.labels == label for label in known)]
    adjusted = significance.holm([significance.worse(*each) for each in counts])
    least = int(np.argmin(adjusted))
    name = new.class_names[known[least]]
    lost, won = counts[least]
    recalls = f"recall {new.recalls[name]:.4f} against {old.recalls[name]:.4f}"
    return Row(
        rule=_CLASSES,
        verdict=_verdict(adjusted[least] >= limit),
        value=adjusted[least],
        comparison="≥",
        limit=limit,
        detail=f"{name}: {recalls}; {won} newly right, {lost} newly wrong; McNemar's p after Holm",
    )


def _gain(limit: float | None, gain: float | None) -> Row:
    rule = "accuracy gained"
    if limit is None:
        return Row(rule=rule, verdict="no rule", value=gain, detail="promote.min_gain is null")
    if gain is None:
        return Row(rule=rule, verdict="nothing to compare", comparison="≥", limit=limit, detail="nothing is in production")
    return Row(rule=rule, verdict=_verdict(gain >= limit), value=gain, comparison="≥", limit=limit)


def _at_most(rule: str, value: float, limit: float | None) -> Row:
    if limit is None:
        return Row(rule=rule, verdict="no rule", value=value, detail=f"promote.max_{rule.split()[0]} is null")
    return Row(rule=rule, verdict=_verdict(value <= limit), value=value, comparison="≤", limit=limit)


def _verdict(kept: bool) -> Literal["passed", "failed"]:
    return "passed" if kept else "failed"
