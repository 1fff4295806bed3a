"""The verdict on a rebuilt version."""

import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.predictions import Predictions
from pipeline.provenance import GitState, TrainingRecord, Value
from pipeline.verify import verdict
from pipeline.verify.verdict import Agreement
from tests.verify.entries import RECORD

EQUAL = Agreement(images=1000, equal=1000, lost=0, won=0, identical=True, misreported=0)
NEAR = replace(EQUAL, equal=950, lost=20, won=15, identical=False)
FAR = replace(EQUAL, equal=900, lost=60, won=20, identical=False)
OTHER = replace(RECORD, weights_digest="bb" * 32)
NEWER = {"python": "3.11.7", "tensorflow": "2.22.0"}
TAGS = {"dataset_digest": "da" * 32, "git_commit": "c0ffee", "weights_digest": "aa" * 32, "gate": "passed"}
LOGGED = {"ingest.seed": "42", "train.epochs": "10", "train.threads": "0", "threads_used": "2", "parameters": "650"}


def test_equal_weights_files_and_predictions_are_bitwise() -> None:
    found = verdict.judge(RECORD, RECORD, [], EQUAL)
    assert (found.outcome, found.differences) == ("bitwise", [])
    assert found.detail == "its weights (aaaaaaaaaaaa), files and predictions for 1,000 images are equal"


def test_equal_weights_in_another_environment_are_bitwise_and_the_environment_is_listed() -> None:
    found = verdict.judge(RECORD, replace(RECORD, environment={"python": "3.12.1", "tensorflow": "2.21.0"}), [], EQUAL)
    assert found.outcome == "bitwise"
    assert list(map(str, found.differences)) == ["environment: python was 3.11.7, is 3.12.1"]


def test_params_that_verify_sets_are_no_difference() -> None:
    changed: Mapping[str, Mapping[str, Value]] = {
        "ingest": {"seed": 42, "source": "/photos"},
        "train": {"epochs": 10, "threads": 2, "warm_start": "parent"},
    }
    assert verdict.judge(RECORD, replace(RECORD, params=changed), [], EQUAL).differences == []


def test_other_weights_that_predict_as_well_image_by_image_are_statistical_and_name_a_likely_cause() -> None:
    found = verdict.judge(RECORD, replace(OTHER, environment=NEWER), [], NEAR)
    assert found.outcome == "statistical"
    assert found.detail == (
        "950 of 1,000 predictions are equal; 20 images only the recorded model predicts correctly, 15 only the rebuilt one "
        "(McNemar's p = 0.5); environment: tensorflow was 2.21.0, is 2.22.0"
    )


def test_files_that_another_library_may_write_otherwise_are_not_bitwise() -> None:
    found = verdict.judge(RECORD, replace(RECORD, environment=NEWER), ["MLmodel"], EQUAL)
    assert found.outcome == "statistical"


@pytest.mark.parametrize(
    ("recorded", "rebuilt", "files", "agreement", "detail"),
    [
        (RECORD, OTHER, [], FAR, "results: 900 of 1,000 predictions are equal; 60 images only"),
        (RECORD, OTHER, [], replace(FAR, lost=20, won=60), "results: 900 of 1,000 predictions are equal; 20 images only"),
        (RECORD, RECORD, [], replace(EQUAL, identical=False), "results: 1,000 of 1,000 predictions are equal"),
        (RECORD, RECORD, ["MLmodel"], EQUAL, "files: MLmodel is not as registered"),
        (RECORD, OTHER, ["code/loader.py", "MLmodel"], NEAR, "files: code/loader.py is not as registered"),
        (
            RECORD,
            RECORD,
            [],
            replace(EQUAL, misreported=2),
            "results: evaluation/predictions.parquet on the run differs from what the version predicts for 2 of 1,000 images",
        ),
        (RECORD, replace(OTHER, threads=8), [], FAR, "environment: threads was 2, is 8; results: 900 of 1,000 predictions"),
        (RECORD, replace(RECORD, threads=8), ["MLmodel"], EQUAL, "environment: threads was 2, is 8; files: MLmodel is not"),
        (
            replace(RECORD, git=GitState("c0ffee", "main", True, "", ("notes.txt", "pipeline/train/new.py"))),
            replace(OTHER, threads=8),
            [],
            FAR,
            "code: pipeline/train/new.py was not in git at training time, so it was not recorded",
        ),
        (
            replace(RECORD, git=GitState("c0ffee", "main", True, "", (), withheld=True)),
            OTHER,
            [],
            FAR,
            "code: there were uncommitted changes that were not recorded (train.record_diff: false)",
        ),
    ],
)
def test_a_failure_names_the_first_difference(
    recorded: TrainingRecord, rebuilt: TrainingRecord, files: list[str], agreement: Agreement, detail: str
) -> None:
    found = verdict.judge(recorded, rebuilt, files, agreement)
    assert found.outcome == "failed"
    assert found.detail.startswith(detail)


def test_an_altered_param_fails_even_where_the_weights_are_equal() -> None:
    changed = replace(RECORD, params={"ingest": {"seed": 7}, "train": {"epochs": 10}})
    found = verdict.judge(RECORD, changed, [], EQUAL)
    assert found.outcome == "failed"
    assert found.detail == "params: ingest.seed is 7 in provenance/params.yaml, 42 in provenance/training.json"


@pytest.mark.parametrize("section", ["validate", "evaluate", "register", "promote"])
def test_a_limit_that_cannot_shape_the_weights_is_told_and_not_fatal(section: str) -> None:
    before, now = ({**RECORD.params, section: {"limit": value}} for value in (5, 6))
    found = verdict.judge(replace(RECORD, params=before), replace(RECORD, params=now), [], EQUAL)
    assert found.outcome == "bitwise"
    assert list(map(str, found.differences)) == [
        f"limits: {section}.limit is 6 in provenance/params.yaml, 5 in provenance/training.json"
    ]
    (told,) = verdict.contradictions(replace(RECORD, params=before), TAGS, {**LOGGED, f"{section}.limit": "6"})
    assert told.kind == "limits"


def probabilities(*rows: tuple[float, float]) -> NDArray[np.float32]:
    return np.array(rows, np.float32)


def test_predictions_are_compared_image_by_image_and_the_runs_file_with_the_registered_model() -> None:
    labels = np.array([0, 0, 0, 1], np.int32)
    registered = probabilities((0.9, 0.1), (0.9, 0.1), (0.4, 0.6), (0.1, 0.9))
    rebuilt = probabilities((0.9, 0.1), (0.3, 0.7), (0.8, 0.2), (0.1, 0.9))
    reported = Predictions(source_index=labels, labels=labels, probabilities=registered)
    assert verdict.agreement(labels, registered, rebuilt, reported) == Agreement(4, 2, 1, 1, False, 0)
    assert verdict.agreement(labels, registered, registered + np.float32(1e-6), reported).identical
    forged = replace(reported, probabilities=rebuilt)
    assert verdict.agreement(labels, registered, registered, forged).misreported == 2
    assert verdict.agreement(labels, registered, registered, replace(reported, labels=labels[::-1])).misreported == 4
    fewer = replace(reported, labels=labels[:2], probabilities=registered[:2])
    assert verdict.agreement(labels, registered, registered, fewer).misreported == 4


MLMODEL = """flavors:
  keras:
    keras_version: 3.15.1
  python_function:
    loader_module: mlflow.keras
    python_version: 3.11.7
mlflow_version: 3.17.2
model_id: m-{id}
run_id: {id}
utc_time_created: '{id}'
"""
LIBRARIES = {"python": "3.11.7", "keras": "3.15.1", "mlflow": "3.17.2", "tensorflow": "2.21.0"}
PINS = "- python=3.11.7\n- pip<=23.2.1\n- mlflow==3.17.2\n- tensorflow==2.21.0\n"


def entry_files(folder: Path, number: str, **changes: str) -> Path:
    """The files of an entry with ids and times of its own, some replaced; "" leaves one out."""
    folder.mkdir()
    files = {"MLmodel": MLMODEL.format(id=number), "conda.yaml": PINS.replace("23.2.1", number), "input_example.json": "[[1]]"}
    for name, text in {**files, **{name.replace("_yaml", ".yaml"): text for name, text in changes.items()}}.items():
        if text:
            (folder / name).write_text(text)
    with zipfile.ZipFile(folder / "model.keras", "w") as archive:
        archive.writestr("metadata.json", f'{{"keras_version": "3.15.1", "date_saved": "{number}"}}')
        archive.writestr("config.json", changes.get("config", f'{{"shared_object_id": {number}}}'))
        archive.writestr("model.weights.h5", "of a size")
    return folder


def test_files_differ_by_more_than_ids_times_and_versions_that_the_environment_explains(tmp_path: Path) -> None:
    registered = entry_files(tmp_path / "registered", "1")
    cases: dict[str, tuple[dict[str, str], dict[str, str], list[str]]] = {
        "equal": ({}, {}, []),
        "newer": (
            {"MLmodel": MLMODEL.format(id="2").replace("3.15.1", "4.0"), "conda_yaml": PINS.replace("2.21.0", "3.0")},
            {"keras": "4.0", "tensorflow": "3.0"},
            ["model.keras"],
        ),
        "unexplained": ({"conda_yaml": PINS.replace("2.21.0", "1.0")}, {}, ["conda.yaml"]),
        "loader": ({"MLmodel": MLMODEL.format(id="2").replace("mlflow.keras", "evil")}, {}, ["MLmodel"]),
        "code": ({"MLmodel": MLMODEL.format(id="2") + "code: code\n"}, {}, ["MLmodel"]),
        "added": ({"code": "import os"}, {}, ["code"]),
        "requirement": ({"conda_yaml": PINS + "- evil==1.0\n"}, {}, ["conda.yaml"]),
        "missing": ({"MLmodel": ""}, {}, ["MLmodel"]),
        "layers": ({"config": '{"shared_object_id": 3, "class_name": "Lambda"}'}, {}, ["config", "model.keras"]),
        "image": ({"input_example.json": "[[2]]"}, {}, ["input_example.json"]),
    }
    for name, (changes, libraries, wanted) in cases.items():
        rebuilt = entry_files(tmp_path / name, "2", **changes)
        assert verdict.differing_files(registered, rebuilt, LIBRARIES, {**LIBRARIES, **libraries}) == wanted, name


def test_a_consistent_entry_has_no_contradictions() -> None:
    assert verdict.contradictions(RECORD, TAGS, LOGGED) == []
    without_git = replace(RECORD, git=replace(RECORD.git, commit=None))
    assert verdict.contradictions(without_git, {**TAGS, "git_commit": "unknown"}, LOGGED) == []


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
    rebuilt = replace(OTHER, threads=8, params={"ingest": {"seed": 7}, "train": {"epochs": 10}, "validate": {"limit": 1}})
    found = verdict.judge(recorded, rebuilt, ["MLmodel"], replace(FAR, misreported=9)).differences
    assert [each.kind for each in found] == [
        *("code", "params", "limits", "environment", "files", "results", "results", "results")
    ]
