"""Each expectation finds its defect, and finds it alone."""

from collections.abc import Callable, Mapping

import pandas as pd
import pytest

from pipeline.dataset import Dataset, Description, SplitName
from pipeline.params import EXPECTATIONS, ValidateParams
from pipeline.validate import features, near_duplicates, suite
from pipeline.validate.check import Outcome, check
from tests.validate.defects import IN_THE_DATA, IN_THE_TABLE, Splits, blank_picture, copy_across_splits

Tables = tuple[pd.DataFrame, pd.DataFrame]  # features and pairs
Outcomes = Callable[[Tables], Mapping[str, Outcome]]
Table = Callable[[Splits], Tables]


@pytest.fixture
def description() -> Description:
    counts: dict[SplitName, int] = {"train": 1, "validation": 1, "test": 1}
    return Description("digits", (8, 8, 1), tuple("0123456789"), counts, (), "0" * 64)


@pytest.fixture
def outcomes_of(description: Description, limits: ValidateParams) -> Outcomes:
    # What the limit on imbalance lets through is, in so few pictures, barely more than chance.
    strict = limits.model_copy(update={"max_class_drift": 0.01})

    def made(tables: Tables) -> Mapping[str, Outcome]:
        return {outcome.id: outcome for outcome in check(*tables, description, strict)}

    return made


@pytest.fixture
def tables_of(description: Description, limits: ValidateParams) -> Table:
    def made(splits: Splits) -> Tables:
        data = Dataset(description, splits["train"], splits["validation"], splits["test"])
        pairs = near_duplicates.pairs(data, limits.near_duplicate_difference)
        return features.marked(features.table(data), pairs), pairs

    return made


def failed(outcomes: Mapping[str, Outcome], besides: str = "") -> list[str]:
    """All that are broken. `besides` is left out: no-label-issues guesses, and odd pictures make it guess at others too."""
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
    assert failed(outcomes, besides="" if expectation == "no-label-issues" else "no-label-issues") == [expectation]
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
