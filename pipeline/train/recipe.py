"""Which recipe a training uses, and its learning rate: code that shapes the weights, so DVC tracks it with the train stage.

Recipes count epochs, and were chosen with tens of thousands of images. Of fewer images, an epoch has so few steps that batch
norm never settles: 8 epochs of 1,295 images in batches of 250 are 40 steps. What counts is the number of steps; `adapted`
takes smaller batches and more epochs, and regularises, because every image is then seen more often.
"""

import math

from pipeline.dataset import Description
from pipeline.params import Recipe, TrainParams

_SMALLEST_BATCH = 16  # images: batch norm needs some to estimate a mean from
_BATCHES = 20  # per epoch, so that batches shrink with the data


def adapted(params: TrainParams, data: Description) -> TrainParams:
    """Return `params` with the recipe in use adapted to `data`, where its training split is small; else as they are.

    Adapting an adapted recipe changes nothing, so recorded values rebuild the same training.
    """
    recipe, small = getattr(params.recipes, params.architecture), params.small_data
    images = data.counts["train"]
    if images > small.max_images:
        return params
    batch = min(recipe.batch_size, images, max(_SMALLEST_BATCH, 2 ** round(math.log2(images / _BATCHES))))
    changed = recipe.model_copy(
        update={
            "batch_size": batch,
            "epochs": max(recipe.epochs, math.ceil(small.min_steps / (images // batch))),
            "learning_rate": recipe.learning_rate * batch / recipe.batch_size,
            "shift": max(recipe.shift, round(small.shift * min(data.image_shape[:2]))),
            "dropout": max(recipe.dropout, small.dropout),
            "label_smoothing": max(recipe.label_smoothing, small.label_smoothing),
            "calibrate": recipe.calibrate or small.calibrate,
        }
    )
    return params.model_copy(update={"recipes": params.recipes.model_copy(update={params.architecture: changed})})


def recipe_of(params: TrainParams) -> Recipe:
    """Return the recipe of the chosen architecture, without flips where `horizontal_flip` is off."""
    recipe: Recipe = getattr(params.recipes, params.architecture)
    return recipe if params.horizontal_flip else recipe.model_copy(update={"flip": "none", "flip_averaging": False})


def settings_of(params: TrainParams) -> dict[str, str | int | float | bool]:
    """Return all that shapes this training as key → value; the other architectures' recipes, and the rule, are left out."""
    return (
        params.model_dump(exclude={"recipes", "small_data", "record_diff", "keep_checkpoints"}) | recipe_of(params).model_dump()
    )


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Return the learning rate of step `step` (from 0) of `steps`; it depends on nothing else, so training can resume anywhere.

    It rises linearly over the share `warmup` of the steps to `learning_rate`; then it stays (constant), falls linearly
    (triangular) or along half a cosine (cosine) to zero (Smith and Topin 2018, https://arxiv.org/abs/1708.07120).
    """
    done = (step + 1) / steps
    if done <= recipe.warmup:
        return recipe.learning_rate * done / recipe.warmup
    left = (steps - step) / (steps * (1 - recipe.warmup))  # 1 at the peak; not yet 0 in the last step
    match recipe.schedule:
        case "constant":
            return recipe.learning_rate
        case "triangular":
            return recipe.learning_rate * min(1.0, left)
        case "cosine":
            return recipe.learning_rate * (1 - math.cos(math.pi * min(1.0, left))) / 2
