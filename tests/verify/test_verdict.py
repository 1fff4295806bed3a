"""The verdict on a rebuilt version."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from pipeline.provenance import GitState, TrainingRecord, Value
from pipeline.verify import verdict
from pipeline.verify.verdict import Score
from tests.verify.entries import RECORD

GOOD = Score("accuracy", 0.9, 0.88, 0.92, 0.9)
NEAR, FAR = replace(GOOD, rebuilt=0.885), replace(GOOD, rebuilt=0.87)
OTHER = replace(RECORD, weights_digest="bb" * 32)
TAGS = {"dataset_digest": "da" * 32, "git_commit": "c0ffee", "weights_digest": "aa" * 32, "gate": "passed"}
LOGGED = {"ingest.seed": "42", "train.epochs": "10", "train.threads": "0", "threads_used": "2", "parameters": "650"}


def test_equal_weights_are_bitwise() -> None:
    found = verdict.judge(RECORD, RECORD, [GOOD])
    assert (found.outcome, found.differences) == ("bitwise", [])


def test_equal_weights_in_another_environment_are_bitwise_and_the_environment_is_listed() -> None:
    found = verdict.judge(RECORD, replace(RECORD, environment={"python": "3.12.1", "tensorflow": "2.21.0"}), [GOOD])
    assert found.outcome == "bitwise"
    assert list(map(str, found.differences)) == ["environment: python was 3.11.7, is 3.12.1"]


def test_params_that_verify_sets_are_no_difference() -> None:
    changed: Mapping[str, Mapping[str, Value]] = {
        "ingest": {"seed": 42, "source": "/photos"},
        "train": {"epochs": 10, "threads": 2, "warm_start": "parent"},
    }
    assert verdict.judge(RECORD, replace(RECORD, params=changed), [GOOD]).differences == []


def test_other_weights_with_scores_within_their_intervals_are_statistical_and_name_a_likely_cause() -> None:
    rebuilt = replace(OTHER, environment={"python": "3.11.7", "tensorflow": "2.22.0"})
    found = verdict.judge(RECORD, rebuilt, [GOOD, NEAR])
    assert found.outcome == "statistical"
    assert found.detail == "every score is within its recorded interval; environment: tensorflow was 2.21.0, is 2.22.0"


@pytest.mark.parametrize(
    ("recorded", "rebuilt", "detail"),
    [
        (RECORD, OTHER, "results: accuracy is 0.8700, outside 0.8800 – 0.9200"),
        (RECORD, RECORD, "results: accuracy is 0.8700, outside 0.8800 – 0.9200"),
        (
            RECORD,
            replace(OTHER, threads=8),
            "environment: threads was 2, is 8; results: accuracy is 0.8700, outside 0.8800 – 0.9200",
        ),
        (
            replace(RECORD, git=GitState("c0ffee", "main", True, "", ("notes.txt", "pipeline/train/new.py"))),
            replace(OTHER, threads=8),
            "code: pipeline/train/new.py was not in git at training time, so it was not recorded",
        ),
    ],
)
def test_a_failure_names_the_first_difference(recorded: TrainingRecord, rebuilt: TrainingRecord, detail: str) -> None:
    found = verdict.judge(recorded, rebuilt, [GOOD, FAR])
    assert (found.outcome, found.detail) == ("failed", detail)


def test_an_altered_param_fails_even_where_the_weights_are_equal() -> None:
    found = verdict.judge(RECORD, replace(RECORD, params={"ingest": {"seed": 7}, "train": {"epochs": 10}}), [GOOD])
    assert found.outcome == "failed"
    assert found.detail == "params: ingest.seed is 7 in provenance/params.yaml, 42 in provenance/training.json"


def test_a_consistent_entry_has_no_contradictions() -> None:
    assert verdict.contradictions(RECORD, TAGS, LOGGED) == []


@pytest.mark.parametrize(
    ("tags", "logged", "first"),
    [
        ({"dataset_digest": "ff"}, {}, "data: dataset_digest is ff in MLflow, dadadadada"),
        ({"git_commit": "decaf"}, {}, "code: git_commit is decaf in MLflow, c0ffee in provenance/training.json"),
        ({}, {"train.epochs": "11"}, "params: train.epochs is 11 in MLflow, 10 in provenance/training.json"),
        ({"weights_digest": "ff"}, {}, "results: weights_digest is ff in MLflow, aaaaaaaaaa"),
        ({"weights_digest": "ff", "git_commit": "decaf"}, {"threads_used": "8"}, "code: git_commit is decaf"),
    ],
)
def test_a_contradiction_in_an_entry_is_found_causes_before_effects(
    tags: Mapping[str, str], logged: Mapping[str, str], first: str
) -> None:
    found = verdict.contradictions(RECORD, {**TAGS, **tags}, {**LOGGED, **logged})
    assert len(found) == len(tags) + len(logged)
    assert str(found[0]).startswith(first)


def test_differences_are_listed_causes_before_effects() -> None:
    recorded = replace(RECORD, git=GitState("c0ffee", "main", True, "", ("pipeline/new.py",)))
    rebuilt = replace(OTHER, threads=8, params={"ingest": {"seed": 7}, "train": {"epochs": 10}})
    found = verdict.judge(recorded, rebuilt, [FAR]).differences
    assert [each.kind for each in found] == ["code", "params", "environment", "results", "results"]
