"""A model with three versions of different quality, none of them in a stage yet: what promote, rollback and archive work on."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import tracking
from pipeline.project import Project
from pipeline.promotion import command, ledger, transitions
from pipeline.promotion.record import Record
from pipeline.tracking import lock
from pipeline.workspace import Workspace
from tests.compare.trainings import MODEL, PLAIN, SWAPPED, Trainings, write_data

LABELS = (0, 0, 0, 1, 1, 2, 2, 2) * 10  # of which `PLAIN` predicts 70 correctly, `HALF` 40, `SWAPPED` 20
HALF = (0, 1, 1)
WEAK, MEDIUM, BETTER = "1", "2", "3"
LIMITS = {
    "min_accuracy: 0.90": "min_accuracy: 0.45",
    "min_class_recall: 0.60": "min_class_recall: 0.0",
    "max_calibration_error: 0.08": "max_calibration_error: 1.0",
}


def set_params(workspace: Workspace, changes: dict[str, str]) -> None:
    text = workspace.params.read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    workspace.params.write_text(text)


def checkout(root: Path) -> Workspace:
    """A workspace with data, and limits that two of the three keep."""
    for name in ("params.yaml", "../dvc.yaml"):
        shutil.copy(Path(__file__).parents[1] / name, root)
    workspace = Workspace(root, root)
    set_params(workspace, LIMITS)
    write_data(workspace, LABELS)
    return workspace


def register_three(trainings: Trainings) -> Trainings:
    for reads in (SWAPPED, HALF, PLAIN):
        trainings.register(trainings.add(reads))
    return trainings


def promote_to(
    candidates: Trainings, version: str, target: command.Target, reason: str = "", force: bool = False, dry: bool = False
) -> None:
    command.promote(version, target, reason, force, dry, Project.load(candidates.workspace))


def move_without_gate(candidates: Trainings, version: str, *targets: str) -> None:
    """Moves a version without asking a gate."""
    client = candidates.client
    experiment = tracking.experiment_id(client, candidates.workspace, ledger.experiment_name(MODEL), tracking.PROMOTIONS)
    for target in targets:
        with lock.held(client, MODEL) as held:
            now = transitions.current_stages(client, MODEL)
            record = Record(
                kind="promote",
                who="somebody",
                when=ledger.now(),
                model=MODEL,
                version=version,
                source=now.stage_of(version),
                target=target,
                replaced=now.aliases.get(target),
                reason="",
                rows=(),
                git_commit=None,
                evidence="",
                weights_digest=now.versions[version].weights_digest,
                run_id=now.versions[version].run_id,
            )
            transitions.move(client, held, experiment, ledger.read(client, MODEL).entries, record)


def stage_of(candidates: Trainings, version: str) -> str:
    """The stage, where alias, tag and MLflow's field agree."""
    entry = candidates.client.get_model_version(MODEL, version)
    stage = transitions.current_stages(candidates.client, MODEL).stage_of(version)
    assert entry.current_stage.lower() == stage
    assert entry.tags.get("stage", "none") == stage
    return stage


def records(candidates: Trainings) -> list[Record]:
    return [entry.record for entry in ledger.read(candidates.client, MODEL).entries]


def remove_data(candidates: Trainings) -> str:
    candidates.workspace.dataset.rename(candidates.workspace.dataset.with_name("gone"))
    return MEDIUM


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def pipeline(workspace: Workspace, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *command],
        cwd=workspace.root,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
