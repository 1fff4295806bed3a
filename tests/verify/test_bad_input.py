"""Versions that cannot be rebuilt: one line each, before anything is checked out."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline import tracking
from pipeline.errors import PipelineError
from pipeline.project import Project
from pipeline.verify import command
from pipeline.workspace import Workspace
from tests import stores
from tests.compare.trainings import MODEL, PLAIN, Trainings, write_data
from tests.conftest import PARAMS
from tests.tracking.model_files import alter, stored_files


def unknown(_: Trainings) -> str:
    return "7"


def without_evaluation(trainings: Trainings) -> str:
    write_data(trainings.workspace)
    return trainings.register(trainings.add(PLAIN, training_id="unscored", evaluated=False))


def without_params(trainings: Trainings) -> str:
    write_data(trainings.workspace)
    return trainings.register(trainings.add(PLAIN, training_id="unset", params_file=""))


def evaluated(trainings: Trainings, intervals: str = "score,value,low,high\naccuracy,0.75,0.5,1.0\n") -> str:
    write_data(trainings.workspace)
    run = trainings.add(PLAIN, training_id="scored")
    trainings.workspace.intervals.write_text(intervals)
    files = (trainings.workspace.predictions, trainings.workspace.baseline, trainings.workspace.intervals)
    stores.write_evaluation(trainings.workspace, {}, *files)
    stores.publish(trainings.client, trainings.workspace)
    return trainings.register(run)


def altered_files(trainings: Trainings) -> str:
    version = evaluated(trainings)
    alter(stored_files(trainings.client, MODEL, version))
    return version


def malformed_intervals(trainings: Trainings) -> str:
    return evaluated(trainings, "score,value\naccuracy,high\n")


def outside_git(trainings: Trainings) -> str:
    return evaluated(trainings)  # its record names a commit, and the workspace is no checkout


@pytest.mark.parametrize(
    ("defect", "message"),
    [
        (unknown, r"has no version or alias '7' \(it has 1, 2\)"),
        (
            without_evaluation,
            r"version 3 cannot be rebuilt: its run \w+ has no evaluation/intervals\.csv; `python -m pipeline sync`",
        ),
        (without_params, r"version 3 cannot be rebuilt: its run \w+ has no provenance/params\.yaml;"),
        (altered_files, r"version 3 is not what was registered: its file data/model\.keras was altered"),
        (malformed_intervals, r"intervals\.csv is not what evaluate writes"),
        (outside_git, r"trained at commit c0ffeec0ffee \(main\), which is not in this clone: .*\(fatal: not a git repository"),
    ],
)
def test_a_version_that_cannot_be_rebuilt_is_one_line(
    trainings: Trainings, defect: Callable[[Trainings], str], message: str
) -> None:
    version = defect(trainings)
    with pytest.raises(PipelineError, match=message) as error:
        command.run(version, True, Project.load(trainings.workspace))
    assert "\n" not in str(error.value)
    known = {entry.version: entry.tags for entry in trainings.client.search_model_versions(f"name = '{MODEL}'")}
    assert not any("verified" in tags for tags in known.values())


RECORD = "provenance/training.json"


@pytest.mark.parametrize(
    ("path", "forge", "message"),
    [
        (
            RECORD,
            lambda text: git(text, commit=None),
            r"code: git_commit is c0ffee\w+ in MLflow, unknown in provenance/training\.json",
        ),
        (RECORD, lambda text: git(text, branch="\x1b[2Kmain"), r"\(\[2Kmain\), which is not in this clone"),
        ("evaluation/predictions.parquet", lambda _: "PAR1", r"predictions\.parquet of .* is not what evaluate writes"),
    ],
)
def test_forged_provenance_on_the_run_is_one_line(
    scored: tuple[Trainings, str], path: str, forge: Callable[[str], str], message: str, tmp_path: Path
) -> None:
    trainings, version = scored
    run_id = trainings.client.get_model_version(MODEL, version).run_id
    stored = Path(trainings.client.download_artifacts(run_id, path, str(tmp_path)))
    before = stored.read_bytes()
    try:
        replace(trainings, run_id, path, forge(before.decode(errors="replace")).encode())
        with pytest.raises(PipelineError, match=message) as error:
            command.run(version, True, Project.load(trainings.workspace))
    finally:
        replace(trainings, run_id, path, before)
    assert str(error.value).isprintable()


def git(text: str, **changes: Any) -> str:
    return json.dumps({**json.loads(text), "git": {**json.loads(text)["git"], **changes}})


def replace(trainings: Trainings, run_id: str, path: str, content: bytes) -> None:
    file = trainings.workspace.root / "forged" / Path(path).name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    trainings.client.log_artifact(run_id, str(file), str(Path(path).parent))


@pytest.fixture(scope="module")
def scored(versions: Trainings, tmp_path_factory: pytest.TempPathFactory) -> tuple[Trainings, str]:
    """A version with all that a rebuild needs, in a copy of the store."""
    root = tmp_path_factory.mktemp("scored")
    shutil.copy(PARAMS, root)
    copy = Workspace(root, root)
    stores.copy(versions.workspace.database, copy)
    trainings = Trainings(copy, tracking.connect(copy))
    return trainings, evaluated(trainings)
