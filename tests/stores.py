"""The store of a workspace, for fixtures that outlive a test."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline import provenance, tracking
from pipeline.params import TrackingParams
from pipeline.tracking import Content, EvaluationRecord
from pipeline.workspace import Workspace

LIMITS = TrackingParams(seconds_per_epoch=60, seconds_per_stage=120)
"""Longer than the stores of tests ever take."""


def connect(workspace: Workspace) -> Any:
    """A client for the store in `workspace`, whichever store another fixture used before.

    MLflow leaves the address of that in the environment, where it looks as if a person had set it; for fixtures of one test
    `_clean_environment` takes it away.
    """
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    return tracking.connect(workspace, create=True)


def copy(database: Path, workspace: Workspace) -> None:
    """Copy a database whose files stay where they are, reached through a link beside the copy: copying them takes longer."""
    shutil.copy(database, workspace.database)
    (database.parent / "mlartifacts").mkdir(exist_ok=True)
    workspace.artifacts.symlink_to(database.parent / "mlartifacts")


def publish(client: Any, workspace: Workspace) -> str:
    """Publish the outputs in `workspace`; return the id of the run."""
    return tracking.publish(client, workspace, Content.of_outputs(workspace))


def write_evaluation(workspace: Workspace, metrics: Mapping[str, float], *files: Path, **changes: Any) -> None:
    """Write evaluation.json of the training in models/, with files that are in reports/."""
    record = EvaluationRecord(
        weights_digest=provenance.read_training(workspace.training).weights_digest,
        metrics=metrics,
        tags={},
        description="",
        files=tuple(file.name for file in files),
    )
    tracking.write_evaluation(workspace.evaluation, replace(record, **changes))
