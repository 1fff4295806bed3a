import math

from pipeline.params import RegisterParams
from pipeline.register.gate import judge

PARAMS = RegisterParams(min_accuracy=0.9, min_class_recall=0.6, max_calibration_error=0.05, min_slice_accuracy=0.5)


def verdicts(accuracy: float, recalls: dict[str, float], error: float) -> list[bool]:
    return [rule.passed for rule in judge(PARAMS, accuracy, recalls, error, {"dark": 0.5, "light": 0.9})]


def test_a_model_at_its_limits_passes() -> None:
    assert verdicts(0.9, {"shirt": 0.6, "bag": 0.9}, 0.05) == [True, True, True, True]


def test_each_rule_fails_alone() -> None:
    assert verdicts(0.8999, {"shirt": 0.6}, 0.05) == [False, True, True, True]
    assert verdicts(0.9, {"shirt": 0.5999, "bag": 1.0}, 0.05) == [True, False, True, True]
    assert verdicts(0.9, {"shirt": 0.6}, 0.0501) == [True, True, False, True]


def test_a_rule_says_value_limit_and_class() -> None:
    _, recall, _ = judge(PARAMS, 0.95, {"bag": 0.9, "shirt": 0.51}, 0.01, {})
    assert str(recall) == "lowest class recall 0.5100 < 0.6 (shirt)"


def test_the_weakest_slice_counts() -> None:
    *_, dark = judge(PARAMS, 0.95, {"bag": 0.9}, 0.01, {"light": 0.9, "dark": 0.4})
    assert str(dark) == "lowest slice accuracy 0.4000 < 0.5 (dark)"


def test_what_is_no_number_fails() -> None:
    assert verdicts(math.nan, {"shirt": 0.9, "never seen": math.nan}, math.nan) == [False, False, False, True]
    _, recall, _ = judge(PARAMS, 0.95, {"shirt": 0.9, "never seen": math.nan}, 0.01, {})
    assert recall.detail == "never seen"
