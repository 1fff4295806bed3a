"""The recipe a training uses, and its learning rate."""

import pytest

from pipeline import params as params_module
from pipeline.dataset import Description
from pipeline.params import Recipe, TrainParams
from pipeline.train.recipe import adapted, learning_rate, recipe_of, settings_of
from tests.conftest import PROJECT

SHIPPED = params_module.load(PROJECT / "params.yaml").train


def described(images: int, size: int = 28) -> Description:
    """A data set of so many training images of `size`×`size` pixels."""
    return Description("some", (size, size, 1), ("a", "b"), {"train": images, "validation": 10, "test": 10}, (), "")


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


@pytest.mark.parametrize(
    ("images", "batch", "epochs", "rate"),
    [
        (10, 10, 1000, 0.024),
        (40, 16, 500, 0.0384),
        (270, 16, 63, 0.0384),
        (1_295, 64, 50, 0.1536),
        (3_600, 128, 36, 0.3072),
        (9_000, 250, 28, 0.6),
        (20_000, 250, 13, 0.6),
    ],
)
def test_few_images_get_small_batches_and_a_thousand_steps(images: int, batch: int, epochs: int, rate: float) -> None:
    small = recipe_of(adapted(SHIPPED, described(images)))
    assert (small.batch_size, small.epochs, round(small.learning_rate, 6)) == (batch, epochs, rate)
    assert (small.shift, small.dropout, small.label_smoothing, small.calibrate) == (2, 0.3, 0.1, True)
    assert small.epochs * (images // small.batch_size) >= 1000


@pytest.mark.parametrize("architecture", ["notebook", "sprint", "compact", "default", "large"])
def test_the_recipes_for_tens_of_thousands_of_images_stay_as_they_are(architecture: str) -> None:
    chosen = SHIPPED.model_copy(update={"architecture": architecture})
    assert adapted(chosen, described(54_000)) == chosen
    assert adapted(chosen, described(20_001)) == chosen


@pytest.mark.parametrize("architecture", ["notebook", "sprint", "compact", "default", "large"])
def test_adapting_twice_changes_nothing_more(architecture: str) -> None:
    once = adapted(SHIPPED.model_copy(update={"architecture": architecture}), described(777, 64))
    assert adapted(once, described(777, 64)) == once
    assert recipe_of(once) != recipe_of(SHIPPED.model_copy(update={"architecture": architecture}))


def test_a_recipe_with_more_of_everything_keeps_it_and_images_shift_in_proportion() -> None:
    strong = {"epochs": 900, "batch_size": 8, "dropout": 0.5, "label_smoothing": 0.2, "shift": 9}
    recipes = SHIPPED.recipes.model_copy(update={"default": SHIPPED.recipes.default.model_copy(update=strong)})
    small = recipe_of(adapted(SHIPPED.model_copy(update={"recipes": recipes}), described(500)))
    assert {key: getattr(small, key) for key in strong} == strong
    assert recipe_of(adapted(SHIPPED, described(500, 64))).shift == 4


def test_zero_switches_the_rule_off() -> None:
    off = SHIPPED.model_copy(update={"small_data": SHIPPED.small_data.model_copy(update={"max_images": 0})})
    assert adapted(off, described(300)) == off
