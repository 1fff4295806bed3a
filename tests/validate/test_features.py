import numpy as np
import pandas as pd
import pytest

from pipeline.dataset import SPLITS, Dataset, Description, Split, SplitName
from pipeline.validate import features, near_duplicates


def table(data: Dataset) -> pd.DataFrame:
    return features.marked(features.table(data), near_duplicates.pairs(data, limit=0.01))


def three_splits(images: np.ndarray) -> Dataset:
    """`images`, uint8 `(n, h, w, c)`, as train; one grey and one white picture of the same size as the other splits."""
    rows = np.arange(len(images), dtype=np.int32)
    shape = images.shape[1:]
    counts: dict[SplitName, int] = {"train": len(images), "validation": 1, "test": 1}
    description = Description("tiny", (shape[0], shape[1], shape[2]), ("cat", "dog"), counts, (), "0" * 64)
    one = np.zeros(1, np.int32)
    grey, white = (Split(np.full((1, *shape), level, np.uint8), one, one) for level in (128, 255))
    return Dataset(description, Split(images, rows % 2, rows + 100), grey, white)


def test_figures_of_a_picture_are_exact() -> None:
    images = np.array([[[[0], [255]], [[100], [25]]]], np.uint8)  # mean 95, squares 65025 + 10000 + 625
    row = table(three_splits(images)).iloc[0]
    assert (row["split"], row["row"], row["source_index"], row["label"], row["class_name"]) == ("train", 0, 100, 0, "cat")
    assert (row["height"], row["width"], row["channels"], row["dtype"]) == (2, 2, 1, "uint8")
    assert (row["pixel_min"], row["pixel_max"], row["pixel_mean"], row["foreground_fraction"]) == (0, 255, 95.0, 0.5)
    assert row["contrast"] == pytest.approx(np.sqrt(75650 / 4 - 95**2), rel=1e-15)


def test_a_picture_of_one_level_has_no_contrast_at_all() -> None:
    images = np.full((1, 7, 3, 3), 77, np.uint8)
    assert table(three_splits(images))["contrast"].tolist() == [0.0, 0.0, 0.0]


def test_chunks_do_not_change_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    data = three_splits(np.random.default_rng(1).integers(0, 256, (11, 4, 5, 3), np.uint8))
    whole = table(data)
    monkeypatch.setattr(features, "_CHUNK_BYTES", 2 * 4 * 5 * 3 + 1)
    assert table(data).equals(whole)


def test_the_table_has_the_declared_columns_and_types() -> None:
    frame = table(three_splits(np.zeros((2, 2, 2, 1), np.uint8)))
    assert {column: str(dtype) for column, dtype in frame.dtypes.items()} == features.COLUMNS


def test_equal_pixels_have_equal_digests_and_name_the_other_splits() -> None:
    frame = table(three_splits(np.array([128, 128, 7, 255], np.uint8)[:, None, None, None]))
    assert frame["also_in"].fillna("").tolist() == ["validation", "validation", "", "test", "train", "train"]
    assert frame["digest"][0] == frame["digest"][1] == frame["digest"][4]
    assert frame["digest"].nunique() == 3
    assert all(len(digest) == 16 for digest in frame["digest"])


def test_a_picture_that_training_holds_too_is_marked_whether_moved_or_not() -> None:
    drawn = np.random.default_rng(3).integers(0, 256, (6, 9, 9, 1), np.uint8)
    rows = np.arange(3, dtype=np.int32)
    moved = np.roll(drawn[:3], 1, axis=1)
    splits = {"train": drawn[:3], "validation": np.concatenate([drawn[3:5], drawn[:1]]), "test": drawn[3:].copy()}
    splits["test"][1] = moved[2]
    description = Description("tiny", (9, 9, 1), ("cat",), dict.fromkeys(SPLITS, 3), (), "0" * 64)
    parts = {name: Split(images, np.zeros(3, np.int32), rows) for name, images in splits.items()}
    frame = table(Dataset(description, parts["train"], parts["validation"], parts["test"]))
    assert frame["near_duplicate_of_train"].fillna(-1).tolist() == [-1, -1, -1, 0, 0, 1, 0, 1, 0]
