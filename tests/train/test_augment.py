"""What may be changed on a picture, against small pictures worked out by hand."""

from typing import Any

import numpy as np
import pytest

from pipeline.params import TrainParams
from pipeline.train.augment import augment
from tests.train.recipes import changed

ROWS = np.arange(400)
# every pixel tells where it was: 16 * row + column, in 7×9 pixels and two channels
PLACES = (16 * np.arange(7)[:, None] + np.arange(9)).astype(np.uint8)
PICTURES = np.repeat(np.stack([PLACES, PLACES + 1], axis=-1)[None], 400, axis=0)


def changed_pictures(params: TrainParams, epoch: int = 0, step: int = 0, seed: int = 5, **recipe: Any) -> Any:
    chosen = changed(params, **recipe).recipe
    images = augment(PICTURES, ROWS, chosen, seed, epoch, step)
    assert images.dtype == np.uint8
    assert images.shape == PICTURES.shape
    return images


@pytest.fixture
def flipped(params: TrainParams) -> TrainParams:
    return params.model_copy(update={"horizontal_flip": True})


def flips(images: Any) -> Any:
    return np.array([bool((image == PICTURES[0, :, ::-1]).all()) for image in images])


def test_nothing_is_changed_unasked(params: TrainParams) -> None:
    assert (changed_pictures(params) == PICTURES).all()


def test_alternating_flips_show_each_picture_both_ways_in_two_epochs(flipped: TrainParams) -> None:
    first, second, third = (flips(changed_pictures(flipped, epoch, flip="alternating")) for epoch in range(3))
    assert (first != second).all()
    assert (first == third).all()
    assert 150 < first.sum() < 250
    assert (first != flips(changed_pictures(flipped, seed=6, flip="alternating"))).any()


def test_random_flips_turn_half(flipped: TrainParams) -> None:
    first, second = (flips(changed_pictures(flipped, step=step, flip="random")) for step in range(2))
    assert 150 < first.sum() < 250
    assert (first != second).any()


def test_a_data_set_that_must_not_be_flipped_never_is(params: TrainParams) -> None:
    assert not params.horizontal_flip
    assert (changed_pictures(params, flip="random") == PICTURES).all()


def test_a_shift_moves_whole_pictures_and_brings_in_black(params: TrainParams) -> None:
    padded = np.pad(PICTURES[0], ((2, 2), (2, 2), (0, 0)))
    possible = {padded[down : down + 7, right : right + 9].tobytes() for down in range(5) for right in range(5)}
    seen = {image.tobytes() for image in changed_pictures(params, shift=2)}
    assert seen == possible


def test_erasing_hides_one_square_at_most(params: TrainParams) -> None:
    images = changed_pictures(params, erase=0.45)  # 3 of 7 pixels
    for image in images:
        rows, columns = np.nonzero((image != PICTURES[0]).any(axis=-1))
        assert len(rows) > 0
        assert max(np.ptp(rows), np.ptp(columns)) <= 2
    corners = (images[:, [0, 0, -1, -1], [0, -1, 0, -1]] != PICTURES[0][[0, 0, -1, -1], [0, -1, 0, -1]]).any(axis=(0, 2))
    assert corners.all()


def test_seed_epoch_and_step_determine_it(flipped: TrainParams) -> None:
    recipe: dict[str, Any] = {"flip": "random", "shift": 1, "erase": 0.3}
    known = changed_pictures(flipped, **recipe)
    assert (changed_pictures(flipped, **recipe) == known).all()
    for other in ("epoch", "step", "seed"):
        assert (changed_pictures(flipped, **{other: 1}, **recipe) != known).any()
