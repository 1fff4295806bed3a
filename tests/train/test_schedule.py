import pytest

from pipeline.params import Recipe, TrainParams
from pipeline.train import schedule


def recipe(params: TrainParams, **values: object) -> Recipe:
    return params.recipe.model_copy(update={"learning_rate": 1.0, **values})


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
    assert [schedule.rate(chosen, step, 4) for step in range(4)] == pytest.approx(rates, abs=1e-6)


def test_one_step_is_enough(params: TrainParams) -> None:
    for kind in ("constant", "triangular", "cosine"):
        assert schedule.rate(recipe(params, schedule=kind, warmup=0.2), 0, 1) == 1
