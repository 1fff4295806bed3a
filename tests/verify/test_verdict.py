"""What a second derivation says of a version."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from pipeline.provenance import GitState, TrainingRecord
from pipeline.verify import verdict
from pipeline.verify.verdict import Difference, Score

RECORD = TrainingRecord(
    training_id="6f3c",
    dataset_name="digits",
    dataset_digest="da" * 32,
    image_shape=(28, 28, 1),
    class_names=("0", "1"),
    architecture="notebook",
    parameters=650,
    params={"ingest": {"seed": 42}, "train": {"epochs": 10, "threads": 0}},
    threads=2,
    warm_start={},
    started_ms=1,
    git=GitState("c0ffee", "main", False, "", ()),
    environment={"python": "3.11.7", "tensorflow": "2.21.0"},
    model_summary="",
    weights_digest="aa" * 32,
    finished_ms=2,
    fit_seconds=1.0,
)
GOOD = Score("accuracy", 0.9, 0.88, 0.92, 0.9)
NEAR, FAR = replace(GOOD, again=0.885), replace(GOOD, again=0.87)
OTHER = replace(RECORD, weights_digest="bb" * 32)
TAGS = {"dataset_digest": "da" * 32, "git_commit": "c0ffee", "weights_digest": "aa" * 32, "gate": "passed"}
LOGGED = {"ingest.seed": "42", "train.epochs": "10", "train.threads": "0", "threads_used": "2", "parameters": "650"}


def test_equal_weights_are_bitwise_the_same() -> None:
    found = verdict.judge(RECORD, RECORD, [GOOD])
    assert (found.outcome, found.differences) == ("bitwise", [])


def test_equal_weights_elsewhere_are_bitwise_the_same_and_the_environment_is_noted() -> None:
    found = verdict.judge(RECORD, replace(RECORD, environment={"python": "3.12.1", "tensorflow": "2.21.0"}), [GOOD])
    assert found.outcome == "bitwise"
    assert list(map(str, found.differences)) == ["environment: python was 3.11.7, is 3.12.1"]


def test_the_number_of_threads_may_be_set_anew_as_a_param() -> None:
    again = replace(RECORD, params={"ingest": {"seed": 42}, "train": {"epochs": 10, "threads": 2}})
    assert verdict.judge(RECORD, again, [GOOD]).differences == []


def test_other_weights_that_are_as_good_are_statistically_the_same_and_say_why_they_may_differ() -> None:
    again = replace(OTHER, environment={"python": "3.11.7", "tensorflow": "2.22.0"})
    found = verdict.judge(RECORD, again, [GOOD, NEAR])
    assert found.outcome == "statistical"
    assert found.detail == "every score within its recorded interval; environment: tensorflow was 2.21.0, is 2.22.0"


@pytest.mark.parametrize(
    ("recorded", "again", "told"),
    [
        (RECORD, OTHER, "numbers: accuracy is 0.8700, outside 0.8800 – 0.9200"),
        (RECORD, RECORD, "numbers: accuracy is 0.8700, outside 0.8800 – 0.9200"),
        (
            RECORD,
            replace(OTHER, threads=8),
            "environment: threads was 2, is 8; numbers: accuracy is 0.8700, outside 0.8800 – 0.9200",
        ),
        (
            replace(RECORD, git=GitState("c0ffee", "main", True, "", ("notes.txt", "pipeline/train/new.py"))),
            replace(OTHER, threads=8),
            "code: pipeline/train/new.py was not in git when it was trained, so it was not recorded",
        ),
    ],
)
def test_a_failure_names_the_first_difference(recorded: TrainingRecord, again: TrainingRecord, told: str) -> None:
    found = verdict.judge(recorded, again, [GOOD, FAR])
    assert (found.outcome, found.detail) == ("failed", told)


def test_an_altered_param_fails_even_where_the_weights_are_equal() -> None:
    found = verdict.judge(RECORD, replace(RECORD, params={"ingest": {"seed": 7}, "train": {"epochs": 10}}), [GOOD])
    assert found.outcome == "failed"
    assert found.detail == "params: ingest.seed is 7 in provenance/params.yaml, 42 in provenance/training.json"


def test_an_entry_that_says_one_thing_contradicts_nothing() -> None:
    assert verdict.contradictions(RECORD, TAGS, LOGGED) == []


@pytest.mark.parametrize(
    ("tags", "logged", "told"),
    [
        ({"dataset_digest": "ff" * 32}, {}, "data: dataset_digest is ffffffffffff by the version's tag, dadadadadada by"),
        ({"git_commit": "decaf"}, {}, "code: git_commit is decaf by the version's tag, c0ffee by provenance/training.json"),
        ({}, {"train.epochs": "11"}, "params: train.epochs is 11 by the run's params, 10 by provenance/training.json"),
        ({"weights_digest": "ff" * 32}, {}, "numbers: weights_digest is ffffffffffff by the version's tag, aaaaaaaaaaaa by"),
        ({"git_commit": "decaf"}, {"threads_used": "8"}, "code: git_commit is decaf"),
    ],
)
def test_an_entry_that_contradicts_itself_is_found(tags: Mapping[str, str], logged: Mapping[str, str], told: str) -> None:
    first = verdict.contradictions(RECORD, {**TAGS, **tags}, {**LOGGED, **logged})[0]
    assert str(first).startswith(told)


def test_data_explains_code_explains_params_explains_environment_explains_numbers() -> None:
    assert [each.kind for each in verdict.ordered([Difference(kind, "") for kind in reversed(verdict.KINDS)])] == [
        *("data", "code", "params", "environment", "numbers")
    ]
