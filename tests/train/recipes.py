"""Params that the training tests start from, and ways to change them."""

from dataclasses import replace
from pathlib import Path

from pipeline import params
from pipeline.params import Params, TrainParams

_TESTED = params.load(Path(__file__).parents[1] / "params.yaml")


def changed(train: TrainParams, **values: object) -> TrainParams:
    """Return `train` with other values in the recipe of its architecture."""
    recipe = getattr(train.recipes, train.architecture).model_copy(update=values)
    return train.model_copy(update={"recipes": train.recipes.model_copy(update={train.architecture: recipe})})


def whole(train: TrainParams) -> Params:
    """Return all params of the tests, with `train` as their section train."""
    return replace(_TESTED, train=train)


SHORT = changed(_TESTED.train.model_copy(update={"seed": 1}), epochs=2, batch_size=50, learning_rate=0.002)
"""The notebook's network, in two epochs."""
