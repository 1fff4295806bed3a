"""The recipe a training uses, and its learning rate."""

import pytest

from pipeline.params import Recipe, TrainParams
from pipeline.train.recipe import learning_rate, recipe_of, settings_of


def recipe(params: TrainParams, **values: object) -> Recipe:
    return recipe_of(params).model_copy(update={"learning_rate": 1.0, **values})


@pytest.mark.parametrize(
    ("kind", "warmup", "rates"),
    [
        ("constant", 0.0, [1, 1, 1, 1]),
        ("constant", 0.5, [0.5, 1, 1, 1]),
        ("triangular", 0.0, [1, 0.75, 0.5, 0.25]),
        ("triangular", 0.5, [0.5, 1, 1, 0.5]),
        ("cosine", 0.0, [1, 0.853553, 0.5, 0.146447]),
    ],
)
def test_the_rate_rises_and_falls_as_the_recipe_says(params: TrainParams, kind: str, warmup: float, rates: list[float]) -> None:
    chosen = recipe(params, schedule=kind, warmup=warmup)
    assert [learning_rate(chosen, step, 4) for step in range(4)] == pytest.approx(rates, abs=1e-6)


def test_one_step_is_enough(params: TrainParams) -> None:
    for kind in ("constant", "triangular", "cosine"):
        assert learning_rate(recipe(params, schedule=kind, warmup=0.2), 0, 1) == 1


def test_horizontal_flip_off_removes_flips_from_the_recipe(params: TrainParams) -> None:
    sprint = params.model_copy(update={"architecture": "sprint", "horizontal_flip": True})
    assert (recipe_of(sprint).flip, recipe_of(sprint).flip_averaging) == ("alternating", True)
    off = recipe_of(sprint.model_copy(update={"horizontal_flip": False}))
    assert (off.flip, off.flip_averaging) == ("none", False)
    assert off == recipe_of(sprint).model_copy(update={"flip": "none", "flip_averaging": False})


def test_settings_hold_the_recipe_in_use_and_no_other(params: TrainParams) -> None:
    settings = settings_of(params.model_copy(update={"architecture": "sprint"}))
    assert (settings["architecture"], settings["epochs"], settings["flip"]) == ("sprint", 3, "none")
    assert "recipes" not in settings
