"""The rows of the gate, by hand-made predictions of two versions."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.baseline import Baseline
from pipeline.compare.comparison import DataDrift
from pipeline.params import PromoteParams, RegisterParams
from pipeline.promotion import rules
from pipeline.promotion.record import Row
from pipeline.promotion.rules import Performance
from pipeline.register.fresh import Loaded
from pipeline.scores import intervals
from pipeline.validate.drift import Drift

LIMITS = RegisterParams(
    baseline_significance=0.05, min_accuracy=0.5, min_class_recall=0.4, max_calibration_error=0.05, min_slice_accuracy=0.3
)
PARAMS = PromoteParams(
    significance=0.05,
    max_accuracy_loss=0.002,
    max_calibration_loss=0.01,
    max_data_drift=None,
    min_gain=None,
    max_milliseconds=None,
    max_megabytes=None,
    require_signature=False,
    on_promotion="",
)


def performance(correct: dict[str, tuple[int, int]], **changes: object) -> Performance:
    """A version that predicts of each class so many of so many images correctly: the first ones."""
    labels = np.concatenate([np.full(of, label, np.int32) for label, (_, of) in enumerate(correct.values())])
    hits = np.concatenate([np.arange(of) < some for some, of in correct.values()])
    recalls = {name: some / of if of else float("nan") for name, (some, of) in correct.items()}
    made = Performance(
        name="version 1",
        labels=labels,
        correct=hits,
        recalls=recalls,
        calibration_error=0.02,
        slices={"dark": 0.6},
        seen=0,
        baseline=Baseline(name="a simple one", labels=labels, predicted=np.zeros_like(labels)),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def verdicts(rows: list[Row]) -> dict[str, str]:
    return {row.rule: row.verdict for row in rows}


OLD = performance({"bag": (80, 100), "shirt": (60, 100)})

SAME_DATA = DataDrift("")


def test_the_limits_of_register_are_asked_again_and_name_what_failed() -> None:
    kept = rules.limits(LIMITS, OLD)
    assert verdicts(kept) == dict.fromkeys(
        (
            "judged on unseen images",
            "accuracy",
            "better than the baseline (p)",
            "better than the majority class (p)",
            "lowest class recall",
            "calibration error",
            "lowest slice accuracy",
        ),
        "passed",
    )
    failed = rules.limits(LIMITS.model_copy(update={"min_class_recall": 0.61}), OLD)
    assert [(row.rule, row.value, row.limit, row.detail) for row in failed if row.verdict == "failed"] == [
        ("lowest class recall", 0.6, 0.61, "shirt")
    ]


def test_a_version_no_better_than_the_baseline_is_refused() -> None:
    """Of 100 images 2 are correct with the version only and 1 with the baseline only: P(2 or 3 heads of 3) = 4/8."""
    version = performance({"bag": (40, 50), "shirt": (30, 50)})
    right = np.delete(np.flatnonzero(version.correct), [0, 1])
    predicted = 1 - version.labels
    predicted[[*right, 49]] = version.labels[[*right, 49]]
    simple = Baseline(name="ridge", labels=version.labels, predicted=predicted)
    (failed,) = [row for row in rules.limits(LIMITS, replace(version, baseline=simple)) if row.verdict == "failed"]
    assert (failed.rule, failed.value, failed.comparison, failed.limit) == ("better than the baseline (p)", 0.5, "≤", 0.05)
    assert failed.detail.startswith(
        "accuracy 0.7000 vs. 0.6900 of ridge; of 100 test images 2 are correct with the model only, 1 with the baseline only; "
        "a gain of this size shows on about "
    )


def test_a_version_without_a_baseline_of_these_data_is_judged_by_the_rest() -> None:
    rows = rules.limits(LIMITS, replace(OLD, baseline=None))
    assert verdicts(rows)["better than the baseline"] == "nothing to compare"
    assert verdicts(rows)["better than the majority class (p)"] == "passed"


def test_without_a_limit_a_value_is_shown() -> None:
    rows = rules.limits(LIMITS.model_copy(update={"min_class_recall": None, "baseline_significance": None}), OLD)
    shown = {row.rule: (row.verdict, row.value, row.limit, row.detail) for row in rows}
    assert shown["lowest class recall"] == ("no rule", 0.6, None, "shirt; register.min_class_recall is null")
    assert shown["better than the baseline (p)"][0] == "no rule"


def test_a_class_without_images_fails_and_its_recall_is_undefined() -> None:
    rows = {row.rule: row for row in rules.limits(LIMITS, performance({"bag": (8, 10), "shirt": (0, 0)}))}
    row = rows["lowest class recall"]
    assert (row.verdict, row.value, row.detail) == ("failed", None, "shirt")


def test_slices_of_other_data_are_nothing_to_compare() -> None:
    assert verdicts(rules.limits(LIMITS, replace(OLD, slices={})))["lowest slice accuracy"] == "nothing to compare"


def test_equal_predictions_pass() -> None:
    rows = rules.against(PARAMS, OLD, OLD, SAME_DATA)
    assert [row.verdict for row in rows] == ["passed", "passed", "nothing to compare", "passed", "no rule", "no rule"]
    assert [row.value for row in rows[1:]] == [1.0, None, 0.0, 0.0, 0.0]
    assert rows[0].value == pytest.approx(-(Z**2) / (200 + Z**2))  # Wilson's, of 0 of 200 images


Z = 1.644854  # standard normal quantile of 0.95


@pytest.mark.parametrize(("lost", "won", "verdict"), [(0, 0, "passed"), (2, 0, "passed"), (3, 0, "failed"), (9, 3, "failed")])
def test_a_few_more_mistakes_are_chance_and_more_are_not(lost: int, won: int, verdict: str) -> None:
    """A loss shows from z·√(lost + won) on, and from z² = 2.7 images: 3 of 3 (1.73 z²) and 6 of 12 (1.73) do, 2 of 2 do not."""
    new = performance({"bag": (80 - lost, 100), "shirt": (60 + won, 100)})
    row = rules.against(PARAMS, new, OLD, SAME_DATA)[0]
    assert (row.rule, row.verdict, row.comparison) == ("not worse than production", verdict, "≥")
    assert row.value == intervals.lowest_difference(lost, won, 200)
    assert f"{won} newly correct, {lost} newly incorrect" in row.detail
    seen = max(Z * (lost + won) ** 0.5, Z**2) / 200
    assert row.detail.endswith(f"a loss below {100 * seen:.2g} points cannot be seen in 200 images")


@pytest.mark.parametrize(("accepted", "verdict"), [(0.01, "failed"), (0.06, "passed")])
def test_a_loss_that_is_accepted_passes_although_it_shows(accepted: float, verdict: str) -> None:
    """Five of 200 images: a loss of 0.049 is not ruled out."""
    params = PARAMS.model_copy(update={"max_accuracy_loss": accepted})
    row = rules.against(params, performance({"bag": (75, 100), "shirt": (60, 100)}), OLD, SAME_DATA)[0]
    assert row.verdict == verdict


@pytest.mark.parametrize(("lost", "verdict", "seen"), [(3, "passed", "8.5"), (4, "failed", "9.7")])
def test_of_36_images_a_loss_of_four_is_seen_and_one_of_three_is_not(lost: int, verdict: str, seen: str) -> None:
    """At the shipped level z = 1.7507: z^2 = 3.06 images, and z * sqrt(4) = 3.50."""
    shipped = PARAMS.model_copy(update={"significance": 0.04})
    row = rules.against(shipped, performance({"bag": (34 - lost, 36)}), performance({"bag": (34, 36)}), SAME_DATA)[0]
    assert row.verdict == verdict
    assert row.detail.endswith(f"a loss below {seen} points cannot be seen in 36 images")


@pytest.mark.parametrize("images", [1, 2, 3, 4, 5])
def test_a_handful_of_images_can_be_compared(images: int) -> None:
    """At 0.05, from three images on all lost show."""
    old, new = performance({"bag": (images, images)}), performance({"bag": (0, images)})
    row = rules.against(PARAMS, new, old, SAME_DATA)[0]
    assert row.verdict == ("failed" if images >= 3 else "passed")
    assert row.detail.endswith(f"no loss can be seen in {images} images") == (images < 3)
    assert rules.against(PARAMS, old, new, SAME_DATA)[0].verdict == "passed"


def test_many_images_show_a_small_loss_and_the_limit_is_the_param() -> None:
    old = performance({"bag": (90_000, 100_000)})
    passed, failed = (
        rules.against(PARAMS, performance({"bag": (90_000 - lost, 100_000)}), old, SAME_DATA)[0] for lost in (170, 190)
    )
    assert (passed.verdict, failed.verdict) == ("passed", "failed")
    assert passed.limit == failed.limit == -0.002


def test_the_best_of_many_was_also_the_luckiest() -> None:
    """Three lost of three show at 0.05 (z = 1.64), not at a fifth of that (z = 2.33)."""
    new = performance({"bag": (77, 100), "shirt": (60, 100)})
    alone, among_five = (rules.against_best(PARAMS, new, OLD, among, "") for among in (1, 5))
    assert (alone.verdict, among_five.verdict) == ("failed", "passed")
    assert alone.rule == among_five.rule == "not worse than the best so far"
    assert "a loss below 2.7 points cannot be seen in 200 images" in among_five.detail


def test_without_a_best_version_the_row_says_why() -> None:
    row = rules.against_best(PARAMS, OLD, None, 1, "version 3 was deleted")
    assert (row.verdict, row.detail) == ("nothing to compare", "version 3 was deleted")


def test_a_class_that_got_worse_stops_a_version_that_is_better_overall() -> None:
    """Six lost of two classes: p = 2/64 after Holm."""
    rows = rules.against(PARAMS, performance({"bag": (74, 100), "shirt": (90, 100)}), OLD, SAME_DATA)
    assert [row.verdict for row in rows[:2]] == ["passed", "failed"]
    assert rows[1].value == pytest.approx(2 / 64)
    assert rows[1].detail.startswith("bag: recall 0.7400 vs. 0.8000; 0 newly correct, 6 newly incorrect")
    assert rows[1].detail.endswith("a loss below 6 points cannot be seen in 100 images of it")  # 1/64 < 0.05/2


def test_a_class_of_four_images_shows_no_loss() -> None:
    """Of two classes: six lost would be needed, 1/64 < 0.05/2."""
    rows = rules.against(
        PARAMS, performance({"bag": (0, 4), "shirt": (1, 1)}), performance({"bag": (4, 4), "shirt": (1, 1)}), SAME_DATA
    )
    assert rows[1].verdict == "passed"
    assert rows[1].detail.endswith("no loss can be seen in 4 images of it")


def test_a_slice_that_got_worse_stops_a_version_that_is_better_overall() -> None:
    """Seven lost of two classes and two slices: p = 4/128 after Holm; of the class, which won as well, it is chance."""
    slices = {"dark": np.arange(200) < 80, "bright": np.arange(200) >= 80}
    old = performance({"bag": (80, 100), "shirt": (60, 100)}, slice_rows=slices)
    new = performance({"bag": (73, 100), "shirt": (90, 100)}, slice_rows=slices)
    new.correct[80:90] = True
    rows = rules.against(PARAMS, new, old, SAME_DATA)
    assert [row.verdict for row in rows[:3]] == ["passed", "passed", "failed"]
    assert rows[2].value == pytest.approx(4 / 128)
    assert rows[2].detail.startswith("dark: accuracy 0.9125 vs. 1.0000; 0 newly correct, 7 newly incorrect")


def test_holm_allows_one_unlucky_class_of_many() -> None:
    """Six lost would be p = 1/64 for one class alone; of ten classes it is chance."""
    many = {str(n): (50, 100) for n in range(10)}
    rows = rules.against(PARAMS, performance({**many, "3": (44, 100), "4": (60, 100)}), performance(many), SAME_DATA)
    assert rows[1].verdict == "passed"
    assert rows[1].value == pytest.approx(10 / 64)


@pytest.mark.parametrize(("error", "verdict"), [(0.0299, "passed"), (0.031, "failed"), (0.001, "passed")])
def test_calibration_may_lose_its_margin(error: float, verdict: str) -> None:
    row = rules.against(PARAMS, replace(OLD, calibration_error=error), OLD, SAME_DATA)[3]
    assert row.verdict == verdict
    assert row.value == pytest.approx(error - 0.02)


@pytest.mark.parametrize(("low", "verdict"), [(0.004, "failed"), (0.001, "passed"), (-0.02, "passed")])
def test_calibration_may_lose_what_may_be_chance(low: float, verdict: str) -> None:
    """An increase of 0.02, twice the margin; the ends of a 98 % interval are at 0.001, -0.0025 and -0.0275."""
    row = rules.against(PARAMS, replace(OLD, calibration_error=0.04), OLD, SAME_DATA, calibration_low=low)[3]
    assert row.verdict == verdict
    assert row.limit == pytest.approx((0.02 - low) * 2.326 / 1.96)
    assert row.detail.endswith("cannot be seen in 200 images")


@pytest.mark.parametrize(("correct", "verdict"), [(61, "failed"), (62, "passed")])
def test_a_minimum_gain_is_required_where_one_is_set(correct: int, verdict: str) -> None:
    params = PARAMS.model_copy(update={"min_gain": 0.01})
    row = rules.against(params, performance({"bag": (80, 100), "shirt": (correct, 100)}), OLD, SAME_DATA)[4]
    assert (row.verdict, row.limit) == (verdict, 0.01)


BRIGHTER = DataDrift("", (Drift("pixel_mean", 0.4, 0.1), Drift("contrast", 0.05, 0.1)))


@pytest.mark.parametrize(
    ("limit", "drift", "verdict", "value", "detail"),
    [
        (None, SAME_DATA, "no rule", 0.0, "no drift beyond chance; promote.max_data_drift is null"),
        (None, BRIGHTER, "no rule", 0.3, "pixel mean PSI 0.30 beyond chance; promote.max_data_drift is null"),
        (0.31, BRIGHTER, "passed", 0.3, "pixel mean PSI 0.30 beyond chance"),
        (0.29, BRIGHTER, "failed", 0.3, "pixel mean PSI 0.30 beyond chance"),
        (0.29, DataDrift("no profile on run 1a2b3c4d"), "nothing to compare", None, "no profile on run 1a2b3c4d"),
    ],
)
def test_drift_of_the_training_data_is_shown_and_limited_where_a_limit_is_set(
    limit: float | None, drift: DataDrift, verdict: str, value: float | None, detail: str
) -> None:
    row = rules.against(PARAMS.model_copy(update={"max_data_drift": limit}), OLD, OLD, drift)[5]
    assert (row.verdict, row.detail) == (verdict, detail)
    assert row.value == pytest.approx(value)


def test_with_nothing_in_production_every_comparison_says_so() -> None:
    rows = rules.against(PARAMS.model_copy(update={"min_gain": 0.01}), OLD, None, None, "nothing was ever in production")
    assert {(row.verdict, row.detail) for row in rows} == {("nothing to compare", "nothing was ever in production")}
    assert len(rows) == 6


def test_time_and_size_have_limits_where_they_are_set() -> None:
    cost = Loaded(milliseconds=2.0, bytes=3_000_000, probabilities=np.empty((0, 2), np.float32))
    free = rules.costs(PARAMS, cost)
    assert [(row.verdict, row.value, row.detail) for row in free] == [
        ("no rule", 2.0, "promote.max_milliseconds is null"),
        ("no rule", 3.0, "promote.max_megabytes is null"),
    ]
    tight = PARAMS.model_copy(update={"max_milliseconds": 1.9, "max_megabytes": 3.0})
    assert [row.verdict for row in rules.costs(tight, cost)] == ["failed", "passed"]


def test_a_tiny_p_is_shown_as_tiny() -> None:
    rows = rules.against(PARAMS, performance({"bag": (20, 100), "shirt": (60, 100)}), OLD, SAME_DATA)
    assert rows[1].measured == "< 0.0001 (must be ≥ 0.05)"
