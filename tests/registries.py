"""A store with two versions of a model, read only; a copy that a test may add to; and a candidates to promote in."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline import tracking
from pipeline.promotion import command
from pipeline.register import fresh, stage
from pipeline.register.fresh import FreshProcess
from pipeline.tracking import place
from pipeline.workspace import Workspace
from tests import stores
from tests.compare.trainings import MODEL, PLAIN, SWAPPED, Trainings, write_data
from tests.doctor.cases import DoctorCase
from tests.promotion.checkouts import MEDIUM, checkout, register_three
from tests.promotion.registry import Movers
from tests.tracking import model_files as made

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage

PARAMS = Path(__file__).with_name("params.yaml")


@pytest.fixture(scope="session")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Trainings:
    """Version 1, production, predicts 3 of 8 images correctly; version 2, staging, 6. Read it."""
    root = tmp_path_factory.mktemp("versions")
    workspace = Workspace(root, root)
    shutil.copy(PARAMS, root)
    write_data(workspace)
    made = Trainings(workspace, stores.connect(workspace))
    for reads, alias in ((SWAPPED, "production"), (PLAIN, "staging")):
        params = {"ingest": {"dataset": "fashion-mnist"}, "train": {"epochs": 2 + 3 * (alias == "staging"), "seed": 42}}
        version = made.register(made.add(reads, params=params))
        made.client.set_registered_model_alias(MODEL, alias, version)
    return made


@pytest.fixture(scope="session")
def movers() -> Iterator[Movers]:
    found = Movers()
    yield found
    found.stop()


@pytest.fixture
def trainings(versions: Trainings, tmp_path: Path) -> Trainings:
    """A copy of the store in a workspace without data, models and reports, to add to."""
    shutil.copy(PARAMS, tmp_path)
    copy = Workspace(tmp_path, tmp_path)
    stores.copy(versions.workspace.database, copy)
    return Trainings(copy, tracking.connect(copy))


@pytest.fixture(scope="module")
def open_mlflow(open_page: Callable[..., Any]) -> Callable[[str], Any]:
    """Opens a page on the MLflow server at an address."""

    def is_error(message: "ConsoleMessage") -> bool:
        """MLflow asks a server without users who is there, is told 404, and goes on; and it lays a panel out in two frames."""
        harmless = message.location["url"].endswith("/users/current") or "ResizeObserver loop" in message.text
        return message.type == "error" and not harmless

    return lambda address: open_page(address, is_error)


@pytest.fixture(scope="session")
def candidates_database(tmp_path_factory: pytest.TempPathFactory) -> Trainings:
    workspace = checkout(tmp_path_factory.mktemp("candidates_database"))
    return register_three(Trainings(workspace, stores.connect(workspace)))


class FreshProcessHere(FreshProcess):
    """Predicts in this process, which has TensorFlow already: a fresh one takes seconds to load it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def _send(self, task: Mapping[str, str]) -> None:
        self._found = fresh.answer(task)

    def _answer(self, seconds: float) -> Mapping[str, Any]:  # noqa: ARG002
        return self._found


@pytest.fixture
def predicted_here(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (command, stage):
        monkeypatch.setattr(module, "FreshProcess", FreshProcessHere)


@pytest.fixture
def candidates(candidates_database: Trainings, tmp_path: Path) -> Trainings:
    """Three versions in no stage, in SQLite."""
    workspace = checkout(tmp_path)
    stores.copy(candidates_database.workspace.database, workspace)
    return Trainings(workspace, tracking.connect(workspace))


@pytest.fixture
def candidates_on_server(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trainings:
    """The same on an MLflow server over PostgreSQL."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    workspace = checkout(tmp_path)
    return register_three(Trainings(workspace, tracking.connect(workspace)))


@pytest.fixture(params=made.DAMAGES, ids=lambda damage: damage.__name__)
def damaged(request: pytest.FixtureRequest, candidates: Trainings) -> Iterator[str]:
    """How the damage to the files of `MEDIUM` is reported; it is undone afterwards."""
    folder = made.stored_files(candidates.client, MODEL, MEDIUM)
    shutil.copytree(folder, candidates.workspace.root / "before")
    yield request.param(folder)
    shutil.rmtree(folder)
    shutil.copytree(candidates.workspace.root / "before", folder)


@pytest.fixture(scope="session")
def healthy_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a `DoctorCase` with nothing wrong, to copy: making one takes seconds."""
    root = tmp_path_factory.mktemp("healthy")
    workspace = Workspace(root, root)
    stores.connect(workspace)
    DoctorCase.of(workspace, "toys").add_versions()
    return workspace.database


@pytest.fixture
def local_case(healthy_database: Path, workspace: Workspace) -> DoctorCase:
    """Version 1 is in production, version 2 in staging, 3 and 4 in none; in SQLite."""
    stores.copy(healthy_database, workspace)
    return DoctorCase.of(workspace, "toys")


@pytest.fixture
def server_case(server: str, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> DoctorCase:
    """The same on an MLflow server over PostgreSQL."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    found = DoctorCase.of(workspace, f"toys-{os.urandom(4).hex()}")
    found.add_versions()
    return found


@pytest.fixture(params=["local_case", pytest.param("server_case", marks=pytest.mark.exhaustive)])
def case(request: pytest.FixtureRequest, healthy_database: Path) -> DoctorCase:
    assert healthy_database.exists()  # made before the environment of this test, which MLflow writes to
    found: DoctorCase = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def case_with_files(workspace: Workspace) -> DoctorCase:
    """The same in SQLite, with files that a test may harm."""
    found = DoctorCase.of(workspace, "toys")
    found.add_versions()
    return found


@pytest.fixture(scope="session")
def ssh_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the keys of anna and bob."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("there is no ssh-keygen: apt-get install openssh-client")
    folder = tmp_path_factory.mktemp("keys")
    for name in ("anna", "bob"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"key of {name}", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    return folder


@pytest.fixture
def signing_key(ssh_keys: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The key of anna, set to sign with."""
    monkeypatch.setenv("PIPELINE_SIGNING_KEY", str(ssh_keys / "anna"))
    return ssh_keys / "anna"


@pytest.fixture
def other_key(ssh_keys: Path) -> Path:
    """The key of bob."""
    return ssh_keys / "bob"


@pytest.fixture
def registered(built: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of a checkout in which `dvc repro` has run on digits, with its registry."""
    folder = tmp_path / "project"
    shutil.copytree(built, folder, ignore=shutil.ignore_patterns(".cache", "__pycache__"))
    (found,) = place.elsewhere(folder / "mlflow.db")
    place.relocate(found).unlink()
    yield folder
    shutil.rmtree(folder)
