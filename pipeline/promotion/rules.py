"""The rules of a promotion, each a row of the record. Pure: no file is read, no server is asked.

To reach staging, a version must keep the limits of `register`. To reach production, it must also not be worse than the version
there: McNemar's test on the images that both predicted tells a loss from chance, and Holm's correction keeps one unlucky class
of many from stopping a version. A rule without a limit, or with nothing to compare with, is a row too.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.compare.comparison import DataDrift
from pipeline.params import PromoteParams, RegisterParams
from pipeline.promotion.record import Row
from pipeline.register import gate
from pipeline.register.smoke import Loaded
from pipeline.scores import significance

LOADS = "loads and predicts"  # the one rule that --force does not override
_OVERALL, _CLASSES = "not worse than production", "no class worse than production"
_CALIBRATION, _GAIN = "calibration error increase", "accuracy gain"
_DRIFT = "training data drift from production"
_MEGABYTE = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Performance(gate.Performance):
    """The performance of a version on the test images."""

    name: str  # as in "version 3 (production)"


def limits(params: RegisterParams, new: Performance) -> list[Row]:
    """Return the rules of `register`, judged again by the limits that hold now."""
    rows = [
        Row(
            rule=rule.name,
            verdict=rule.verdict,
            value=None if math.isnan(rule.value) else rule.value,
            comparison="" if rule.limit is None else rule.comparison,
            limit=rule.limit,
            detail=rule.detail,
        )
        for rule in gate.judge(params, new)
    ]
    if new.baseline is None:
        rows.append(_not_compared("better than the baseline", "it has no baseline of this data"))
    if not new.slices:
        rows.append(_not_compared("lowest slice accuracy", "it has no slices of this data"))
    return rows


def against(params: PromoteParams, new: Performance, old: Performance | None, drift: DataDrift | None) -> list[Row]:
    """Return the comparison of `new` with `old`, the version in production, row for row on the same images.

    Args:
        params: The significance level and the margins.
        new: The version that is to go to production.
        old: None where nothing is in production; then there is nothing to compare with.
        drift: How the training data of `new` differs from that of `old`; None where nothing is in production.
    """
    if old is None or drift is None:
        rules = (_OVERALL, _CLASSES, _CALIBRATION, _GAIN, _DRIFT)
        return [_not_compared(rule, "nothing is in production") for rule in rules]
    loss, gain = new.calibration_error - old.calibration_error, new.accuracy - old.accuracy
    errors = f"{new.calibration_error:.4f} vs. {old.calibration_error:.4f}"
    return [
        _overall(params.significance, new, old),
        _classes(params.significance, new, old),
        _at_most(_CALIBRATION, loss, params.max_calibration_loss, "max_calibration_loss", errors),
        _no_rule(_GAIN, gain, "min_gain")
        if params.min_gain is None
        else Row(rule=_GAIN, verdict=_verdict(gain >= params.min_gain), value=gain, comparison="≥", limit=params.min_gain),
        _data_drift(params.max_data_drift, drift),
    ]


def costs(params: PromoteParams, cost: Loaded) -> list[Row]:
    """Return the rules for prediction time and size."""
    return [
        _at_most("milliseconds per image", cost.milliseconds, params.max_milliseconds, "max_milliseconds"),
        _at_most("megabytes", cost.bytes / _MEGABYTE, params.max_megabytes, "max_megabytes"),
    ]


def _overall(level: float, new: Performance, old: Performance) -> Row:
    lost, won = significance.lost_and_won(old.correct, new.correct)
    scores = f"accuracy {new.accuracy:.4f} vs. {old.accuracy:.4f} of {old.name}"
    return _mcnemar(_OVERALL, significance.worse(lost, won), level, scores, lost, won, "McNemar's p")


def _classes(level: float, new: Performance, old: Performance) -> Row:
    """Judge the class with the smallest p, adjusted for all classes that have images."""
    names = list(new.recalls)
    known = [label for label in range(len(names)) if np.any(new.labels == label)]
    counts = [
        significance.lost_and_won(old.correct[rows], new.correct[rows]) for rows in (new.labels == each for each in known)
    ]
    adjusted = significance.holm([significance.worse(*each) for each in counts])
    least = int(np.argmin(adjusted))
    name = names[known[least]]
    scores = f"{name}: recall {new.recalls[name]:.4f} vs. {old.recalls[name]:.4f}"
    return _mcnemar(_CLASSES, adjusted[least], level, scores, *counts[least], "McNemar's p after Holm")


def _mcnemar(rule: str, p: float, level: float, scores: str, lost: int, won: int, test: str) -> Row:
    detail = f"{scores}; {won} newly correct, {lost} newly incorrect; {test}"
    return Row(rule=rule, verdict=_verdict(p >= level), value=p, comparison="≥", limit=level, detail=detail)


def _data_drift(limit: float | None, drift: DataDrift) -> Row:
    if drift.unknown:
        return _not_compared(_DRIFT, drift.unknown)
    largest = float(np.max([0.0, *(each.beyond_chance for each in drift.drift)]))  # NaN where it is not known
    return _at_most(_DRIFT, largest, limit, "max_data_drift", drift.summary or "no drift beyond chance")


def _at_most(rule: str, value: float, limit: float | None, key: str, detail: str = "") -> Row:
    if limit is None:
        return _no_rule(rule, value, key, detail)
    return Row(rule=rule, verdict=_verdict(value <= limit), value=value, comparison="≤", limit=limit, detail=detail)


def _no_rule(rule: str, value: float, key: str, detail: str = "") -> Row:
    reason = f"promote.{key} is null"
    return Row(rule=rule, verdict="no rule", value=value, detail=f"{detail}; {reason}" if detail else reason)


def _not_compared(rule: str, reason: str) -> Row:
    return Row(rule=rule, verdict="nothing to compare", detail=reason)


def _verdict(kept: bool) -> Literal["passed", "failed"]:
    return "passed" if kept else "failed"
