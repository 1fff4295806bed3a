"""The rules of a promotion, each a row of the record. Pure: no file is read, no server is asked.

To reach staging, a version must keep the limits of `register`. To reach production, it must also not be worse than the version
there, nor than the best that ever was there: many steps, each too small to be seen, would otherwise add up. Both are tests of
non-inferiority: the lower end of the paired interval of the accuracy difference must stay above a limit. The limit is
`promote.max_accuracy_loss` or, where the images are too few to show so small a loss, what they can show, which the row says.
Classes and slices are tested together, so that one unlucky one of many does not stop a version. A rule without a limit, or with
nothing to compare with, is a row too. How often this is wrong, by simulation: docs/trust.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline import tracking
from pipeline.compare.comparison import DataDrift
from pipeline.params import PromoteParams, RegisterParams
from pipeline.promotion.record import Row
from pipeline.register import gate
from pipeline.register.fresh import Loaded
from pipeline.scores import intervals, significance

LOADS = "loads and predicts"  # the one rule that --force does not override
OVERALL, _BEST = "not worse than production", "not worse than the best so far"
_CLASSES, _SLICES = "no class worse than production", "no slice worse than production"
_CALIBRATION, _GAIN = "calibration error increase", "accuracy gain"
_DRIFT = "training data drift from production"
_MEGABYTE = 1_000_000
_WIDER = 2.326 / 1.96  # a 98 % interval's reach / a 95 % one's: the rule is to refuse 1 in 100 of equally good versions


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
        rows.append(_not_compared("lowest slice accuracy", "no feature varies enough among the test images"))
    return rows


def against(
    params: PromoteParams,
    new: Performance,
    old: Performance | None,
    drift: DataDrift | None,
    why_not: str = "nothing is in production",
    calibration_low: float | None = None,
) -> list[Row]:
    """Return the comparison of `new` with `old`, the version in production, row for row on the same images.

    Args:
        params: The significance level and the margins.
        new: The version that is to go to production.
        old: The version in production, or the last that was; None where there is nothing to compare with.
        drift: How the training data of `new` differs from that of `old`; None where `old` is.
        why_not: Why there is nothing to compare with.
        calibration_low: The lower end of the paired 95 % interval of the increase of the calibration error; None: not known.
    """
    if old is None or drift is None:
        rules = (OVERALL, _CLASSES, _SLICES, _CALIBRATION, _GAIN, _DRIFT)
        return [_not_compared(rule, why_not) for rule in rules]
    gain = new.accuracy - old.accuracy
    return [
        _not_worse(OVERALL, new, old, params.significance, params.max_accuracy_loss),
        *_parts(params.significance, new, old),
        _calibration(params.max_calibration_loss, new, old, calibration_low),
        _no_rule(_GAIN, gain, "min_gain")
        if params.min_gain is None
        else Row(rule=_GAIN, verdict=_verdict(gain >= params.min_gain), value=gain, comparison="≥", limit=params.min_gain),
        _data_drift(params.max_data_drift, drift),
    ]


def against_best(params: PromoteParams, new: Performance, best: Performance | None, among: int, note: str) -> Row:
    """Return the comparison of `new` with `best`, the most accurate version that ever was in production.

    The best of `among` versions was also the luckiest on these images, so the significance level is divided by their number.
    `note` says why there is nothing to compare with (`best` is None), or what else there is to know.
    """
    if best is None:
        return _not_compared(_BEST, note)
    return _not_worse(_BEST, new, best, params.significance / among, params.max_accuracy_loss, note)


def tried(number: int) -> Row:
    """Return the row that says how many candidates were judged on the test images, this one included."""
    return Row(
        rule="candidates judged on these images", verdict="no rule", value=float(number), detail=tracking.as_candidate(number)
    )


def costs(params: PromoteParams, cost: Loaded) -> list[Row]:
    """Return the rules for prediction time and size."""
    return [
        _at_most("milliseconds per image", cost.milliseconds, params.max_milliseconds, "max_milliseconds"),
        _at_most("megabytes", cost.bytes / _MEGABYTE, params.max_megabytes, "max_megabytes"),
    ]


def _not_worse(rule: str, new: Performance, old: Performance, level: float, accepted: float, note: str = "") -> Row:
    """Judge the lower end of the accuracies' difference by the loss that is accepted, or the smallest that can be seen."""
    lost, won = significance.lost_and_won(old.correct, new.correct)
    images, visible = len(new.labels), significance.visible_loss(lost + won, level)
    discordant = max(float(lost + won), visible)
    just_visible = -1.0
    if visible <= images:
        just_visible = intervals.lowest_difference((discordant + visible) / 2, (discordant - visible) / 2, images)
    low, limit = intervals.lowest_difference(lost, won, images), min(-accepted, just_visible)
    detail = (
        f"accuracy {new.accuracy:.4f} vs. {old.accuracy:.4f} of {old.name}; {_counts(lost, won)}; {_unseen(visible, images)}"
    )
    detail = f"{detail}; {note}" if note else detail
    return Row(rule=rule, verdict=_verdict(low >= limit), value=low, comparison="≥", limit=limit, detail=detail)


def _unseen(visible: float, images: int) -> str:
    if visible > images:
        return f"no loss can be seen in {images:,} images"
    return f"a loss below {100 * visible / images:.2g} points cannot be seen in {images:,} images"


def _counts(lost: int, won: int) -> str:
    return f"{won} newly correct, {lost} newly incorrect"


def _parts(level: float, new: Performance, old: Performance) -> list[Row]:
    """Judge the class and the slice with the smallest p, adjusted for all classes and slices that have images."""
    names = list(new.recalls)
    classes = {names[label]: new.labels == label for label in np.unique(new.labels).tolist()}
    parts = [*classes.items(), *new.slice_rows.items()]
    counts = [significance.lost_and_won(old.correct[rows], new.correct[rows]) for _, rows in parts]
    adjusted = significance.holm([significance.worse(*each) for each in counts])

    def least(rule: str, among: Sequence[int], score: str) -> Row:
        if not among:
            return _not_compared(rule, "there are no slices of these data")
        place = min(among, key=lambda each: adjusted[each])
        (name, rows), (lost, won) = parts[place], counts[place]
        accuracies = f"{name}: {score} {new.correct[rows].mean():.4f} vs. {old.correct[rows].mean():.4f}"
        visible = significance.smallest_loss(lost + won, level / len(parts))
        detail = f"{accuracies}; {_counts(lost, won)}; McNemar's p after Holm; {_unseen(visible, int(rows.sum()))} of it"
        return Row(
            rule=rule,
            verdict=_verdict(adjusted[place] >= level),
            value=adjusted[place],
            comparison="≥",
            limit=level,
            detail=detail,
        )

    return [
        least(_CLASSES, range(len(classes)), "recall"),
        least(_SLICES, range(len(classes), len(parts)), "accuracy"),
    ]


def _calibration(accepted: float, new: Performance, old: Performance, low: float | None) -> Row:
    """Judge the increase of the calibration error by the margin or, where that is larger, by what may be chance."""
    increase = new.calibration_error - old.calibration_error
    chance = 0.0 if low is None else _WIDER * (increase - low)
    detail = f"{new.calibration_error:.4f} vs. {old.calibration_error:.4f}"
    if chance > accepted:
        detail += f"; an increase below {chance:.2g} cannot be seen in {len(new.labels):,} images"
    return _at_most(_CALIBRATION, increase, max(accepted, chance), "max_calibration_loss", detail)


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
