"""Files that a version is rebuilt from, forged: one line each, and nothing of them reaches git, a terminal or much memory."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from pipeline import dataset, provenance
from pipeline.errors import PipelineError
from pipeline.verify import recorded
from tests.verify.entries import DATA, RECORD


def refused(read: Callable[[Path], object], path: Path, content: str | bytes, message: str) -> None:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(PipelineError, match=message) as error:
        read(path)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"git": {"commit": "--upload-pack=evil"}}, r"git\.commit: String should match"),
        ({"git": {"commit": "c0ffee\n"}}, r"git\.commit: String should match"),
        ({"git": {"diff": "+\n" * 2_000_000}}, r"git\.diff: String should have at most"),
        ({"git": {"untracked": {"a": 1}}}, r"git\.untracked"),
        ({"threads": 10**9}, "threads: Input should be less"),
        ({"threads": 0}, "threads: Input should be greater"),
        ({"fit_seconds": math.nan}, "fit_seconds: Input should be a finite"),
        ({"temperature": -math.inf}, "temperature: Input should be a finite"),
        ({"parameters": 10**400}, "parameters: "),
        ({"params": {"train": {"epochs": [math.inf]}}}, r"params\.train\.epochs"),
        ({"params": {"train": {"epochs": math.nan}}}, r"params\.train\.epochs"),
        ({"warm_start": ["version"]}, "warm_start: "),
        ({"image_shape": [2, 2]}, r"image_shape\.2: "),
        ({"image_shape": [2, 2, -1]}, r"image_shape\.2: "),
        ({"loader": "evil"}, "loader: Unexpected keyword"),
        ({"\x1b[2K": 1}, r"\\x1b\[2K: Unexpected keyword"),
    ],
)
def test_a_forged_training_json_is_refused_by_key(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    content = asdict(RECORD)
    forged = {**content, **changes, "git": {**content["git"], **changes.get("git", {})}}
    refused(provenance.read_training, tmp_path / "training.json", json.dumps(forged), message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[" * 200_000, "recursion limit"),
        ("null", "Input should be an object"),
        ('"\\ud800"', "is not what train writes"),
        (b"\xff\xfe", "is not what train writes"),
        (" " * 10_000_001, "more than 10,000,000 bytes"),
    ],
)
def test_what_is_no_record_at_all_is_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    refused(provenance.read_training, tmp_path / "training.json", content, message)


@pytest.mark.parametrize(
    "changes",
    [
        {"digest": 7},
        {"counts": {"train": "many"}},
        {"counts": {"other": 1}},
        {"class_names": [1]},
        {"sources": [{"name": 1}]},
        {"image_shape": [28, 28]},
        {"loader": "evil"},
    ],
)
def test_a_forged_dataset_json_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = tmp_path / "dataset.json"
    refused(lambda path: dataset.describe(path.parent), path, json.dumps(asdict(DATA) | changes), "is not what ingest writes")
    refused(lambda path: dataset.describe(path.parent), path, "[" * 200_000, "is not what ingest writes")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("score,value,low,high\naccuracy,1e308,0,1\n", "a value out of range"),
        ("score,value,low,high\naccuracy,0.9,0,inf\n", "a value out of range"),
        ("score,value,low,high\nrecall,0.9,0,1\n", "accuracy"),
        ("score,value,low,high\naccuracy,0.9\n", "is not what evaluate writes"),
        ("score,value,low,high,\0\n\0\n", "is not what evaluate writes"),
        (b"\xff\xfe", "is not what evaluate writes"),
        (" " * 10_000_001, "too large"),
    ],
)
def test_forged_scores_are_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    refused(recorded.intervals, tmp_path / "intervals.csv", content, message)


def test_names_of_scores_are_shown_without_control_characters(tmp_path: Path) -> None:
    path = tmp_path / "intervals.csv"
    path.write_text("score,value,low,high\naccuracy,0.9,0.8,nan\n\x1b[2Kgood,1,1,1\n")
    assert [*recorded.intervals(path)] == ["accuracy", "[2Kgood"]


@pytest.mark.parametrize("content", [b"\xff\xfe", b" " * 10_000_001])
def test_a_forged_params_yaml_that_is_no_text_is_refused(tmp_path: Path, content: bytes) -> None:
    refused(recorded.text, tmp_path / "params.yaml", content, r"provenance/params\.yaml on the run is not what train wrote")
