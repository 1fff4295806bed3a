"""A store with two versions of a model, read only; and a copy that a test may add to."""

import shutil
from pathlib import Path

import pytest

from pipeline import tracking
from pipeline.workspace import Workspace
from tests.commands.trainings import MODEL, PLAIN, SWAPPED, Trainings, write_data

PARAMS = Path(__file__).parents[1] / "params.yaml"


@pytest.fixture(scope="package")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Trainings:
    """Version 1, production, is right on 3 of 8 pictures; version 2, staging, on 6. Read it."""
    root = tmp_path_factory.mktemp("versions")
    workspace = Workspace(root, root)
    shutil.copy(PARAMS, root)
    write_data(workspace)
    made = Trainings(workspace, tracking.connect(workspace))
    for reads, alias in ((SWAPPED, "production"), (PLAIN, "staging")):
        params = {"ingest": {"dataset": "fashion-mnist"}, "train": {"epochs": 2 + 3 * (alias == "staging"), "seed": 42}}
        version = made.register(made.add(reads, params=params))
        made.client.set_registered_model_alias(MODEL, alias, version)
    return made


@pytest.fixture
def trainings(versions: Trainings, tmp_path: Path) -> Trainings:
    """A copy of the store in a workspace without data, models and reports, to add to."""
    shutil.copy(PARAMS, tmp_path)
    copy = Workspace(tmp_path, tmp_path)
    shutil.copy(versions.workspace.database, copy.database)
    return Trainings(copy, tracking.connect(copy))
