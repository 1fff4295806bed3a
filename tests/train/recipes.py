"""Recipes that tests change."""

from pipeline.params import TrainParams


def changed(params: TrainParams, **values: object) -> TrainParams:
    """`params` with other values in the recipe of its architecture."""
    recipe = getattr(params.recipes, params.architecture).model_copy(update=values)
    return params.model_copy(update={"recipes": params.recipes.model_copy(update={params.architecture: recipe})})
