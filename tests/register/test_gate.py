import math
from dataclasses import replace

import numpy as np
import pytest

from pipeline.baseline import Baseline
from pipeline.params import RegisterParams
from pipeline.register.gate import UNSEEN, Performance, Rule, judge

PARAMS = RegisterParams(
    baseline_significance=0.05, min_accuracy=0.9, min_class_recall=0.6, max_calibration_error=0.05, min_slice_accuracy=0.5
)
NULL = RegisterParams(
    baseline_significance=None, min_accuracy=None, min_class_recall=None, max_calibration_error=None, min_slice_accuracy=None
)
BASELINE = ("better than the baseline (p)", "not worse than the baseline (p)", "accuracy below the baseline")
MAJORITY = "better than the majority class (p)"


def performance(correct: int, of: int, **changes: object) -> Performance:
    """A model that predicts the first images of three classes, 40 % of them shirts, correctly."""
    labels = np.array([0, 0, 1, 1, 2] * (of // 5 + 1), np.int32)[:of]
    found = {
        "labels": labels,
        "correct": np.arange(of) < correct,
        "recalls": {"shirt": 0.9, "coat": 0.9, "bag": 0.9},
        "calibration_error": 0.01,
        "slices": {"dark": 0.5, "light": 0.9},
        "baseline": None,
        "seen": 0,
    }
    return Performance(**(found | changes))  # type: ignore[arg-type]


def against(both: int, model: int, baseline: int, neither: int, params: RegisterParams = PARAMS) -> dict[str, Rule]:
    """Return the rules of the baseline: so many images are predicted correctly by both, by one of the two, and by neither."""
    of = both + model + baseline + neither
    found = performance(both + model, of)
    right = np.repeat([True, False, True, False], [both, model, baseline, neither])
    predicted = np.where(right, found.labels, (found.labels + 1) % 3).astype(np.int32)
    simple = Baseline(name="ridge", labels=found.labels, predicted=predicted)
    rules = judge(params, performance(both + model, of, baseline=simple))
    return {rule.name: rule for rule in rules if rule.name in BASELINE}


def verdicts(rules: tuple[Rule, ...]) -> dict[str, bool]:
    return {rule.name: rule.passed for rule in rules}


def failed(model: Performance, params: RegisterParams = PARAMS) -> list[str]:
    return [rule.name for rule in judge(params, model) if not rule.passed]


def test_a_model_at_its_limits_passes() -> None:
    recalls = {"shirt": 0.6, "coat": 0.9, "bag": 0.9}
    assert failed(performance(90, 100, recalls=recalls, calibration_error=0.05)) == []


def test_each_rule_fails_alone() -> None:
    assert failed(performance(89, 100)) == ["accuracy"]
    assert failed(performance(90, 100, recalls={"shirt": 0.5999, "coat": 0.9, "bag": 1.0})) == ["lowest class recall"]
    assert failed(performance(90, 100, calibration_error=0.0501)) == ["calibration error"]
    assert failed(performance(90, 100, slices={"light": 0.9, "dark": 0.4999})) == ["lowest slice accuracy"]


@pytest.mark.parametrize(
    ("seen", "detail"),
    [
        (3, "3 of the 100 test images were used to train it, or a version that it started from: judge it on the data "),
        (None, "its files hold no training_images.npy, so it is not known on which images it was trained"),
    ],
)
def test_a_model_that_knows_test_images_or_does_not_say_is_refused(seen: int | None, detail: str) -> None:
    (rule,) = [rule for rule in judge(NULL, performance(100, 100, seen=seen)) if not rule.passed]
    assert (rule.name, rule.limit) == (UNSEEN, 0)
    assert rule.detail.startswith(detail)


def test_a_rule_says_value_limit_and_class() -> None:
    rules = judge(
        PARAMS, performance(95, 100, recalls={"shirt": 0.51, "coat": 0.9, "bag": 0.9}, slices={"light": 0.9, "dark": 0.4})
    )
    texts = [str(rule) for rule in rules if not rule.passed]
    assert texts == ["lowest class recall 0.5100 < 0.6 (shirt)", "lowest slice accuracy 0.4000 < 0.5 (dark)"]


def test_what_is_no_number_fails() -> None:
    unknown = performance(95, 100, recalls={"shirt": 0.9, "coat": 0.9, "bag": math.nan}, calibration_error=math.nan)
    assert failed(unknown) == ["lowest class recall", "calibration error"]
    assert next(rule.detail for rule in judge(PARAMS, unknown) if rule.name == "lowest class recall") == "bag"


def test_without_a_limit_a_value_is_shown_and_stops_nothing() -> None:
    poor = performance(60, 100, recalls={"shirt": 0.0, "coat": math.nan, "bag": 0.1}, calibration_error=0.9)
    rules = judge(NULL, poor)
    assert {rule.name: rule.verdict for rule in rules} == {
        **dict.fromkeys(("accuracy", "lowest class recall", "calibration error", "lowest slice accuracy"), "no rule"),
        UNSEEN: "passed",
        MAJORITY: "passed",
    }
    assert str(rules[1]) == "accuracy 0.6000 (register.min_accuracy is null)"


def test_a_model_that_corrects_many_mistakes_of_the_baseline_is_better() -> None:
    """Of 20 images on which the two differ the model is correct on 15: P(15 or more heads) = 21,700 / 2^20."""
    (rule,) = against(70, 15, 5, 10).values()
    assert (rule.name, rule.passed, rule.limit) == ("better than the baseline (p)", True, 0.05)
    assert rule.value == pytest.approx(21_700 / 2**20)
    assert rule.detail == (
        "accuracy 0.8500 vs. 0.7500 of ridge; of 100 test images 15 are correct with the model only, 5 with the baseline only"
    )


def test_a_gain_that_may_be_chance_is_refused_with_the_number_of_images_that_would_show_it() -> None:
    """P(6 or more heads of 9) = 130 / 512; P(19 or more of 28) = 0.044, with 3.14 times the images."""
    (rule,) = against(70, 6, 3, 21).values()
    assert not rule.passed
    assert rule.value == pytest.approx(130 / 512)
    assert rule.detail.endswith("; a gain of this size shows on about 314 test images")


def test_a_model_as_good_as_the_baseline_is_refused_where_a_better_one_would_show() -> None:
    (rule,) = against(80, 4, 4, 12).values()  # 16 mistakes: 12 corrected and 4 new ones are p = 0.038
    assert (rule.name, rule.passed) == ("better than the baseline (p)", False)
    assert "shows on about" not in rule.detail


@pytest.mark.parametrize(
    ("counts", "names"),
    [
        ((339, 2, 4, 15), []),  # 17 mistakes are enough for the test
        ((354, 2, 3, 1), []),  # 3 mistakes, and one image fewer: 0.3 points
        ((350, 0, 3, 7), []),  # 0.8 points fewer: P(3 heads of 3) = 0.125
        ((350, 0, 4, 6), ["accuracy below the baseline"]),  # 1.1 points; P(4 of 4) = 0.0625
        ((1980, 1, 7, 12), ["not worse than the baseline (p)"]),  # 0.3 points; P(7 or 8 heads of 8) = 9 / 256
        ((30, 0, 1, 5), []),  # one image of 36
        ((28, 0, 2, 6), ["accuracy below the baseline"]),
    ],
)
def test_where_the_baseline_leaves_nothing_to_show_the_model_must_not_be_worse(
    counts: tuple[int, int, int, int], names: list[str]
) -> None:
    rules = against(*counts)
    if sum(counts[1::2]) >= 16:
        assert list(rules) == ["better than the baseline (p)"]
        return
    assert list(rules) == ["not worse than the baseline (p)", "accuracy below the baseline"]
    assert [name for name, rule in rules.items() if not rule.passed] == names
    assert (
        f"the {sum(counts[1::2])} mistakes of the baseline are too few to show"
        in rules["not worse than the baseline (p)"].detail
    )


def test_few_mistakes_that_are_all_corrected_show_a_better_model() -> None:
    assert list(against(90, 5, 0, 0)) == ["better than the baseline (p)"]  # P(5 heads of 5) = 1 / 32


def test_the_level_is_a_param_and_null_only_shows() -> None:
    strict = PARAMS.model_copy(update={"baseline_significance": 0.01})
    assert not against(70, 15, 5, 20, strict)["better than the baseline (p)"].passed  # p = 0.0207
    (shown,) = against(70, 0, 20, 10, NULL).values()
    assert (shown.verdict, shown.value) == ("no rule", 1.0)
    assert shown.detail.endswith("; register.baseline_significance is null")


@pytest.mark.parametrize(
    ("correct", "of", "passed"),
    [
        (40, 100, False),  # as many as always predicting shirt
        (48, 100, False),
        (60, 100, True),
        (5, 5, False),  # P(3 heads of 3) = 1/8: five images show nothing
        (10, 10, True),  # P(6 of 6) = 1/64
    ],
)
def test_a_model_at_chance_is_refused_whatever_the_params(correct: int, of: int, passed: bool) -> None:
    for params in (NULL, PARAMS):
        rule = next(rule for rule in judge(params, performance(correct, of)) if rule.name == MAJORITY)
        assert rule.passed == passed
        assert rule.detail.startswith(f"accuracy {correct / of:.4f} vs. 0.4000 of always predicting shirt")


def test_a_model_that_always_predicts_the_largest_class_is_refused() -> None:
    labels = np.array([1] * 95 + [0] * 5, np.int32)
    constant = replace(performance(0, 100), labels=labels, correct=labels == 1)
    assert failed(constant, NULL) == [MAJORITY]
