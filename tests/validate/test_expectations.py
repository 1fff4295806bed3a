"""Each expectation finds its defect, and no other expectation does."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import pytest

from pipeline.dataset import Dataset, Description, Split, SplitName
from pipeline.params import EXPECTATIONS, ValidateParams
from pipeline.validate import stage, suite, tables
from pipeline.validate.check import Outcome, check
from tests.validate.defects import (
    IN_THE_DATA,
    IN_THE_FEATURES,
    Splits,
    blank_image,
    copy_across_splits,
    other_label_in_test,
    shifted_copy_across_splits,
)

Tables = tuple[pd.DataFrame, pd.DataFrame]  # features and pairs
OutcomesOf = Callable[[Tables], Mapping[str, Outcome]]
TablesOf = Callable[[Splits], Tables]
COUNTS: dict[SplitName, int] = {"train": 1, "validation": 1, "test": 1}
DESCRIPTION = Description("digits", (8, 8, 1), tuple("0123456789"), COUNTS, (), "0" * 64)


@pytest.fixture(scope="module")
def outcomes_of(limits: ValidateParams) -> OutcomesOf:
    # A class imbalance that its own limit allows is, in so few images, barely more than chance.
    # Four images per class are too few in all; a class of three among larger ones is too small.
    strict = limits.model_copy(update={"max_class_drift": 0.01, "min_images_per_class": 4})

    def outcomes(found: Tables) -> Mapping[str, Outcome]:
        frames = tables.build(*found, DESCRIPTION)
        return {outcome.id: outcome for outcome in check(frames, suite.rules(DESCRIPTION, strict), strict)}

    return outcomes


@pytest.fixture(scope="module")
def tables_of(limits: ValidateParams) -> TablesOf:
    def examined(splits: Splits) -> Tables:
        data = Dataset(DESCRIPTION, splits["train"], splits["validation"], splits["test"])
        return stage.examine(data, limits.near_duplicate_difference)[:2]

    return examined


@pytest.fixture(scope="module")
def good_tables(good_splits: Mapping[SplitName, Split], tables_of: TablesOf) -> Tables:
    return tables_of({**good_splits})


def failed(outcomes: Mapping[str, Outcome], ignored: str = "") -> list[str]:
    """Return the ids of all that failed but `ignored`."""
    return [outcome.id for outcome in outcomes.values() if not outcome.passed and outcome.id != ignored]


def test_good_data_passes_every_expectation(good_tables: Tables, outcomes_of: OutcomesOf) -> None:
    assert failed(outcomes_of(good_tables)) == []


def test_params_name_every_expectation(limits: ValidateParams) -> None:
    assert tuple(rule.id for rule in suite.rules(DESCRIPTION, limits)) == EXPECTATIONS


def test_every_expectation_has_its_defect_here() -> None:
    assert {*EXPECTATIONS} == {*IN_THE_DATA, *IN_THE_FEATURES}


@pytest.mark.parametrize(("expectation", "inject"), IN_THE_DATA.items(), ids=IN_THE_DATA)
def test_a_defect_in_the_data_fails_its_expectation_alone(
    expectation: str, inject: Callable[[Splits], None], splits: Splits, tables_of: TablesOf, outcomes_of: OutcomesOf
) -> None:
    inject(splits)
    outcomes = outcomes_of(tables_of(splits))
    # Label issues are an estimate: unusual images make others suspicious too.
    assert failed(outcomes, ignored="" if expectation == "no-label-issues" else "no-label-issues") == [expectation]
    assert outcomes[expectation].flagged


@pytest.mark.parametrize(("expectation", "inject"), IN_THE_FEATURES.items(), ids=IN_THE_FEATURES)
def test_a_defect_in_the_features_fails_its_expectation_alone(
    expectation: str, inject: Callable[[pd.DataFrame], pd.DataFrame], good_tables: Tables, outcomes_of: OutcomesOf
) -> None:
    frame, pairs = good_tables
    outcomes = outcomes_of((inject(frame), pairs))
    assert failed(outcomes) == [expectation]
    assert outcomes[expectation].flagged


def test_a_flagged_row_names_the_image_and_its_value(splits: Splits, tables_of: TablesOf, outcomes_of: OutcomesOf) -> None:
    blank_image(splits)
    outcome = outcomes_of(tables_of(splits))["no-blank-images"]
    (row,) = outcome.flagged
    assert (row.split, row.row, row.value) == ("test", 7, 0.0)
    assert (row.source_index, row.class_name) == (splits["test"].source_index[7], str(splits["test"].labels[7]))
    assert (outcome.flagged_count, outcome.observed_min, outcome.finding) == (1, 0.0, "1 of 1,795 images is blank")
    assert (row.brief, str(row)) == (
        "test row 7",
        f"test row 7 (source {row.source_index}, class {row.class_name}): contrast 0",
    )


def test_duplicates_are_reported_side_by_side(splits: Splits, tables_of: TablesOf, outcomes_of: OutcomesOf) -> None:
    for original, copy in ((2, 25), (3, 30)):
        splits["train"].images[copy] = splits["train"].images[original]
    rows = outcomes_of(tables_of(splits))["images-unique"].flagged
    assert {frozenset((rows[0].row, rows[1].row)), frozenset((rows[2].row, rows[3].row))} == {
        frozenset((2, 25)),
        frozenset((3, 30)),
    }


def test_a_duplicate_in_another_split_names_that_split(splits: Splits, tables_of: TablesOf, outcomes_of: OutcomesOf) -> None:
    copy_across_splits(splits)
    rows = outcomes_of(tables_of(splits))["no-image-in-two-splits"].flagged
    assert {(row.split, row.row, row.text) for row in rows} == {("train", 5, "also in test"), ("test", 5, "also in train")}


def test_a_near_duplicate_names_both_images(splits: Splits, tables_of: TablesOf, outcomes_of: OutcomesOf) -> None:
    shifted_copy_across_splits(splits)
    outcome = outcomes_of(tables_of(splits))["no-near-duplicates-across-splits"]
    assert outcome.finding == "1 of 1 pairs is across splits"
    (row,) = outcome.flagged
    assert (row.split, row.row, row.other_split, row.other_row) == ("test", 0, "train", 0)
    assert (row.brief, row.text) == ("test row 0 and train row 0", f"difference {row.value:.5g}")


def test_an_image_with_two_labels_in_two_splits_names_both(
    splits: Splits, tables_of: TablesOf, outcomes_of: OutcomesOf
) -> None:
    other_label_in_test(splits)
    rows = outcomes_of(tables_of(splits))["splits-agree-on-labels"].flagged
    train, test = splits["train"].labels[5], splits["test"].labels[5]
    assert {(row.split, row.row, row.text) for row in rows} == {
        (split, 5, f"labels: {train} in train, {test} in test") for split in ("train", "test")
    }


def test_a_check_that_flags_a_large_share_does_not_fit_the_data_and_lists_nothing(
    good_tables: Tables, outcomes_of: OutcomesOf
) -> None:
    frame, pairs = good_tables
    many = frame.assign(suggested=frame["suggested"].where(frame["row"] % 4 > 0, "7"))
    outcome = outcomes_of((many, pairs))["no-label-issues"]
    assert (outcome.fits, outcome.verdict, outcome.flagged) == (False, "warned", ())
    assert outcome.finding == f"this check does not fit these data: it flags {outcome.flagged_count} of 1,795 images"
    assert outcome.key == "validate.max_flagged_share"


def test_a_balanced_data_set_passes_whatever_its_splits(good_tables: Tables, outcomes_of: OutcomesOf) -> None:
    frame, pairs = good_tables
    equal = frame.groupby("label").head(170)
    for seed in range(5):
        shares = np.random.default_rng(seed).choice(["train", "validation", "test"], len(equal), p=[0.72, 0.08, 0.2])
        outcomes = outcomes_of((equal.assign(split=shares), pairs[:0]))
        assert outcomes["classes-balanced"].observed == "1"
        assert outcomes["class-shares-do-not-drift"].passed


def test_every_failure_names_its_key_and_the_way_out(limits: ValidateParams) -> None:
    for rule in suite.rules(DESCRIPTION, limits):
        section, _, key = rule.key.partition(".")
        assert not rule.key or hasattr(limits, key) or section == "ingest"
        assert rule.remedy(limits)
    assert {*suite.REMEDIES} == {*EXPECTATIONS}


def test_a_missing_column_fails_what_needs_it_with_a_reason(good_tables: Tables, outcomes_of: OutcomesOf) -> None:
    frame, pairs = good_tables
    outcomes = outcomes_of((frame.drop(columns="blank_band_share"), pairs))
    assert failed(outcomes) == ["columns-present", "no-lost-regions"]
    assert "blank_band_share" in outcomes["no-lost-regions"].observed
    assert outcomes["columns-present"].flagged[0].column == "blank_band_share"


def test_labels_on_disk_that_are_no_class_have_no_class_name(splits: Splits, tables_of: TablesOf) -> None:
    splits["train"].labels[:2] = (-1, 10)
    assert list(tables_of(splits)[0]["class_name"][:2]) == ["", ""]


def test_all_flagged_rows_are_counted_and_the_first_are_kept(
    splits: Splits, tables_of: TablesOf, outcomes_of: OutcomesOf
) -> None:
    splits["train"].labels[:100] = 77
    outcome = outcomes_of(tables_of(splits))["labels-in-range"]
    assert (outcome.flagged_count, len(outcome.flagged)) == (100, 24)
    assert outcome.finding == "100 of 1,795 images have an unknown label"
