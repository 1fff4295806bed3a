"""A registry with a history, its files, and other stores to publish it to."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline import tracking
from pipeline.project import Project
from pipeline.promotion import backup as records
from pipeline.promotion import chain
from pipeline.sync import command
from pipeline.tracking import backup
from tests.compare.trainings import MODEL, Trainings
from tests.promotion.checkouts import move_without_gate


@dataclass(frozen=True)
class Registry:
    """What a store says of a model; ids of runs and of logged models, which differ from store to store, are left out."""

    registered: backup.Registered
    records: Mapping[int, records.SavedRecord]
    problems: tuple[str, ...]

    @classmethod
    def of(cls, client: Any, trainings: Trainings) -> "Registry":
        found = backup.stored(client, MODEL)
        history = chain.check(client, trainings.workspace, MODEL)
        return cls(found, records.stored(client, MODEL), tuple(problem.text for problem in history.problems))


def with_history(trainings: Trainings) -> Registry:
    """Moves two of the three versions, deletes the other, and writes the files."""
    move_without_gate(trainings, "1", "staging", "production")
    move_without_gate(trainings, "3", "staging", "production")
    trainings.client.delete_model_version(MODEL, "2")
    records.save(trainings.client, trainings.workspace, MODEL)
    return Registry.of(trainings.client, trainings)


def files(trainings: Trainings) -> dict[str, bytes]:
    """The files in registry/."""
    return {path.name: path.read_bytes() for path in (trainings.workspace.registry / MODEL).iterdir()}


def use(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store that the checkout is configured with from now on."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)


def other_store(trainings: Trainings) -> str:
    """The address of a store that does not exist yet: MLflow keeps a deleted database open, so the tests leave it there."""
    return f"sqlite:///{trainings.workspace.home}/other.db"


def sync(trainings: Trainings, uri: str = "") -> Any:
    """Runs the command, and returns a client for the store."""
    command.run(uri, Project.load(trainings.workspace))
    return tracking.connect(trainings.workspace)


def folders(workspace_root: Path) -> set[Path]:
    return {path for path in workspace_root.rglob("*") if path.is_dir()}
