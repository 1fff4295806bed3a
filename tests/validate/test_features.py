"""Features with values computed by hand, and images made unusual for their class."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from pipeline import features
from pipeline.dataset import SPLITS, Dataset, Description, Split, SplitName
from pipeline.params import ValidateParams
from pipeline.validate import stage
from tests.validate.defects import Splits


def table(data: Dataset) -> pd.DataFrame:
    frame, *_ = stage.examine(data, limit=0.01)
    return frame


def dataset_of(splits: Mapping[SplitName, Split], class_names: tuple[str, ...]) -> Dataset:
    height, width, channels = splits["train"].images.shape[1:]
    counts = {name: len(split) for name, split in splits.items()}
    description = Description("tiny", (height, width, channels), class_names, counts, (), "0" * 64)
    return Dataset(description, splits["train"], splits["validation"], splits["test"])


def three_splits(images: np.ndarray) -> Dataset:
    """Return `images`, uint8 `(n, h, w, c)`, as train; one grey and one white image of the same size as the other splits."""
    rows, one = np.arange(len(images), dtype=np.int32), np.zeros(1, np.int32)
    grey, white = (Split(np.full((1, *images.shape[1:]), level, np.uint8), one, one) for level in (128, 255))
    return dataset_of({"train": Split(images, rows % 2, rows + 100), "validation": grey, "test": white}, ("cat", "dog"))


def test_features_of_an_image_are_exact() -> None:
    images = np.array([[[[0], [255]], [[100], [25]]]], np.uint8)  # mean 95, squares 65025 + 10000 + 625; corners' median 62
    row = table(three_splits(images)).iloc[0]
    assert (row["split"], row["row"], row["source_index"], row["label"], row["class_name"]) == ("train", 0, 100, 0, "cat")
    assert (row["height"], row["width"], row["channels"], row["dtype"]) == (2, 2, 1, "uint8")
    assert (row["pixel_min"], row["pixel_max"], row["pixel_mean"], row["foreground_fraction"]) == (0, 255, 95.0, 1.0)
    assert row["contrast"] == pytest.approx(np.sqrt(75650 / 4 - 95**2), rel=1e-15)


@pytest.mark.parametrize("ground", [0, 90, 255])
def test_foreground_is_what_differs_from_the_corners_on_any_background(ground: int) -> None:
    images = np.full((1, 5, 5, 3), ground, np.uint8)
    images[0, 1:3, 1:4] = (ground, 128, 60)  # 6 of 25 pixels
    images[0, 4, 2] = ground - 1 if ground else 1  # less than a tenth of the range
    assert table(three_splits(images))["foreground_fraction"][0] == 6 / 25


def test_an_image_of_one_level_has_no_contrast_at_all() -> None:
    images = np.full((1, 7, 3, 3), 77, np.uint8)
    assert table(three_splits(images))["contrast"].tolist() == [0.0, 0.0, 0.0]


def test_chunks_do_not_change_the_features(monkeypatch: pytest.MonkeyPatch) -> None:
    data = three_splits(np.random.default_rng(1).integers(0, 256, (11, 40, 50, 3), np.uint8))
    whole = table(data)
    monkeypatch.setattr(features, "_CHUNK_BYTES", 2 * 40 * 50 * 3 + 1)
    assert table(data).equals(whole)


def test_features_have_the_declared_columns_and_types() -> None:
    frame = table(three_splits(np.zeros((2, 2, 2, 1), np.uint8)))
    assert {column: str(dtype) for column, dtype in frame.dtypes.items()} == features.COLUMNS
    assert list(frame.columns) == list(features.COLUMNS)


def test_equal_pixels_have_equal_digests_and_name_the_other_splits() -> None:
    frame = table(three_splits(np.array([128, 128, 7, 255], np.uint8)[:, None, None, None]))
    assert frame["also_in"].fillna("").tolist() == ["validation", "validation", "", "test", "train", "train"]
    assert frame["digest"][0] == frame["digest"][1] == frame["digest"][4]
    assert frame["digest"].nunique() == 3
    assert all(len(digest) == 16 for digest in frame["digest"])


def test_an_image_that_the_training_split_holds_too_is_marked_whether_shifted_or_not() -> None:
    drawn = np.random.default_rng(3).integers(0, 256, (6, 9, 9, 1), np.uint8)
    rows = np.arange(3, dtype=np.int32)
    images = {"train": drawn[:3], "validation": np.concatenate([drawn[3:5], drawn[:1]]), "test": drawn[3:].copy()}
    images["test"][1] = np.roll(drawn[2], 1, axis=0)
    splits: Splits = {name: Split(images[name], np.zeros(3, np.int32), rows) for name in SPLITS}
    assert table(dataset_of(splits, ("cat",)))["near_duplicate_of_train"].fillna(-1).tolist() == [-1, -1, -1, 0, 0, 1, 0, 1, 0]


def test_large_images_are_averaged_down() -> None:
    images = np.arange(64 * 48 * 3, dtype=np.uint16).reshape(1, 64, 48, 3).astype(np.uint8)
    small = features.shrink(images)
    assert small.shape == (1, 32, 24, 3)
    assert small[0, 0, 0, 0] == round(float(images[0, :2, :2, 0].mean()))


def digits(splits: Splits) -> pd.DataFrame:
    data = dataset_of(splits, tuple("0123456789"))
    return features.table(data, np.concatenate([split.images for split in splits.values()]))


def test_inverted_images_are_found_at_their_rows(splits: Splits, limits: ValidateParams) -> None:
    rows = [3, 50, 200]
    splits["train"].images[rows] = 255 - splits["train"].images[rows]
    assert np.flatnonzero(digits(splits)["class_similarity"] < limits.min_class_similarity).tolist() == rows


def test_images_with_a_tenth_of_their_contrast_are_found_at_their_rows(splits: Splits, limits: ValidateParams) -> None:
    rows = [0, 99, 300]
    splits["train"].images[rows] = splits["train"].images[rows] // 10 + 40
    assert np.flatnonzero(digits(splits)["contrast_ratio"] < limits.min_contrast_ratio).tolist() == rows


@pytest.mark.parametrize("level", [0, 128, 255])
def test_images_of_which_half_is_blank_are_found_at_their_rows(splits: Splits, limits: ValidateParams, level: int) -> None:
    splits["train"].images[[11], 4:] = level  # rows
    splits["train"].images[[70], :, :4] = level  # columns
    assert np.flatnonzero(digits(splits)["blank_band_share"] > limits.max_blank_band_share).tolist() == [11, 70]


def test_images_as_they_are_have_no_outliers(splits: Splits, limits: ValidateParams) -> None:
    frame = digits(splits)
    assert not (frame["class_similarity"] < limits.min_class_similarity).any()
    assert not (frame["contrast_ratio"] < limits.min_contrast_ratio).any()
    assert not (frame["blank_band_share"] > limits.max_blank_band_share).any()


def test_a_class_without_a_common_look_is_not_judged_for_inversion(splits: Splits) -> None:
    dice = np.random.default_rng(0)
    for split in splits.values():
        noise = split.labels == 3
        split.images[noise] = dice.integers(0, 256, (noise.sum(), *split.images.shape[1:]), np.uint8)
    frame = digits(splits)
    assert frame["class_similarity"][frame["label"] == 3].isna().all()
    assert frame["class_similarity"][frame["label"] != 3].notna().all()
