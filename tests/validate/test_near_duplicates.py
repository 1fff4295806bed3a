"""Near copies of real pictures are found, whatever was done to them, and pictures that only look alike are not."""

import io
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.dataset import Dataset, Description, Split, SplitName
from pipeline.validate import near_duplicates

Pictures = NDArray[np.uint8]
LIMIT = 0.007


def shifted(pictures: Pictures, down: int, right: int) -> Pictures:
    """What leaves the picture is lost, what enters is black."""
    padded = np.pad(pictures, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = pictures.shape[1:3]
    return padded[:, 1 - down : 1 - down + height, 1 - right : 1 - right + width]


def compressed(pictures: Pictures) -> Pictures:
    return np.stack([_jpeg(picture[..., 0]) for picture in pictures])[..., None]


def _jpeg(picture: Pictures) -> Pictures:
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "jpeg", quality=85)
    return np.asarray(Image.open(content))


@pytest.fixture(scope="module")
def large(good_splits: Mapping[SplitName, Split]) -> dict[SplitName, Split]:
    """The digits at 28 pixels, in which no two are near copies."""

    def enlarged(split: Split) -> Split:
        pictures = [Image.fromarray(image[..., 0]).resize((28, 28), Image.Resampling.BILINEAR) for image in split.images]
        return Split(np.stack([np.asarray(picture) for picture in pictures])[..., None], split.labels, split.source_index)

    return {name: enlarged(split) for name, split in good_splits.items()}


def found(splits: Mapping[SplitName, Split]) -> set[tuple[str, int, str, int]]:
    shape = splits["train"].images.shape[1:]
    counts = {name: len(split) for name, split in splits.items()}
    description = Description("digits", (shape[0], shape[1], shape[2]), tuple("0123456789"), counts, (), "0" * 64)
    pairs = near_duplicates.pairs(Dataset(description, splits["train"], splits["validation"], splits["test"]), LIMIT)
    columns = (pairs[name] for name in ("split", "row", "other_split", "other_row"))
    return set(zip(*columns, strict=True))


def test_different_pictures_are_no_near_copies(large: dict[SplitName, Split]) -> None:
    assert found(large) == set()


@pytest.mark.parametrize(
    "change",
    [
        lambda pictures: shifted(pictures, 1, 0),
        lambda pictures: shifted(pictures, -1, 1),
        lambda pictures: np.minimum(pictures * 1.1, 255).astype(np.uint8),
        lambda pictures: np.minimum(pictures + 15.0, 255).astype(np.uint8),
        compressed,
        lambda pictures: compressed(shifted(pictures, 0, -1)),
    ],
    ids=["down", "up and right", "brighter by a tenth", "brighter by 15", "jpeg 85", "left and jpeg 85"],
)
def test_copies_across_splits_are_found(large: dict[SplitName, Split], change: Callable[[Pictures], Pictures]) -> None:
    test, count = large["test"], 200
    images = np.concatenate([change(large["train"].images[:count]), test.images[count:]])
    pairs = found({**large, "test": Split(images, test.labels, test.source_index)})
    planted = {("test", row, "train", row) for row in range(count)}
    assert len(planted & pairs) >= 0.99 * count
    assert {split for split, *_ in pairs - planted} <= {"test"}
    assert len(pairs - planted) <= 2


def test_points_of_a_shift_are_those_of_the_shifted_picture(large: dict[SplitName, Split]) -> None:
    images = np.concatenate([large["test"].images[:50], np.full((1, 28, 28, 1), 250, np.uint8)])
    images[-1, ::2] += 3  # almost blank, and so bright that its squares are large
    directions = np.linalg.qr(np.random.default_rng(0).standard_normal((26 * 26, 5)))[0].astype(np.float32)
    points = near_duplicates._points(images, directions - directions.mean(axis=0))
    for shift in ((0, 0), (1, -1), (0, 1)):
        expected = near_duplicates._inner(images, shift) @ (directions - directions.mean(axis=0))
        assert points[shift] == pytest.approx(expected, abs=1e-5)
        assert not points[shift][-1].any()


def test_pictures_of_a_few_pixels_are_compared_too(large: dict[SplitName, Split]) -> None:
    tiny = {
        name: Split(near_duplicates.small(split.images, 4), split.labels, split.source_index) for name, split in large.items()
    }
    images = np.concatenate([tiny["train"].images[:1], tiny["test"].images[1:]])
    tiny["test"] = Split(images, tiny["test"].labels, tiny["test"].source_index)
    assert ("test", 0, "train", 0) in found(tiny)


def test_blank_pictures_are_copies_of_nothing(large: dict[SplitName, Split]) -> None:
    test = large["test"]
    assert found({**large, "test": Split(np.full_like(test.images, 7), test.labels, test.source_index)}) == set()


def test_large_pictures_are_averaged_down() -> None:
    pictures = np.arange(64 * 48 * 3, dtype=np.uint16).reshape(1, 64, 48, 3).astype(np.uint8)
    reduced = near_duplicates.small(pictures)
    assert reduced.shape == (1, 32, 24, 3)
    assert reduced[0, 0, 0, 0] == round(float(pictures[0, :2, :2, 0].mean()))
