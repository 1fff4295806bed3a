"""Outliers and label suspects: real pictures spoiled, found at their rows, and the others left alone."""

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from pipeline.dataset import Dataset, Description, Split, SplitName
from pipeline.params import ValidateParams
from pipeline.validate import label_issues, outliers
from tests.validate.defects import Splits

Pictures = NDArray[np.uint8]
Labels = NDArray[np.int32]
NAMES = tuple("0123456789")


def described(splits: Mapping[SplitName, Split]) -> Dataset:
    height, width, channels = splits["train"].images.shape[1:]
    counts = {name: len(split) for name, split in splits.items()}
    description = Description("pictures", (height, width, channels), NAMES, counts, (), "0" * 64)
    return Dataset(description, splits["train"], splits["validation"], splits["test"])


def frame_of(data: Dataset) -> pd.DataFrame:
    """The columns of the features that outliers and suspects ask for."""
    splits = data.splits().values()
    contrast = np.concatenate([split.images.std(axis=(1, 2, 3)) for split in splits])
    return pd.DataFrame({"label": np.concatenate([split.labels for split in splits]), "contrast": contrast})


def outlying(splits: Splits) -> "dict[str, pd.Series[float]]":
    data = described(splits)
    return outliers.columns(data, frame_of(data))


def test_inverted_pictures_are_found_at_their_rows(splits: Splits, limits: ValidateParams) -> None:
    rows = [3, 50, 200]
    splits["train"].images[rows] = 255 - splits["train"].images[rows]
    class_similarity = outlying(splits)["class_similarity"]
    assert np.flatnonzero(class_similarity < limits.min_class_similarity).tolist() == rows


def test_pictures_with_a_tenth_of_their_contrast_are_found_at_their_rows(splits: Splits, limits: ValidateParams) -> None:
    rows = [0, 99, 300]
    splits["train"].images[rows] = splits["train"].images[rows] // 10 + 40
    ratio = outlying(splits)["contrast_ratio"]
    assert np.flatnonzero(ratio < limits.min_contrast_ratio).tolist() == rows


@pytest.mark.parametrize("level", [0, 128, 255])
def test_pictures_of_which_half_is_lost_are_found_at_their_rows(splits: Splits, limits: ValidateParams, level: int) -> None:
    splits["train"].images[[11], 4:] = level  # rows
    splits["train"].images[[70], :, :4] = level  # columns
    excess = outlying(splits)["blank_band_share"]
    assert np.flatnonzero(excess > limits.max_blank_band_share).tolist() == [11, 70]


def test_pictures_as_they_are_have_no_outliers(splits: Splits, limits: ValidateParams) -> None:
    found = outlying(splits)
    assert not (found["class_similarity"] < limits.min_class_similarity).any()
    assert not (found["contrast_ratio"] < limits.min_contrast_ratio).any()
    assert not (found["blank_band_share"] > limits.max_blank_band_share).any()


def test_a_class_without_a_common_look_is_not_judged_for_inversion(splits: Splits) -> None:
    dice = np.random.default_rng(0)
    for split in splits.values():
        noise = split.labels == 3
        split.images[noise] = dice.integers(0, 256, (noise.sum(), *split.images.shape[1:]), np.uint8)
    class_similarity, labels = outlying(splits)["class_similarity"], frame_of(described(splits))["label"]
    assert class_similarity[labels == 3].isna().all()
    assert class_similarity[labels != 3].notna().all()


def swapped(labels: Labels, seed: int) -> tuple[Labels, NDArray[np.int64]]:
    """The labels with one in a hundred changed to any other class, and the rows that were."""
    dice = np.random.default_rng(seed)
    rows = dice.choice(len(labels), len(labels) // 100, replace=False)
    changed = labels.copy()
    changed[rows] = (changed[rows] + dice.integers(1, 10, len(rows))) % 10
    return changed, rows


def suspected(images: Pictures, labels: Labels) -> Any:
    tenth, index = len(images) // 10, np.arange(len(images), dtype=np.int32)
    parts: dict[SplitName, slice] = {
        "train": slice(0, -2 * tenth),
        "validation": slice(-2 * tenth, -tenth),
        "test": slice(-tenth, None),
    }
    data = described({name: Split(images[part], labels[part], index[part]) for name, part in parts.items()})
    return label_issues.columns(data, frame_of(data))["suggested"]


@pytest.fixture(scope="module")
def clothes(fashion_mirror: Path) -> tuple[Pictures, Labels]:
    """The first 2,000 training pictures of Fashion-MNIST."""

    def read(name: str, offset: int) -> Pictures:
        with gzip.open(fashion_mirror / "fashion-mnist" / f"{name}.gz") as file:
            return np.frombuffer(file.read(offset + 2_000 * (784 if offset == 16 else 1)), np.uint8, offset=offset)

    images = read("train-images-idx3-ubyte", 16).reshape(-1, 28, 28, 1)
    return images, read("train-labels-idx1-ubyte", 8).astype(np.int32)


def digits(good_splits: Mapping[SplitName, Split]) -> tuple[Pictures, Labels]:
    splits = good_splits.values()
    return np.concatenate([split.images for split in splits]), np.concatenate([split.labels for split in splits])


@pytest.mark.parametrize("seed", [0, 1])
def test_most_swapped_labels_of_digits_are_found_and_few_others(good_splits: Mapping[SplitName, Split], seed: int) -> None:
    images, labels = digits(good_splits)
    wrong, rows = swapped(labels, seed)
    suggested = suspected(images, wrong)
    found = np.flatnonzero(suggested.notna())
    hits = np.intersect1d(found, rows)
    assert len(hits) >= 0.75 * len(rows)  # measured: 0.82 and 0.88
    assert len(hits) >= 0.9 * len(found)  # measured: 1 and 1
    assert (suggested.iloc[hits].astype(int).to_numpy() == labels[hits]).mean() > 0.9
    assert suspected(images, wrong).equals(suggested)


@pytest.mark.parametrize("seed", [0, 1])
def test_half_of_the_swapped_labels_of_clothes_are_found(clothes: tuple[Pictures, Labels], seed: int) -> None:
    images, labels = clothes
    wrong, rows = swapped(labels, seed)
    found = np.flatnonzero(suspected(images, wrong).notna())
    hits = np.intersect1d(found, rows)
    assert len(hits) >= 0.5 * len(rows)  # measured: 0.70 and 0.55
    assert len(hits) >= 0.2 * len(found)  # 0.26 and 0.22; of the others some are wrong in Fashion-MNIST itself


def test_of_too_few_pictures_nothing_is_said(good_splits: Mapping[SplitName, Split]) -> None:
    images, labels = digits(good_splits)
    few = label_issues.MIN_PICTURES - 1
    wrong, _ = swapped(labels[:few], 0)
    assert suspected(images[:few], wrong).isna().all()
