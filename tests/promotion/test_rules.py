"""The rows of the gate, by hand-made answers of two versions."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.params import PromoteParams, RegisterParams
from pipeline.promotion import rules, wording
from pipeline.promotion.record import Row
from pipeline.promotion.rules import Cost, Shown

LIMITS = RegisterParams(min_accuracy=0.5, min_class_recall=0.4, max_calibration_error=0.05, min_slice_accuracy=0.3)
PARAMS = PromoteParams(
    significance=0.05, max_calibration_loss=0.01, min_gain=None, max_milliseconds=None, max_megabytes=None, on_promotion=""
)


def shown(right: dict[str, tuple[int, int]], **changes: object) -> Shown:
    """A version that has of each class so many of so many pictures right: the first ones."""
    labels = np.concatenate([np.full(of, label, np.int32) for label, (_, of) in enumerate(right.values())])
    hits = np.concatenate([np.arange(of) < some for some, of in right.values()])
    recalls = {name: some / of if of else float("nan") for name, (some, of) in right.items()}
    made = Shown(
        name="version 1",
        labels=labels,
        right=hits,
        class_names=tuple(right),
        recalls=recalls,
        calibration_error=0.02,
        slices={"dark": 0.6},
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def verdicts(rows: list[Row]) -> dict[str, str]:
    return {row.rule: row.verdict for row in rows}


OLD = shown({"bag": (80, 100), "shirt": (60, 100)})


def test_the_limits_of_register_are_asked_again_and_name_what_failed() -> None:
    kept = rules.limits(LIMITS, OLD)
    assert verdicts(kept) == dict.fromkeys(
        ("accuracy", "lowest class recall", "calibration error", "lowest slice accuracy"), "passed"
    )
    broken = rules.limits(LIMITS.model_copy(update={"min_class_recall": 0.61}), OLD)
    assert [(row.rule, row.value, row.limit, row.detail) for row in broken if row.verdict == "failed"] == [
        ("lowest class recall", 0.6, 0.61, "shirt")
    ]


def test_a_class_without_pictures_fails_and_its_recall_is_no_number() -> None:
    row = rules.limits(LIMITS, shown({"bag": (8, 10), "shirt": (0, 0)}))[1]
    assert (row.verdict, row.value, row.detail) == ("failed", None, "shirt")


def test_slices_of_other_data_are_said_to_be_nothing_to_compare() -> None:
    assert verdicts(rules.limits(LIMITS, replace(OLD, slices={})))["lowest slice accuracy"] == "nothing to compare"


def test_equal_answers_are_as_good() -> None:
    rows = rules.against(PARAMS, OLD, OLD)
    assert [row.verdict for row in rows] == ["passed", "passed", "passed", "no rule"]
    assert [row.value for row in rows] == [1.0, 1.0, 0.0, 0.0]


def test_a_few_more_wrong_are_luck_and_many_are_not() -> None:
    """Of 4 pictures lost and none won p is 1/16, of 5 it is 1/32."""
    luck, worse = (rules.against(PARAMS, shown({"bag": (80 - n, 100), "shirt": (60, 100)}), OLD)[0] for n in (4, 5))
    assert (luck.verdict, worse.verdict) == ("passed", "failed")
    assert [luck.value, worse.value] == pytest.approx([1 / 16, 1 / 32])
    assert "accuracy 0.6750 against 0.7000 of version 1; 0 newly right, 5 newly wrong" in worse.detail


def test_a_class_that_got_worse_stops_a_version_that_is_better_overall() -> None:
    """Six lost of two classes: p = 2/64 after Holm."""
    rows = rules.against(PARAMS, shown({"bag": (74, 100), "shirt": (90, 100)}), OLD)
    assert [row.verdict for row in rows[:2]] == ["passed", "failed"]
    assert rows[1].value == pytest.approx(2 / 64)
    assert rows[1].detail.startswith("bag: recall 0.7400 against 0.8000; 0 newly right, 6 newly wrong")


def test_holm_makes_room_for_one_unlucky_class_of_many() -> None:
    """Six lost would be p = 1/64 for one class alone; of ten classes it is luck."""
    many = {str(n): (50, 100) for n in range(10)}
    rows = rules.against(PARAMS, shown({**many, "3": (44, 100), "4": (60, 100)}), shown(many))
    assert rows[1].verdict == "passed"
    assert rows[1].value == pytest.approx(10 / 64)


@pytest.mark.parametrize(("error", "verdict"), [(0.0299, "passed"), (0.031, "failed"), (0.001, "passed")])
def test_calibration_may_lose_its_margin(error: float, verdict: str) -> None:
    row = rules.against(PARAMS, replace(OLD, calibration_error=error), OLD)[2]
    assert row.verdict == verdict
    assert row.value == pytest.approx(error - 0.02)


@pytest.mark.parametrize(("right", "verdict"), [(61, "failed"), (62, "passed")])
def test_a_minimum_gain_is_asked_where_one_is_set(right: int, verdict: str) -> None:
    params = PARAMS.model_copy(update={"min_gain": 0.01})
    row = rules.against(params, shown({"bag": (80, 100), "shirt": (right, 100)}), OLD)[3]
    assert (row.verdict, row.limit) == (verdict, 0.01)


def test_with_nothing_in_production_every_comparison_says_so() -> None:
    rows = rules.against(PARAMS.model_copy(update={"min_gain": 0.01}), OLD, None)
    assert {(row.verdict, row.detail) for row in rows} == {("nothing to compare", "nothing is in production")}
    assert len(rows) == 4


def test_time_and_size_have_limits_where_they_are_set() -> None:
    cost = Cost(milliseconds=2.0, bytes=3_000_000)
    free = rules.costs(PARAMS, cost)
    assert [(row.verdict, row.value, row.detail) for row in free] == [
        ("no rule", 2.0, "promote.max_milliseconds is null"),
        ("no rule", 3.0, "promote.max_megabytes is null"),
    ]
    tight = PARAMS.model_copy(update={"max_milliseconds": 1.9, "max_megabytes": 3.0})
    assert [row.verdict for row in rules.costs(tight, cost)] == ["failed", "passed"]


def test_a_tiny_p_is_said_to_be_tiny() -> None:
    rows = rules.against(PARAMS, shown({"bag": (20, 100), "shirt": (60, 100)}), OLD)
    assert wording.said(rows[0]) == "< 0.0001 (must be ≥ 0.05)"
