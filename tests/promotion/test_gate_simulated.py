"""What the gate to production refuses and lets through, by the simulation of benchmarks/promotion_gate.py."""

import numpy as np
import pytest

from benchmarks import promotion_gate
from benchmarks.promotion_gate import FASHION, TASKS, Task
from pipeline import params
from pipeline.params import PromoteParams
from tests.test_params import SHIPPED


@pytest.fixture(scope="module")
def limits() -> PromoteParams:
    return params.load(SHIPPED).promote


def test_a_walk_of_small_steps_is_stopped_by_its_second_step_in_20_of_20_walks(limits: PromoteParams) -> None:
    """Each version is 0.4 points worse than the one before: 93.5 % to 90.3 % in 8 steps, where nothing stops it."""
    found = promotion_gate.walk(limits, 20, tries=1, step=0.004)
    assert found["second"] == 100.0
    assert found["most"] <= 0.4


def test_two_equal_models_of_the_simulation_disagree_as_retrained_ones_do() -> None:
    old, new = FASHION.models(np.random.default_rng(0), 100_000, [0.0, 0.0])
    assert np.mean(old.correct != new.correct) == pytest.approx(0.035, abs=0.002)
    assert old.accuracy == pytest.approx(0.935, abs=0.003)
    (worse,) = FASHION.models(np.random.default_rng(0), 100_000, [0.01])
    assert worse.accuracy == pytest.approx(0.925, abs=0.003)


@pytest.mark.exhaustive
@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
@pytest.mark.parametrize("images", [36, 100, 360, 1000, 10_000])
@pytest.mark.parametrize("past", [1, 2, 5])
def test_of_equally_good_versions_at_most_8_percent_are_refused(
    limits: PromoteParams, task: Task, images: int, past: int
) -> None:
    """Of 400 at most 43: with 8 % refused, 43 or fewer are in 98 of 100 cases."""
    refused = 0
    for seed in range(400):
        *before, new = task.models(np.random.default_rng(seed), images, [0.0] * (past + 1))
        refused += bool(promotion_gate.refused(limits, new, before))
    assert refused <= 43
