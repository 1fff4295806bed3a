"""A store with a registered model of eight versions without files: enough for locks, stages and history."""

import os
from pathlib import Path
from typing import Any

import pytest

from pipeline import tracking
from pipeline.workspace import Workspace
from tests import stores
from tests.promotion.registry import Registry


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database to copy: making one takes seconds."""
    root = tmp_path_factory.mktemp("registry")
    workspace = Workspace(root, root)
    Registry(workspace, stores.connect(workspace)).add_versions()
    return workspace.database


@pytest.fixture
def registry(empty_registry: Path, workspace: Workspace) -> Registry:
    """In SQLite."""
    stores.copy(empty_registry, workspace)
    return Registry(workspace, tracking.connect(workspace))


@pytest.fixture
def server_registry(server: str, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """On the server, with a model of its own for each test."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    registry = Registry(workspace, tracking.connect(workspace), f"toys-{os.urandom(4).hex()}-classifier")
    registry.add_versions()
    return registry


@pytest.fixture
def client(registry: Registry) -> Any:
    return registry.client


@pytest.fixture(params=["registry", pytest.param("server_registry", marks=pytest.mark.exhaustive)])
def store(request: pytest.FixtureRequest) -> Registry:
    """A registry in SQLite, and one on an MLflow server over PostgreSQL."""
    found: Registry = request.getfixturevalue(request.param)
    return found
