"""doctor names what the run of a version lacks, and the command that completes it."""

import shutil
from pathlib import Path

import pytest

from pipeline.doctor import complete
from pipeline.doctor.finding import Registry
from pipeline.project import Project
from pipeline.workspace import Workspace
from tests import stores
from tests.compare.trainings import PLAIN, Trainings, write_data
from tests.conftest import Shell


def lacking(workspace: Workspace) -> list[tuple[str, str]]:
    registry = Registry(stores.connect(workspace), Project.load(workspace))
    return [(finding.problem, finding.remedy) for finding in complete.check(registry).findings]


def test_a_run_that_holds_everything_is_no_problem(trainings: Trainings) -> None:
    assert lacking(trainings.workspace) == []


def test_a_version_without_evaluation_is_named_with_the_command_that_completes_it(trainings: Trainings) -> None:
    write_data(trainings.workspace)
    run_id = trainings.add(PLAIN, evaluated=False, training_id="new")
    trainings.register(run_id)
    problem = f"version 3: its run {run_id} lacks evaluation/evaluation.json"
    assert lacking(trainings.workspace) == [(problem, "no automatic fix: `dvc repro -s -f register` completes it")]
    shutil.rmtree(trainings.workspace.training.parent)
    sync = "no automatic fix: `python -m pipeline sync` in the checkout where it was trained completes it"
    assert lacking(trainings.workspace) == [(problem, sync)]


def test_what_was_taken_from_a_run_is_named(trainings: Trainings) -> None:
    version = trainings.client.get_model_version("fashion-mnist-classifier", "2")
    trainings.client.delete_tag(version.run_id, "weights_digest")
    assert lacking(trainings.workspace) == [
        (
            f"version 2: its run {version.run_id} lacks the tag weights_digest",
            "no automatic fix: `python -m pipeline sync` in the checkout where it was trained completes it",
        )
    ]


def test_a_run_of_other_programs_is_not_asked(trainings: Trainings) -> None:
    run = trainings.client.create_run("1")
    trainings.client.create_model_version("fashion-mnist-classifier", f"{run.info.artifact_uri}/model", run.info.run_id)
    assert lacking(trainings.workspace) == []


@pytest.mark.exhaustive
def test_the_command_that_doctor_names_completes_the_run(registered: Path, shell: Shell) -> None:
    (page,) = registered.glob("mlartifacts/digits/*/artifacts/evaluation/predictions.parquet")
    page.unlink()
    found = shell("python", "-m", "pipeline", "doctor", cwd=registered, check=False, COLUMNS="400")
    assert "lacks evaluation/predictions.parquet" in found.stdout
    assert "`dvc repro -s -f register` completes it" in found.stdout
    shell("dvc", "repro", "-s", "-f", "register", cwd=registered)
    assert "no problems found" in shell("python", "-m", "pipeline", "doctor", cwd=registered).stdout
    assert page.exists()
