"""Which recipe a training uses, and its learning rate: code that shapes the weights, so DVC tracks it with the train stage."""

import math

from pipeline.params import Recipe, TrainParams


def recipe_of(params: TrainParams) -> Recipe:
    """Return the recipe of the chosen architecture, without flips where `horizontal_flip` is off."""
    recipe: Recipe = getattr(params.recipes, params.architecture)
    return recipe if params.horizontal_flip else recipe.model_copy(update={"flip": "none", "flip_averaging": False})


def settings_of(params: TrainParams) -> dict[str, str | int | float | bool]:
    """Return all that this training uses as key → value; the other architectures' recipes are left out."""
    return params.model_dump(exclude={"recipes"}) | recipe_of(params).model_dump()


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
