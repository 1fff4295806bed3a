"""Near-duplicates of real images are found whatever was done to them, and images that only look alike are not."""

import io
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.dataset import Split, SplitName
from pipeline.features import shrink
from pipeline.validate import near_duplicates

Images = NDArray[np.uint8]
LIMIT = 0.007


def shifted(images: Images, down: int, right: int) -> Images:
    """Shift images; what leaves the frame is lost, what enters is black."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = images.shape[1:3]
    return padded[:, 1 - down : 1 - down + height, 1 - right : 1 - right + width]


def compressed(images: Images) -> Images:
    return np.stack([_jpeg(image[..., 0]) for image in images])[..., None]


def _jpeg(image: Images) -> Images:
    content = io.BytesIO()
    Image.fromarray(image).save(content, "jpeg", quality=85)
    return np.asarray(Image.open(content))


@pytest.fixture(scope="module")
def large(good_splits: Mapping[SplitName, Split]) -> dict[SplitName, Split]:
    """The digits at 28 pixels, of which no two are near-duplicates."""

    def enlarged(split: Split) -> Split:
        images = [Image.fromarray(image[..., 0]).resize((28, 28), Image.Resampling.BILINEAR) for image in split.images]
        return Split(np.stack([np.asarray(image) for image in images])[..., None], split.labels, split.source_index)

    return {name: enlarged(split) for name, split in good_splits.items()}


def found(splits: Mapping[SplitName, Split]) -> set[tuple[str, int, str, int]]:
    images = np.concatenate([split.images for split in splits.values()])
    places = [(name, row) for name, split in splits.items() for row in range(len(split))]
    pairs = near_duplicates.find(images, LIMIT)
    return {(*places[first], *places[second]) for first, second in zip(pairs["first"], pairs["second"], strict=True)}


def test_different_images_are_no_near_duplicates(large: dict[SplitName, Split]) -> None:
    assert found(large) == set()


@pytest.mark.parametrize(
    "change",
    [
        lambda images: shifted(images, 1, 0),
        lambda images: shifted(images, -1, 1),
        lambda images: np.minimum(images * 1.1, 255).astype(np.uint8),
        lambda images: np.minimum(images + 15.0, 255).astype(np.uint8),
        compressed,
        lambda images: compressed(shifted(images, 0, -1)),
    ],
    ids=["down", "up and right", "brighter by a tenth", "brighter by 15", "jpeg 85", "left and jpeg 85"],
)
def test_near_duplicates_across_splits_are_found(large: dict[SplitName, Split], change: Callable[[Images], Images]) -> None:
    test, count = large["test"], 200
    images = np.concatenate([change(large["train"].images[:count]), test.images[count:]])
    pairs = found({**large, "test": Split(images, test.labels, test.source_index)})
    injected = {("test", row, "train", row) for row in range(count)}
    assert len(injected & pairs) >= 0.99 * count
    assert {split for split, *_ in pairs - injected} <= {"test"}
    assert len(pairs - injected) <= 2


def test_images_of_a_few_pixels_are_compared_too(large: dict[SplitName, Split]) -> None:
    tiny = {name: Split(shrink(split.images, 4), split.labels, split.source_index) for name, split in large.items()}
    images = np.concatenate([tiny["train"].images[:1], tiny["test"].images[1:]])
    tiny["test"] = Split(images, tiny["test"].labels, tiny["test"].source_index)
    assert ("test", 0, "train", 0) in found(tiny)


def test_blank_images_are_duplicates_of_nothing(large: dict[SplitName, Split]) -> None:
    test = large["test"]
    assert found({**large, "test": Split(np.full_like(test.images, 7), test.labels, test.source_index)}) == set()


def test_pairs_come_closest_first_and_name_both_images(large: dict[SplitName, Split]) -> None:
    images = np.concatenate([large["train"].images[:100], large["train"].images[:1], compressed(large["train"].images[1:2])])
    pairs = near_duplicates.find(images, LIMIT)
    assert list(zip(pairs["first"], pairs["second"], strict=True)) == [(100, 0), (101, 1)]
    assert pairs["difference"][0] == 0
    assert 0 < pairs["difference"][1] <= LIMIT


def test_a_thousand_equal_images_have_a_bounded_number_of_pairs(large: dict[SplitName, Split]) -> None:
    pairs = near_duplicates.find(large["train"].images[:1].repeat(1000, axis=0), LIMIT)
    assert 1000 <= len(pairs) <= 8 * 5 * 1000
    assert {*pairs["first"], *pairs["second"]} == {*range(1000)}
