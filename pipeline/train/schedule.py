"""The learning rate as a function of the step alone, so that a training goes on anywhere."""

import math

from pipeline.params import Recipe


def rate(recipe: Recipe, step: int, steps: int) -> float:
    """The learning rate of step `step` (from 0) of `steps`.

    It rises in a line over the share `warmup` of the steps to `learning_rate`; then it stays (constant), falls in a line
    (triangular) or along half a cosine (cosine) to zero (Smith and Topin 2018, https://arxiv.org/abs/1708.07120).
    """
    done = (step + 1) / steps
    if done <= recipe.warmup:
        return recipe.learning_rate * done / recipe.warmup
    left = (steps - step) / (steps * (1 - recipe.warmup))  # 1 at the peak; the last step's is not zero
    match recipe.schedule:
        case "constant":
            return recipe.learning_rate
        case "triangular":
            return recipe.learning_rate * min(1.0, left)
        case "cosine":
            return recipe.learning_rate * (1 - math.cos(math.pi * min(1.0, left))) / 2
