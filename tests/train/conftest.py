"""A small data set that is ready for training, and one training of it that many tests read."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from sklearn.datasets import load_digits

from pipeline import dataset, tracking
from pipeline import params as params_module
from pipeline.dataset import SplitName
from pipeline.params import TrainParams
from pipeline.train import stage
from pipeline.workspace import Workspace
from tests import data_sets
from tests.conftest import PARAMS, PROJECT
from tests.train.recipes import SHORT, whole


@pytest.fixture
def params(workspace: Workspace) -> TrainParams:
    """The train section of the tests' params.yaml: the notebook, no flips."""
    return params_module.load(workspace.params).train


def _once(tmp_path_factory: pytest.TempPathFactory, name: str, build: Callable[[Path], None]) -> Path:
    """Return the folder `name` that `build` fills, once for all workers of a test run."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / f"train-{name}"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            folder.mkdir()
            build(folder)
    return folder


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with 300 digits of 16×16 pixels, ingested and validated, and an empty tracking store (slow to make)."""

    def build(folder: Path) -> None:
        for file in (PARAMS, PROJECT / "dvc.yaml"):
            shutil.copy(file, folder)
        workspace = Workspace(folder, folder)
        digits = load_digits()
        images = np.kron(digits.images[:420] * 15, np.ones((2, 2))).astype(np.uint8)[..., None]
        labels = digits.target[:420].astype(np.int32)
        rows = np.arange(420, dtype=np.int32)
        cuts: dict[SplitName, slice] = {"train": slice(300), "validation": slice(300, 360), "test": slice(360, 420)}
        splits = {name: dataset.Split(images[cut], labels[cut], rows[cut]) for name, cut in cuts.items()}
        workspace.dataset.mkdir(parents=True)
        description = data_sets.write(workspace.dataset, "digits", tuple("0123456789"), splits, ())
        workspace.validated.write_text(json.dumps({"dataset_digest": description.digest}))
        tracking.connect(workspace, create=True)

    return _once(tmp_path_factory, "prepared", build)


@pytest.fixture
def ready(prepared: Path, tmp_path: Path) -> Workspace:
    """A copy of `prepared` that a test may change."""
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    return Workspace(tmp_path, tmp_path)


@pytest.fixture(scope="session")
def trained(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A copy of `prepared` after training with `SHORT`; read it only."""

    def build(folder: Path) -> None:
        shutil.copytree(prepared, folder, dirs_exist_ok=True)
        stage.run(whole(SHORT), Workspace(folder, folder))

    folder = _once(tmp_path_factory, "trained", build)
    return Workspace(folder, folder)


@pytest.fixture
def trained_copy(trained: Workspace, ready: Workspace) -> Workspace:
    """A copy of `trained` that a test may change, with a tracking store that does not know the training."""
    for name in ("models", "reports", ".checkpoints"):
        shutil.copytree(trained.root / name, ready.root / name)
    return ready
