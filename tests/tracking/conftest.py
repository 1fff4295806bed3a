"""A client of an empty store: creating one takes seconds, copying it none."""

from pathlib import Path
from typing import Any

import pytest

from pipeline import tracking
from pipeline.workspace import Workspace
from tests import stores


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("empty")
    workspace = Workspace(root, root)
    stores.connect(workspace)
    return workspace.database


@pytest.fixture
def client(workspace: Workspace, empty_store: Path) -> Any:
    stores.copy(empty_store, workspace)
    return tracking.connect(workspace)
