"""Each expectation finds its defect, and finds it alone."""

from collections.abc import Callable, Mapping

import pandas as pd
import pytest

from pipeline.dataset import Dataset, Description, Split, SplitName
from pipeline.params import EXPECTATIONS, ValidateParams
from pipeline.validate import features, near, profile, suite
from pipeline.validate.check import Outcome, check
from pipeline.validate.profile import Profile, Reference
from tests.validate.defects import IN_PRODUCTION, IN_THE_DATA, IN_THE_TABLE, Splits, blank_picture, copy_across_splits

Tables = tuple[pd.DataFrame, pd.DataFrame]  # features and pairs
Outcomes = Callable[..., Mapping[str, Outcome]]  # of Tables, and of a profile of what production was trained on
Table = Callable[[Splits], Tables]


@pytest.fixture
def description() -> Description:
    counts: dict[SplitName, int] = {"train": 1, "validation": 1, "test": 1}
    return Description("digits", (8, 8, 1), tuple("0123456789"), counts, (), "0" * 64)


@pytest.fixture
def outcomes_of(description: Description, limits: ValidateParams) -> Outcomes:
    # What the limit on imbalance lets through is, in so few pictures, barely more than chance.
    strict = limits.model_copy(update={"max_class_drift": 0.01})

    def made(tables: Tables, production: Profile | None = None, dataset: str = "digits") -> Mapping[str, Outcome]:
        reference = Reference(production.figures, production.classes, dataset, "0" * 64) if production else None
        return {outcome.id: outcome for outcome in check(*tables, description, strict, reference)}

    return made


@pytest.fixture
def tables_of(description: Description, limits: ValidateParams) -> Table:
    def made(splits: Splits) -> Tables:
        data = Dataset(description, splits["train"], splits["validation"], splits["test"])
        pairs = near.pairs(data, limits.near_copy_difference)
        return features.marked(features.table(data), pairs), pairs

    return made


def failed(outcomes: Mapping[str, Outcome], besides: str = "") -> list[str]:
    """All that are broken. `besides` is left out: labels-plausible guesses, and odd pictures make it guess at others too."""
    return [outcome.id for outcome in outcomes.values() if not outcome.passed and outcome.id != besides]


def test_good_data_passes_every_expectation(splits: Splits, tables_of: Table, outcomes_of: Outcomes) -> None:
    assert failed(outcomes_of(tables_of(splits))) == []


def test_params_name_every_expectation(description: Description, limits: ValidateParams) -> None:
    assert tuple(rule.id for rule in suite.rules(description, limits)) == EXPECTATIONS


def test_every_expectation_has_its_defect_here(description: Description, limits: ValidateParams) -> None:
    assert {rule.id for rule in suite.rules(description, limits)} == {
        *IN_THE_DATA,
        *IN_THE_TABLE,
        *IN_PRODUCTION,
    }


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


@pytest.fixture
def good_tables(tables_of: Table, good_splits: Mapping[SplitName, Split]) -> Tables:
    return tables_of({**good_splits})


def profile_of(tables: Tables) -> Profile:
    frame, _ = tables
    return profile.of(frame[frame["split"] == "train"], tuple("0123456789"))


def test_data_like_that_of_production_passes_every_expectation(good_tables: Tables, outcomes_of: Outcomes) -> None:
    outcomes = outcomes_of(good_tables, profile_of(good_tables))
    assert failed(outcomes) == []
    assert [outcomes[name].checked for name in IN_PRODUCTION] == ["4 comparisons", "4 comparisons", "10 classes"]
    assert outcomes["features-as-in-production"].observed == "0"


@pytest.mark.parametrize(("expectation", "spoil"), IN_PRODUCTION.items(), ids=IN_PRODUCTION)
def test_data_unlike_that_of_production_fails_its_expectation_alone(
    expectation: str,
    spoil: Callable[[Splits], None],
    good_tables: Tables,
    splits: Splits,
    tables_of: Table,
    outcomes_of: Outcomes,
) -> None:
    spoil(splits)
    outcomes = outcomes_of(good_tables, profile_of(tables_of(splits)))
    assert failed(outcomes) == [expectation]
    assert outcomes[expectation].faults


def test_classes_that_came_and_went_since_production_are_named(good_tables: Tables, outcomes_of: Outcomes) -> None:
    production = profile_of(good_tables)
    renamed = {("ten" if name == "3" else name): count for name, count in production.classes.items()}
    outcomes = outcomes_of(good_tables, Profile(production.figures, renamed))
    assert failed(outcomes) == ["classes-as-in-production"]
    faults = [str(fault) for fault in outcomes["classes-as-in-production"].faults]
    assert faults == ["3: new, production was not trained on it", "ten: gone, production was trained on it"]


@pytest.mark.parametrize(
    ("dataset", "reason"), [("", "no version in production to compare with"), ("cats", "data/reference is of cats")]
)
def test_nothing_in_production_passes_and_says_so(
    good_tables: Tables, outcomes_of: Outcomes, dataset: str, reason: str
) -> None:
    other = profile_of(good_tables) if dataset else None
    outcomes = outcomes_of(good_tables, other, dataset)
    assert failed(outcomes) == []
    assert all(reason in outcomes[name].observed for name in IN_PRODUCTION)


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
