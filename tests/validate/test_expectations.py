"""Each expectation finds its defect, and finds it alone."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from pipeline.dataset import Dataset, Description, Split, SplitName
from pipeline.params import ValidateParams
from pipeline.validate import features, suite
from pipeline.validate.check import Outcome, check

Splits = dict[SplitName, Split]


def keep(split: Split, rows: NDArray[np.bool_]) -> Split:
    return Split(split.images[rows], split.labels[rows], split.source_index[rows])


def first_of_class(split: Split, count: int) -> NDArray[np.bool_]:
    """Marks the first `count` pictures of every class."""
    ranks = np.array([np.sum(split.labels[:row] == label) for row, label in enumerate(split.labels)])
    return ranks < count


def label_that_is_no_class(splits: Splits) -> None:
    splits["train"].labels[3] = 10


def class_absent_from_validation(splits: Splits) -> None:
    splits["validation"] = keep(splits["validation"], splits["validation"].labels != 3)


def five_pictures_per_class(splits: Splits) -> None:
    splits["validation"] = keep(splits["validation"], first_of_class(splits["validation"], 5))


def half_a_class_lost(splits: Splits) -> None:
    train = splits["train"]
    splits["train"] = keep(train, (train.labels != 3) | first_of_class(train, 50))


def blank_picture(splits: Splits) -> None:
    splits["test"].images[7] = 200


def half_range(splits: Splits) -> None:
    images = splits["validation"].images
    splits["validation"] = replace(splits["validation"], images=np.where(images > 90, np.uint8(127), np.uint8(0)))


def inverted(splits: Splits) -> None:
    splits["test"] = replace(splits["test"], images=255 - splits["test"].images)


def flat(splits: Splits) -> None:
    images = splits["train"].images
    splits["train"] = replace(splits["train"], images=(images * 0.51).astype(np.uint8) + np.uint8(20))


def copy_within_train(splits: Splits) -> None:
    splits["train"].images[40] = splits["train"].images[2]


def copy_across_splits(splits: Splits) -> None:
    splits["test"].images[0] = splits["train"].images[5]


IN_THE_DATA: Mapping[str, Callable[[Splits], None]] = {
    "labels-in-range": label_that_is_no_class,
    "classes-all-present": class_absent_from_validation,
    "enough-images-per-class": five_pictures_per_class,
    "classes-balanced": half_a_class_lost,
    "no-blank-images": blank_picture,
    "pixel-range-used": half_range,
    "pixel-mean-in-limits": inverted,
    "pixel-spread-in-limits": flat,
    "images-unique": copy_within_train,
    "no-image-in-two-splits": copy_across_splits,
}
# What dataset.read already refuses on disk, planted where a change in the code that makes the table would put it.
IN_THE_TABLE: Mapping[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "columns-present": lambda frame: frame.drop(columns="fill"),
    "columns-typed": lambda frame: frame.astype({"fill": "float32"}),
    "image-height": lambda frame: frame.assign(height=frame["height"].where(frame["row"] != 5, 7)),
    "image-width": lambda frame: frame.assign(width=frame["width"].where(frame["row"] != 5, 9)),
    "image-channels": lambda frame: frame.assign(channels=frame["channels"].where(frame["row"] != 5, 3)),
    "image-type": lambda frame: frame.assign(dtype=frame["dtype"].where(frame["row"] != 5, "float32")),
    "darkest-pixel-in-range": lambda frame: frame.assign(pixel_min=frame["pixel_min"].where(frame["row"] != 5, -1)),
    "brightest-pixel-in-range": lambda frame: frame.assign(pixel_max=frame["pixel_max"].where(frame["row"] != 5, 256)),
}


@pytest.fixture
def description() -> Description:
    counts: dict[SplitName, int] = {"train": 1, "validation": 1, "test": 1}
    return Description("digits", (8, 8, 1), tuple("0123456789"), counts, (), "0" * 64)


@pytest.fixture
def outcomes_of(description: Description, limits: ValidateParams) -> Callable[[pd.DataFrame], Mapping[str, Outcome]]:
    return lambda frame: {outcome.id: outcome for outcome in check(frame, description, limits)}


@pytest.fixture
def table_of(description: Description) -> Callable[[Splits], pd.DataFrame]:
    return lambda splits: features.table(Dataset(description, splits["train"], splits["validation"], splits["test"]))


def failed(outcomes: Mapping[str, Outcome]) -> list[str]:
    return [outcome.id for outcome in outcomes.values() if not outcome.passed]


Outcomes = Callable[[pd.DataFrame], Mapping[str, Outcome]]
Table = Callable[[Splits], pd.DataFrame]


def test_good_data_passes_every_expectation(splits: Splits, table_of: Table, outcomes_of: Outcomes) -> None:
    assert failed(outcomes_of(table_of(splits))) == []


def test_every_expectation_has_its_defect_here(description: Description, limits: ValidateParams) -> None:
    assert {rule.id for rule in suite.rules(description, limits)} == {*IN_THE_DATA, *IN_THE_TABLE}


@pytest.mark.parametrize(("expectation", "spoil"), IN_THE_DATA.items(), ids=IN_THE_DATA)
def test_a_defect_in_the_data_fails_its_expectation_alone(
    expectation: str, spoil: Callable[[Splits], None], splits: Splits, table_of: Table, outcomes_of: Outcomes
) -> None:
    spoil(splits)
    outcomes = outcomes_of(table_of(splits))
    assert failed(outcomes) == [expectation]
    assert outcomes[expectation].faults


@pytest.mark.parametrize(("expectation", "spoil"), IN_THE_TABLE.items(), ids=IN_THE_TABLE)
def test_a_defect_in_the_table_fails_its_expectation_alone(
    expectation: str,
    spoil: Callable[[pd.DataFrame], pd.DataFrame],
    splits: Splits,
    table_of: Table,
    outcomes_of: Outcomes,
) -> None:
    outcomes = outcomes_of(spoil(table_of(splits)))
    assert failed(outcomes) == [expectation]
    assert outcomes[expectation].faults


def test_a_fault_says_which_picture_and_what_is_wrong_with_it(splits: Splits, table_of: Table, outcomes_of: Outcomes) -> None:
    blank_picture(splits)
    outcome = outcomes_of(table_of(splits))["no-blank-images"]
    (fault,) = outcome.faults
    assert (fault.split, fault.row, fault.value) == ("test", 7, 0.0)
    assert (fault.source_index, fault.class_name) == (splits["test"].source_index[7], str(splits["test"].labels[7]))
    assert (outcome.fault_count, outcome.observed_min, outcome.checked) == (1, 0.0, "1,797 pictures")


def test_copies_are_reported_side_by_side(splits: Splits, table_of: Table, outcomes_of: Outcomes) -> None:
    for original, copy in ((2, 40), (3, 30)):
        splits["train"].images[copy] = splits["train"].images[original]
    faults = outcomes_of(table_of(splits))["images-unique"].faults
    assert {frozenset((faults[0].row, faults[1].row)), frozenset((faults[2].row, faults[3].row))} == {
        frozenset((2, 40)),
        frozenset((3, 30)),
    }


def test_a_copy_in_another_split_names_that_split(splits: Splits, table_of: Table, outcomes_of: Outcomes) -> None:
    copy_across_splits(splits)
    faults = outcomes_of(table_of(splits))["no-image-in-two-splits"].faults
    assert {(fault.split, fault.row, fault.value) for fault in faults} == {
        ("train", 5, "also in test"),
        ("test", 0, "also in train"),
    }


def test_a_missing_column_fails_what_needs_it_with_a_reason(splits: Splits, table_of: Table, outcomes_of: Outcomes) -> None:
    outcomes = outcomes_of(table_of(splits).drop(columns="contrast"))
    assert failed(outcomes) == ["columns-present", "no-blank-images"]
    assert "contrast" in outcomes["no-blank-images"].observed
    assert outcomes["columns-present"].faults[0].column == "contrast"


def test_labels_on_disk_that_are_no_class_have_no_class_name(splits: Splits, table_of: Table) -> None:
    splits["train"].labels[:2] = (-1, 10)
    assert list(table_of(splits)["class_name"][:2]) == ["", ""]


def test_faults_are_all_counted_and_the_first_are_kept(splits: Splits, table_of: Table, outcomes_of: Outcomes) -> None:
    splits["train"].labels[:100] = 77
    outcome = outcomes_of(table_of(splits))["labels-in-range"]
    assert (outcome.fault_count, len(outcome.faults)) == (100, 24)
