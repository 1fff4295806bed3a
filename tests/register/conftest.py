"""A store with a registered model of eight versions without files: enough for locks, stages and history."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline import tracking
from pipeline.workspace import Workspace
from tests.register.moves import MODEL, VERSIONS, Registry


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database to copy: making one takes seconds."""
    root = tmp_path_factory.mktemp("registry")
    workspace = Workspace(root, root)
    client = tracking.connect(workspace)
    client.create_registered_model(MODEL)
    for _ in range(VERSIONS):
        client.create_model_version(MODEL, source=str(root))
    return workspace.database


@pytest.fixture
def registry(empty_registry: Path, workspace: Workspace) -> Registry:
    shutil.copy(empty_registry, workspace.database)
    return Registry(workspace, tracking.connect(workspace))


@pytest.fixture
def client(registry: Registry) -> Any:
    return registry.client
