"""Augmentation against small images worked out by hand, and the batches of an epoch."""

import itertools
from typing import Any

import numpy as np
import pytest

from pipeline.dataset import Split
from pipeline.params import TrainParams
from pipeline.train.augment import augment, batches, steps_per_epoch
from pipeline.train.recipe import recipe_of
from tests.train.recipes import changed

ROWS = np.arange(400)
# Each pixel encodes its position, 16 * row + column, in 7×9 pixels and two channels.
PLACES = (16 * np.arange(7)[:, None] + np.arange(9)).astype(np.uint8)
IMAGES = np.repeat(np.stack([PLACES, PLACES + 1], axis=-1)[None], 400, axis=0)


def augmented(params: TrainParams, epoch: int = 0, step: int = 0, seed: int = 5, **recipe: Any) -> Any:
    chosen = recipe_of(changed(params, **recipe))
    images = augment(IMAGES, ROWS, chosen, seed, epoch, step)
    assert images.dtype == np.uint8
    assert images.shape == IMAGES.shape
    return images


@pytest.fixture
def flipped(params: TrainParams) -> TrainParams:
    return params.model_copy(update={"horizontal_flip": True})


def flips(images: Any) -> Any:
    return np.array([bool((image == IMAGES[0, :, ::-1]).all()) for image in images])


def test_the_default_recipe_changes_nothing(params: TrainParams) -> None:
    assert (augmented(params) == IMAGES).all()


def test_alternating_flips_show_each_image_both_ways_in_two_epochs(flipped: TrainParams) -> None:
    first, second, third = (flips(augmented(flipped, epoch, flip="alternating")) for epoch in range(3))
    assert (first != second).all()
    assert (first == third).all()
    assert 150 < first.sum() < 250
    assert (first != flips(augmented(flipped, seed=6, flip="alternating"))).any()


def test_random_flips_flip_half(flipped: TrainParams) -> None:
    first, second = (flips(augmented(flipped, step=step, flip="random")) for step in range(2))
    assert 150 < first.sum() < 250
    assert (first != second).any()


def test_without_horizontal_flip_no_image_is_flipped(params: TrainParams) -> None:
    assert not params.horizontal_flip
    assert (augmented(params, flip="random") == IMAGES).all()


def test_a_shift_moves_whole_images_and_fills_with_black(params: TrainParams) -> None:
    padded = np.pad(IMAGES[0], ((2, 2), (2, 2), (0, 0)))
    possible = {padded[down : down + 7, right : right + 9].tobytes() for down in range(5) for right in range(5)}
    seen = {image.tobytes() for image in augmented(params, shift=2)}
    assert seen == possible


def test_shifted_images_stand_in_front_of_the_usual_colour_of_the_corners(params: TrainParams) -> None:
    images = np.full((60, 8, 8, 3), (250, 200, 90), np.uint8)
    images[:10] = 7  # a few are unlike the others
    images[:, 2:6, 2:6] = 100
    split = Split(images, np.zeros(60, np.int32), np.arange(60, dtype=np.int32))
    chosen = recipe_of(changed(params, shift=2, batch_size=60))
    ((moved, _),) = batches(split, chosen, 1, 0)
    colours = {tuple(colour) for colour in moved[10:].reshape(-1, 3).tolist()}
    assert colours == {(250, 200, 90), (100, 100, 100)}


def test_erasing_hides_at_most_one_square(params: TrainParams) -> None:
    images = augmented(params, erase=0.45)  # 3 of 7 pixels
    for image in images:
        rows, columns = np.nonzero((image != IMAGES[0]).any(axis=-1))
        assert len(rows) > 0
        assert max(np.ptp(rows), np.ptp(columns)) <= 2
    corners = (images[:, [0, 0, -1, -1], [0, -1, 0, -1]] != IMAGES[0][[0, 0, -1, -1], [0, -1, 0, -1]]).any(axis=(0, 2))
    assert corners.all()


def test_seed_epoch_and_step_determine_the_augmentation(flipped: TrainParams) -> None:
    recipe: dict[str, Any] = {"flip": "random", "shift": 1, "erase": 0.3}
    known = augmented(flipped, **recipe)
    assert (augmented(flipped, **recipe) == known).all()
    for other in ("epoch", "step", "seed"):
        assert (augmented(flipped, **{other: 1}, **recipe) != known).any()


SPLIT = Split(np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1), np.arange(10, dtype=np.int32), np.arange(10, dtype=np.int32))


def labels(params: TrainParams, epoch: int, batch_size: int, seed: int = 1) -> list[list[int]]:
    recipe = recipe_of(changed(params, batch_size=batch_size))
    epochs = list(batches(SPLIT, recipe, seed, epoch))
    assert all((images.ravel() == labels).all() for images, labels in epochs)
    assert len(epochs) == steps_per_epoch(SPLIT, recipe)
    return [labels.tolist() for _, labels in epochs]


def test_an_epoch_shows_every_image_once(params: TrainParams) -> None:
    assert sorted(itertools.chain(*labels(params, 0, 5))) == list(range(10))


def test_each_epoch_skips_other_images(params: TrainParams) -> None:
    skipped = {frozenset(range(10)) - frozenset(itertools.chain(*labels(params, epoch, 3))) for epoch in range(6)}
    assert {len(each) for each in skipped} == {1}
    assert len(skipped) > 1


def test_seed_and_epoch_determine_the_order(params: TrainParams) -> None:
    known = labels(params, 2, 3)
    assert labels(params, 2, 3) == known
    assert labels(params, 3, 3) != known
    assert labels(params, 2, 3, seed=2) != known


def test_an_error_in_the_gathering_thread_reaches_the_training(params: TrainParams) -> None:
    short = Split(SPLIT.images[:4], SPLIT.labels, SPLIT.source_index)
    with pytest.raises(IndexError):
        list(batches(short, recipe_of(changed(params, batch_size=5)), 1, 0))
