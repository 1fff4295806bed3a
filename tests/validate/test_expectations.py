"""Each expectation finds its defect, and finds it alone."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from pipeline.dataset import Dataset, Description, Split, SplitName
from pipeline.params import EXPECTATIONS, ValidateParams
from pipeline.validate import features, near, suite
from pipeline.validate.check import Outcome, check

Splits = dict[SplitName, Split]
Tables = tuple[pd.DataFrame, pd.DataFrame]  # features and pairs
Outcomes = Callable[[Tables], Mapping[str, Outcome]]
Table = Callable[[Splits], Tables]


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
    for name, split in splits.items():
        splits[name] = replace(split, images=np.minimum(split.images * 0.6, 127).astype(np.uint8))


def inverted(splits: Splits) -> None:
    for name, split in splits.items():  # in one split alone it would also be drift, and unlike its class
        splits[name] = replace(split, images=255 - split.images)


def flat(splits: Splits) -> None:
    for name, split in splits.items():
        splits[name] = replace(split, images=(split.images * 0.51).astype(np.uint8) + np.uint8(20))


def copy_within_train(splits: Splits) -> None:
    splits["train"].images[25] = splits["train"].images[2]


def copy_across_splits(splits: Splits) -> None:
    splits["test"].images[5] = splits["train"].images[5]


def almost_blank_picture(splits: Splits) -> None:
    splits["test"].images[7] //= 10


def inverted_picture(splits: Splits) -> None:
    splits["validation"].images[20] = 255 - splits["validation"].images[20]


def half_lost(splits: Splits) -> None:
    splits["train"].images[11, 4:] = 128


def moved(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One pixel to the right, and slightly darker."""
    darker: NDArray[np.uint8] = (np.roll(image, 1, axis=1) * np.array([0] + [0.95] * 7)[None, :, None]).astype(np.uint8)
    return darker


def moved_copy_across_splits(splits: Splits) -> None:
    splits["test"].images[0] = moved(splits["train"].images[0])


def moved_copy_within_test(splits: Splits) -> None:
    splits["test"].images[14] = moved(splits["test"].images[3])


def moved_copy_of_another_class(splits: Splits) -> None:
    splits["train"].images[1] = moved(splits["train"].images[0])


def brighter_test(splits: Splits) -> None:
    splits["test"] = replace(
        splits["test"], images=np.minimum(splits["test"].images.astype(int) * 5 // 4, 255).astype(np.uint8)
    )


def other_shares_in_test(splits: Splits) -> None:
    train, test = splits["train"], splits["test"]
    splits["train"] = keep(train, (train.labels < 5) | first_of_class(train, 73))
    splits["test"] = keep(test, (test.labels >= 5) | first_of_class(test, 25))


def wrong_label(splits: Splits) -> None:
    splits["train"].labels[0] = (splits["train"].labels[0] + 3) % 10


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
    "no-almost-blank-images": almost_blank_picture,
    "no-inverted-images": inverted_picture,
    "no-lost-regions": half_lost,
    "no-near-copy-in-two-splits": moved_copy_across_splits,
    "no-near-copy-in-one-split": moved_copy_within_test,
    "copies-agree-on-class": moved_copy_of_another_class,
    "features-do-not-drift": brighter_test,
    "class-shares-do-not-drift": other_shares_in_test,
    "labels-plausible": wrong_label,
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
def outcomes_of(description: Description, limits: ValidateParams) -> Outcomes:
    # What the limit on imbalance lets through is, in so few pictures, barely more than chance.
    strict = limits.model_copy(update={"max_class_drift": 0.01})
    return lambda tables: {outcome.id: outcome for outcome in check(*tables, description, strict)}


@pytest.fixture
def tables_of(description: Description, limits: ValidateParams) -> Table:
    def made(splits: Splits) -> Tables:
        data = Dataset(description, splits["train"], splits["validation"], splits["test"])
        return features.table(data), near.pairs(data, limits.near_copy_difference)

    return made


def failed(outcomes: Mapping[str, Outcome], besides: str = "") -> list[str]:
    """All that are broken. `besides` is left out: labels-plausible guesses, and odd pictures make it guess at others too."""
    return [outcome.id for outcome in outcomes.values() if not outcome.passed and outcome.id != besides]


def test_good_data_passes_every_expectation(splits: Splits, tables_of: Table, outcomes_of: Outcomes) -> None:
    assert failed(outcomes_of(tables_of(splits))) == []


def test_params_name_every_expectation(description: Description, limits: ValidateParams) -> None:
    assert tuple(rule.id for rule in suite.rules(description, limits)) == EXPECTATIONS


def test_every_expectation_has_its_defect_here(description: Description, limits: ValidateParams) -> None:
    assert {rule.id for rule in suite.rules(description, limits)} == {*IN_THE_DATA, *IN_THE_TABLE}


@pytest.mark.parametrize(("expectation", "spoil"), IN_THE_DATA.items(), ids=IN_THE_DATA)
def test_a_defect_in_the_data_fails_its_expectation_alone(
    expectation: str, spoil: Callable[[Splits], None], splits: Splits, tables_of: Table, outcomes_of: Outcomes
) -> None:
    spoil(splits)
    outcomes = outcomes_of(tables_of(splits))
    assert failed(outcomes, besides="" if expectation == "labels-plausible" else "labels-plausible") == [expectation]
    assert outcomes[expectation].faults


@pytest.mark.parametrize(("expectation", "spoil"), IN_THE_TABLE.items(), ids=IN_THE_TABLE)
def test_a_defect_in_the_table_fails_its_expectation_alone(
    expectation: str,
    spoil: Callable[[pd.DataFrame], pd.DataFrame],
    splits: Splits,
    tables_of: Table,
    outcomes_of: Outcomes,
) -> None:
    frame, pairs = tables_of(splits)
    outcomes = outcomes_of((spoil(frame), pairs))
    assert failed(outcomes) == [expectation]
    assert outcomes[expectation].faults


def test_a_fault_says_which_picture_and_what_is_wrong_with_it(splits: Splits, tables_of: Table, outcomes_of: Outcomes) -> None:
    blank_picture(splits)
    outcome = outcomes_of(tables_of(splits))["no-blank-images"]
    (fault,) = outcome.faults
    assert (fault.split, fault.row, fault.value) == ("test", 7, 0.0)
    assert (fault.source_index, fault.class_name) == (splits["test"].source_index[7], str(splits["test"].labels[7]))
    assert (outcome.fault_count, outcome.observed_min, outcome.checked) == (1, 0.0, "1,795 pictures")


def test_copies_are_reported_side_by_side(splits: Splits, tables_of: Table, outcomes_of: Outcomes) -> None:
    for original, copy in ((2, 25), (3, 30)):
        splits["train"].images[copy] = splits["train"].images[original]
    faults = outcomes_of(tables_of(splits))["images-unique"].faults
    assert {frozenset((faults[0].row, faults[1].row)), frozenset((faults[2].row, faults[3].row))} == {
        frozenset((2, 25)),
        frozenset((3, 30)),
    }


def test_a_copy_in_another_split_names_that_split(splits: Splits, tables_of: Table, outcomes_of: Outcomes) -> None:
    copy_across_splits(splits)
    faults = outcomes_of(tables_of(splits))["no-image-in-two-splits"].faults
    assert {(fault.split, fault.row, fault.value) for fault in faults} == {
        ("train", 5, "also in test"),
        ("test", 5, "also in train"),
    }


def test_a_missing_column_fails_what_needs_it_with_a_reason(splits: Splits, tables_of: Table, outcomes_of: Outcomes) -> None:
    frame, pairs = tables_of(splits)
    outcomes = outcomes_of((frame.drop(columns="contrast"), pairs))
    assert failed(outcomes) == ["columns-present", "no-blank-images"]
    assert "contrast" in outcomes["no-blank-images"].observed
    assert outcomes["columns-present"].faults[0].column == "contrast"


def test_labels_on_disk_that_are_no_class_have_no_class_name(splits: Splits, tables_of: Table) -> None:
    splits["train"].labels[:2] = (-1, 10)
    assert list(tables_of(splits)[0]["class_name"][:2]) == ["", ""]


def test_faults_are_all_counted_and_the_first_are_kept(splits: Splits, tables_of: Table, outcomes_of: Outcomes) -> None:
    splits["train"].labels[:100] = 77
    outcome = outcomes_of(tables_of(splits))["labels-in-range"]
    assert (outcome.fault_count, len(outcome.faults)) == (100, 24)
