import itertools

import numpy as np
import pytest

from pipeline.dataset import Split
from pipeline.params import TrainParams
from pipeline.train import batches
from tests.train.recipes import changed

SPLIT = Split(np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1), np.arange(10, dtype=np.int32), np.arange(10, dtype=np.int32))


def labels(params: TrainParams, epoch: int, batch_size: int, seed: int = 1) -> list[list[int]]:
    recipe = changed(params, batch_size=batch_size).recipe
    epochs = list(batches.epoch_of(SPLIT, recipe, seed, epoch))
    assert all((images.ravel() == labels).all() for images, labels in epochs)
    assert len(epochs) == batches.count(SPLIT, recipe)
    return [labels.tolist() for _, labels in epochs]


def test_an_epoch_shows_every_picture_once(params: TrainParams) -> None:
    assert sorted(itertools.chain(*labels(params, 0, 5))) == list(range(10))


def test_each_epoch_leaves_another_rest_out(params: TrainParams) -> None:
    rests = {frozenset(range(10)) - frozenset(itertools.chain(*labels(params, epoch, 3))) for epoch in range(6)}
    assert {len(rest) for rest in rests} == {1}
    assert len(rests) > 1


def test_seed_and_epoch_determine_the_order(params: TrainParams) -> None:
    known = labels(params, 2, 3)
    assert labels(params, 2, 3) == known
    assert labels(params, 3, 3) != known
    assert labels(params, 2, 3, seed=2) != known


def test_an_error_in_the_gathering_thread_reaches_the_training(params: TrainParams) -> None:
    broken = Split(SPLIT.images[:4], SPLIT.labels, SPLIT.source_index)
    with pytest.raises(IndexError):
        list(batches.epoch_of(broken, changed(params, batch_size=5).recipe, 1, 0))
