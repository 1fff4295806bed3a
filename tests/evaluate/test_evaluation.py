"""Slices: a model that is blind in the dark is found, whatever else it is good at."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import EvaluationError
from pipeline.evaluate import evaluation
from pipeline.scores import slices

LABELS = np.array([1, 0, 1], np.int32)


def test_a_model_blind_in_the_dark_is_found() -> None:
    brightness = np.random.default_rng(1).permutation(np.arange(400.0))
    contrast = np.random.default_rng(2).permutation(np.arange(400.0))
    worst, *others = slices.cut({"pixel_mean": brightness, "contrast": contrast}, brightness >= 100, bins=4)
    assert (str(worst), worst.images, worst.accuracy) == ("pixel_mean 0 – 99", 100, 0.0)
    assert worst.interval.high < 0.04
    assert len(others) == 7
    assert [each.accuracy for each in others] == sorted(each.accuracy for each in others)
    assert {each.accuracy for each in others if each.feature == "pixel_mean"} == {1.0}


def test_equal_values_share_a_slice_and_unknown_ones_have_none() -> None:
    values = np.repeat([0, 0, 0, 0, 5, 6, np.nan, np.nan], 10)
    correct = np.repeat(np.array([1, 1, 1, 0, 0, 0, 0, 0], bool), 10)
    found = slices.cut({"foreground_fraction": values}, correct, bins=2)
    assert found == []  # both parts would begin with 0
    found = slices.cut({"foreground_fraction": np.where(values == 6, np.arange(80), values)}, correct, bins=3)
    assert [(each.low, each.high, each.images, each.accuracy) for each in found] == [(5, 59, 20, 0), (0, 0, 40, 0.75)]


def test_a_feature_of_two_values_has_a_slice_of_each_however_rare_one_is() -> None:
    duplicate = np.repeat([0.0, 1.0], [990, 10])
    found = slices.cut({"near_duplicate_of_train": duplicate}, duplicate == 0, bins=4)
    assert [(str(each), each.images, each.accuracy) for each in found] == [
        ("near_duplicate_of_train 1", 10, 0),
        ("near_duplicate_of_train 0", 990, 1),
    ]


def test_nine_images_are_too_few_for_a_slice() -> None:
    duplicate = np.repeat([0.0, 1.0], [991, 9])
    assert [each.images for each in slices.cut({"near_duplicate_of_train": duplicate}, duplicate == 0, bins=4)] == [991]


@pytest.mark.parametrize("values", [np.full(4, 7.0), np.full(4, np.nan), np.array([])])
def test_a_constant_or_unknown_feature_has_no_slices(values: np.ndarray) -> None:
    assert slices.cut({"foreground_fraction": values}, np.ones(len(values), bool), bins=4) == []


def features(path: Path, **changes: object) -> Path:
    columns = {
        "row": [1, 0, 2, 0],
        "label": [0, 1, 1, 1],
        "split": ["test"] * 3 + ["train"],
        "foreground_fraction": [1.0, 0, 2, 9],
    }
    pd.DataFrame(columns | changes).to_parquet(path / "features.parquet", index=False)
    return path / "features.parquet"


def test_features_come_in_the_order_of_the_test_split(tmp_path: Path) -> None:
    assert evaluation.read_features(features(tmp_path), ["foreground_fraction"], LABELS)["foreground_fraction"].tolist() == [
        0,
        1,
        2,
    ]


def test_features_of_another_split_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="belongs to a different test split: run `dvc repro -s -f validate`"):
        evaluation.read_features(features(tmp_path, label=[1, 1, 1, 1]), ["foreground_fraction"], LABELS)


def test_a_file_that_validate_did_not_write_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="is not what validate writes"):
        evaluation.read_features(features(tmp_path), ["brightness"], LABELS)
    (tmp_path / "features.parquet").write_text("row,label\n")
    with pytest.raises(EvaluationError, match="is not what validate writes"):
        evaluation.read_features(tmp_path / "features.parquet", ["foreground_fraction"], LABELS)
