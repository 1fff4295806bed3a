"""Drift by numbers worked out on paper, and what chance does to small splits."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from pipeline.validate import drift, profile
from pipeline.validate.profile import Bins, Profile

CLASSES = ("cat", "dog")


def pictures(split: str, cats: int, dogs: int, means: NDArray[np.float64] | None = None) -> pd.DataFrame:
    count = cats + dogs
    figure = np.arange(count, dtype=float) if means is None else means
    columns = {"pixel_mean": figure, "contrast": figure, "fill": figure}
    return pd.DataFrame({"split": split, "class_name": ["cat"] * cats + ["dog"] * dogs, **columns})


def of(*splits: pd.DataFrame) -> Any:
    return drift.drifts(pd.concat(splits, ignore_index=True), CLASSES).set_index("column")


def test_psi_and_chance_of_class_shares_are_those_worked_out_by_hand() -> None:
    # p = 300.5 / 1001 and 700.5 / 1001, q = 0.5: -0.1998 · ln 0.6004 + 0.1998 · ln 1.3996; χ²(1) at 0.001 is 10.828
    row = of(pictures("train", 500, 500), pictures("test", 300, 700)).loc["class shares, test against train"]
    assert row["psi"] == pytest.approx(0.169100, abs=2e-6)
    assert row["chance"] == pytest.approx(10.8276 * (1 / 1000 + 1 / 1000), abs=1e-5)
    assert row["class_drift"] == pytest.approx(0.169100 - 0.021655, abs=1e-5)
    assert np.isnan(row["feature_drift"])


def test_the_same_shares_in_a_tenth_of_the_pictures_are_no_more_than_chance() -> None:
    row = of(pictures("train", 50, 50), pictures("test", 30, 70)).loc["class shares, test against train"]
    assert row["psi"] == pytest.approx(0.165918, abs=2e-6)
    assert row["chance"] == pytest.approx(0.216551, abs=1e-5)
    assert row["class_drift"] == 0


def test_psi_of_a_figure_is_taken_in_the_deciles_of_train() -> None:
    # All 1,000 of test lie in the uppermost tenth of train; half a picture more in each of the ten bins makes 1,005.
    test = pictures("test", 500, 500, np.full(1000, 999.0))
    row = of(pictures("train", 500, 500), test).loc["pixel_mean, test against train"]
    one, ten = 0.5 / 1005, 1000.5 / 1005
    assert row["psi"] == pytest.approx(9 * (one - 0.1) * np.log(one / 0.1) + (ten - 0.1) * np.log(ten / 0.1), abs=1e-6)
    assert row["feature_drift"] > 6


def test_what_is_missing_has_no_drift_rather_than_none() -> None:
    rows = of(pictures("train", 50, 50), pictures("test", 50, 50))
    assert rows.loc["pixel_mean, test against train", "feature_drift"] == 0
    assert rows.filter(like="validation", axis=0)[["feature_drift", "class_drift"]].isna().all(axis=None)


@pytest.mark.parametrize("count", [20, 60, 300])
def test_small_splits_of_one_population_raise_no_alarm(count: int) -> None:
    alarms = 0
    for seed in range(100):
        dice = np.random.default_rng(seed)
        train, test = (
            pictures(split, n // 2, n - n // 2, dice.normal(100, 20, n)) for split, n in (("train", 3 * count), ("test", count))
        )
        alarms += int(of(train, test).loc["pixel_mean, test against train", "feature_drift"] > 0)
    assert alarms <= 2  # 0.1 expected


@pytest.mark.parametrize("count", [300, 1000])
def test_a_shift_by_a_standard_deviation_is_found(count: int) -> None:
    dice = np.random.default_rng(0)
    train = pictures("train", count, count, dice.normal(100, 20, 2 * count))
    test = pictures("test", count, 0, dice.normal(120, 20, count))
    assert of(train, test).loc["contrast, test against train", "feature_drift"] > 0.25


def test_a_figure_that_is_the_same_in_every_picture_is_compared_all_the_same() -> None:
    flat = pictures("train", 500, 500, np.full(1000, 7.0))
    same, other = (pictures("test", 500, 500, np.full(1000, level)) for level in (7.0, 8.0))
    assert of(flat, same).loc["fill, test against train", "feature_drift"] == 0
    assert of(flat, other).loc["fill, test against train", "feature_drift"] > 1


def test_train_is_compared_with_production_by_the_counts_in_its_profile() -> None:
    bins = Bins((499.5,), (500, 500))  # 1,000 pictures, numbered, as train: the same halves
    reference = Profile({"pixel_mean": bins, "a figure of later code": bins}, {"cat": 300, "dog": 700})
    rows: Any = drift.since(reference, pictures("train", 500, 500), CLASSES).set_index("column")
    assert list(rows.index) == ["pixel_mean, train against production", "class shares, train against production"]
    assert rows["feature_drift"].iloc[0] == 0
    assert rows["class_drift"].iloc[1] == pytest.approx(0.14744, abs=1e-5)


def test_classes_new_and_gone_are_named_and_left_out_of_the_shares() -> None:
    train = pictures("train", 500, 500)
    reference = profile.of(train.assign(class_name=train["class_name"].replace("dog", "eel")), ("cat", "eel", "none"))
    changes: Any = drift.class_changes(reference, train, CLASSES).set_index("class_name")["change"]
    assert list(changes.index) == ["cat", "dog", "eel"]
    assert changes.isna().tolist() == [True, False, False]
    assert changes["dog"].startswith("new")
    assert changes["eel"].startswith("gone")
    assert drift.since(reference, train, CLASSES)["class_drift"].iloc[-1] == 0
