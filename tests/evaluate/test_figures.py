"""Grids and the confusion matrix: PNG, sharp, the same each time, and usable with three classes or a thousand."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from PIL import Image

from pipeline.evaluate.plots import confusion, figures
from pipeline.predictions import Predictions

NAMES = ("cat", "dog", "a bird with a rather long name")


def predictions(labels: list[int], predicted: list[int], confidence: list[float]) -> Predictions:
    """Predictions of three classes with the given confidence."""
    rows = np.empty((len(predicted), 3), np.float32)
    rows[:] = (1 - np.array(confidence)[:, None]) / 2
    rows[np.arange(len(predicted)), predicted] = confidence
    index = np.arange(len(labels), dtype=np.int32)
    return Predictions(source_index=index, labels=np.array(labels, np.int32), probabilities=rows)


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return image.size


def test_grid_shows_the_most_confident_mistakes_then_the_first_correct_ones() -> None:
    found = predictions([0, 0, 1, 1, 2, 2], [0, 1, 1, 2, 0, 2], [0.9, 0.5, 0.6, 0.8, 0.7, 0.9])
    assert figures.choose(found, 4).tolist() == [3, 4, 0, 2]


def test_grid_fills_up_where_one_kind_is_too_rare() -> None:
    labels = [0, 1, 2, 0]
    assert figures.choose(predictions(labels, [0, 1, 2, 1], [0.9] * 4), 4).tolist() == [3, 0, 1, 2]
    assert figures.choose(predictions(labels, [1, 2, 0, 0], [0.9, 0.8, 0.7, 0.9]), 4).tolist() == [0, 1, 2, 3]
    assert figures.choose(predictions(labels, [0, 1, 2, 1], [0.9] * 4), 400).tolist() == [3, 0, 1, 2]


def test_the_most_confident_mistake_is_the_example_of_its_pair() -> None:
    found = predictions([0, 0, 1, 0], [1, 1, 0, 0], [0.6, 0.9, 0.7, 0.99])
    assert figures.one_per_pair(found, [(0, 1), (1, 0)]) == [1, 2]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_mosaic_holds_every_image_unchanged(channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 6, channels)).astype(np.uint8)
    canvas, corners = figures.mosaic(images, columns=3)
    for (row, column), image in zip(corners, images, strict=True):
        shown = canvas[row : row + 8, column : column + 6]
        assert_array_equal(shown, image if channels == 3 else np.repeat(image[:, :, :1], 3, axis=2))


def test_large_images_are_thinned_out() -> None:
    canvas, _ = figures.mosaic(np.zeros((4, 512, 512, 1), np.uint8), columns=4)
    assert canvas.shape[1] < 4 * 220


def test_grid_is_a_sharp_png_and_equal_each_time(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (10, 28, 28, 1)).astype(np.uint8)
    found = predictions([0] * 10, [0, 1, 2, 0, 1, 2, 0, 1, 2, 0], [0.9] * 10)
    for name in ("one.png", "two.png"):
        figures.draw_grid(images, found, range(10), NAMES, tmp_path / name)
    width, height = size_of(tmp_path / "one.png")
    assert width == 5 * 240  # two rows of five
    assert 500 < height < 800
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_confusion_is_a_sharp_png_and_equal_each_time(tmp_path: Path) -> None:
    counts = np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]])  # the third class is not in the data: 0/0 in its row
    for name in ("one.png", "two.png"):
        confusion.draw(counts, NAMES, tmp_path / name)
    width, height = size_of(tmp_path / "one.png")
    assert width > 1400
    assert height > 800
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


@pytest.mark.parametrize("counts", [np.diag([3, 4, 5]), np.zeros((3, 3), np.int64)])
def test_confusion_without_mistakes_is_drawn(counts: NDArray[np.int64], tmp_path: Path) -> None:
    confusion.draw(counts, NAMES, tmp_path / "confusion.png")
    assert size_of(tmp_path / "confusion.png")[0] > 1400


def test_a_thousand_classes_stay_an_image_of_bounded_size(tmp_path: Path) -> None:
    counts = np.random.default_rng(0).integers(0, 3, (1000, 1000))
    confusion.draw(counts, tuple(f"class {label}" for label in range(1000)), tmp_path / "confusion.png")
    assert max(size_of(tmp_path / "confusion.png")) < 2500
    assert (tmp_path / "confusion.png").stat().st_size < 4_000_000


def test_one_mistake_among_a_thousand_classes_is_seen(tmp_path: Path) -> None:
    counts = 5 * np.eye(1000, dtype=np.int64)
    counts[503, 18] = 1
    confusion.draw(counts, tuple(f"class {label}" for label in range(1000)), tmp_path / "confusion.png")
    red, _, blue = np.moveaxis(np.asarray(Image.open(tmp_path / "confusion.png").convert("RGB")).astype(int), 2, 0)
    assert np.count_nonzero(red - blue > 80) >= 2 * 4  # two pixels by two, in both matrices


def test_names_with_dollars_and_other_scripts_are_drawn_as_they_are(tmp_path: Path) -> None:
    confusion.draw(np.eye(3, dtype=np.int64), ("$5_x$ bill", "кошка", "a&b <c>"), tmp_path / "confusion.png")
    assert size_of(tmp_path / "confusion.png")[0] > 1400


def test_the_heat_map_has_a_pixel_per_cell_with_mistakes_loud_and_the_diagonal_quiet() -> None:
    counts = np.array([[9, 4, 0], [0, 9, 1], [0, 0, 9]])
    assert_array_equal(confusion.heat_map(counts)[[0, 0, 0], [0, 1, 2]], [(0xE9, 0xED, 0xF1), (0x6D, 0x1A, 0), (255, 255, 255)])


def test_the_map_of_changes_is_blue_for_better_and_brown_for_worse() -> None:
    change = np.array([[2, -2, 0], [0, -1, 1], [0, 0, 0]])  # of class 0, two more are correct, in place of class 1
    shown = confusion.change_map(change).astype(int)
    assert_array_equal(shown[[0, 0], [0, 1]], [(0x12, 0x3F, 0x73)] * 2)
    assert (shown[[1, 1], [1, 2], 0] > shown[[1, 1], [1, 2], 2] + 80).all()
    assert shown[2].min() > 250


def test_of_a_thousand_classes_four_share_a_pixel_and_one_mistake_is_seen() -> None:
    counts = 5 * np.eye(1000, dtype=np.int64)
    counts[503, 18] = 1
    shown = confusion.heat_map(counts)
    assert (confusion.step(1000), shown.shape) == (4, (250, 250, 3))
    assert shown[503 // 4, 18 // 4].tolist() == [0x6D, 0x1A, 0]
    assert (confusion.step(250), confusion.step(2)) == (1, 1)
    change = np.zeros_like(counts)
    change[503, 18] = 1
    assert confusion.change_map(change)[125, 4].tolist() == [0x6D, 0x1A, 0]
