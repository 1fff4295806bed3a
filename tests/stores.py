"""The store of a workspace, for fixtures that outlive a test."""

import os
import shutil
from pathlib import Path
from typing import Any

from pipeline import tracking
from pipeline.params import TrackingParams
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
