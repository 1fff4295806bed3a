"""Drift, with values computed by hand, and the effect of chance on small splits."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from pipeline.dataset import Description, SplitName
from pipeline.errors import DatasetError
from pipeline.validate import drift
from pipeline.validate.drift import Drift, Profile

COUNTS: dict[SplitName, int] = {"train": 1, "validation": 1, "test": 1}
EMPTY = f"[{', '.join(['0'] * 256)}]"


def profile(cats: int, dogs: int, means: NDArray[np.float64] | None = None, names: tuple[str, ...] = ("cat", "dog")) -> Profile:
    """Profile `cats` + `dogs` images whose mean pixels are `means`, or else spread evenly over 0 … 250."""
    count = cats + dogs
    values = np.arange(count) * 250 / count if means is None else means
    features = {"pixel_mean": values, "contrast": values / 2, "foreground_fraction": values / 255}
    images = pd.DataFrame({"class_name": [names[0]] * cats + [names[1]] * dogs, **features})
    return drift.profile(images, Description("pets", (8, 8, 1), names, COUNTS, (), "0" * 64))


def between(candidate: Profile, base: Profile) -> dict[str, Drift]:
    return {found.name: found for found in drift.between(candidate, base)}


def test_psi_and_chance_of_class_shares_are_those_computed_by_hand() -> None:
    # p = 300.5 / 1001 and 700.5 / 1001, q = 0.5: -0.1998 · ln 0.6004 + 0.1998 · ln 1.3996; χ²(1) at 0.001 is 10.828
    found = between(profile(300, 700), profile(500, 500))["class shares"]
    assert found.psi == pytest.approx(0.169100, abs=2e-6)
    assert found.chance == pytest.approx(10.8276 * (1 / 1000 + 1 / 1000), abs=1e-5)
    assert found.beyond_chance == pytest.approx(0.169100 - 0.021655, abs=1e-5)


def test_the_same_shares_in_a_tenth_of_the_images_are_no_more_than_chance() -> None:
    found = between(profile(30, 70), profile(50, 50))["class shares"]
    assert found.psi == pytest.approx(0.165918, abs=2e-6)
    assert found.chance == pytest.approx(0.216551, abs=1e-5)
    assert found.beyond_chance == 0


def test_psi_of_a_feature_is_computed_in_the_deciles_of_the_base() -> None:
    # All 1,000 images lie in the highest tenth of the base; half an image more in each of the ten bins makes 1,005.
    found = between(profile(500, 500, np.full(1000, 249.0)), profile(500, 500))["pixel_mean"]
    one, ten = 0.5 / 1005, 1000.5 / 1005
    assert found.psi == pytest.approx(9 * (one - 0.1) * np.log(one / 0.1) + (ten - 0.1) * np.log(ten / 0.1), abs=1e-6)
    assert found.beyond_chance > 6


def test_without_images_drift_is_missing_rather_than_zero() -> None:
    assert between(profile(50, 50), profile(50, 50))["pixel_mean"].beyond_chance == 0
    assert all(np.isnan(found.beyond_chance) for found in drift.between(profile(0, 0), profile(50, 50)))


@pytest.mark.parametrize("count", [20, 60, 300])
def test_small_splits_of_one_population_raise_no_alarm(count: int) -> None:
    alarms = 0
    for seed in range(100):
        dice = np.random.default_rng(seed)
        train, test = (profile(n // 2, n - n // 2, dice.normal(100, 20, n)) for n in (3 * count, count))
        alarms += int(between(test, train)["pixel_mean"].beyond_chance > 0)
    assert alarms <= 2  # 0.1 expected


@pytest.mark.parametrize("count", [300, 1000])
def test_a_shift_by_a_standard_deviation_is_found(count: int) -> None:
    dice = np.random.default_rng(0)
    train = profile(count, count, dice.normal(100, 20, 2 * count))
    assert between(profile(count, 0, dice.normal(120, 20, count)), train)["contrast"].beyond_chance > 0.25


def test_a_feature_that_is_constant_is_compared_nevertheless() -> None:
    flat = profile(500, 500, np.full(1000, 7.0))
    assert between(profile(500, 500, np.full(1000, 7.0)), flat)["foreground_fraction"].beyond_chance == 0
    assert between(profile(500, 500, np.full(1000, 9.0)), flat)["foreground_fraction"].beyond_chance > 1


def test_shares_are_compared_over_the_classes_that_both_have() -> None:
    pets, animals = profile(500, 500), profile(500, 300, names=("cat", "eel"))
    assert between(pets, animals)["class shares"].psi == 0


def test_a_profile_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text(drift.as_json(profile(30, 70)))
    assert drift.read(path) == profile(30, 70)


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "[]",
        '{"dataset": "digits"}',
        '{"dataset": "a", "dataset_digest": "b", "classes": {}, "features": {"contrast": [1, 2]}}',
        '{"dataset": "a", "dataset_digest": "b", "classes": {"cat": -1}, "features": {"contrast": ' + EMPTY + "}}",
    ],
    ids=["missing", "empty", "list", "keys missing", "too few bins", "negative count"],
)
def test_a_file_that_is_not_a_profile_is_one_line(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "profile.json").write_text(content)
    with pytest.raises(DatasetError, match=r"profile\.json is not a profile written by validate \(") as error:
        drift.read(tmp_path / "profile.json")
    assert "\n" not in str(error.value)
