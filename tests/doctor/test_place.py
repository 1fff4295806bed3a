"""A store that was moved, and one whose files are only in another folder."""

from pathlib import Path

import pytest

from pipeline.doctor import command
from pipeline.project import Project
from pipeline.workspace import Workspace
from tests.doctor.cases import DoctorCase


@pytest.fixture
def first(case_with_files: DoctorCase) -> Path:
    return case_with_files.registry.workspace.root


def doctor(folder: Path, fix: bool = False) -> bool:
    return command.run(fix, Project.load(Workspace(folder, folder)))


def test_a_moved_store_is_reported_alone_and_all_is_checked_once_it_is_fixed(
    first: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = first.rename(first.with_name("second"))
    assert not doctor(second)
    problem, way = capsys.readouterr().out.splitlines()
    assert problem.startswith(
        f"problem: the tracking store {second}/mlflow.db records files in {first}/mlartifacts, which is gone"
    )
    assert way == "`python -m pipeline doctor --fix` records that; then the rest can be checked"
    assert doctor(second, fix=True)
    fixed, found, _ = capsys.readouterr().out.splitlines()
    assert fixed.endswith("/mlartifacts; the database as it was: mlflow.db.before-move")
    assert found == "toys-classifier: no problems found"
    assert doctor(second)


def test_files_that_are_only_in_another_folder_are_noted_and_copied_on_request(
    first: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shared := first.with_name("shared")).mkdir()
    for name in ("mlflow.db", "params.yaml"):
        (first / name).rename(shared / name)
    assert doctor(shared)
    note, found, _ = capsys.readouterr().out.splitlines()
    assert note.startswith(f"note: 1 folder of runs and models are in {first}/mlartifacts alone, and lost with it")
    assert found == "toys-classifier: no problems found"
    assert doctor(shared, fix=True)
    assert "(1 folder copied from there)" in capsys.readouterr().out
    first.rename(first.with_name("gone"))
    assert doctor(shared)
