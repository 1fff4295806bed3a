"""What `run` fetches of production, from a real SQLite MLflow."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline import tracking
from pipeline.commands import reference
from pipeline.errors import TrackingError
from pipeline.workspace import Workspace

MODEL = "fashion-mnist-classifier"  # of tests/params.yaml
Shell = Callable[..., Any]


@pytest.fixture
def client(workspace: Workspace) -> Any:
    return tracking.connect(workspace)


@pytest.fixture
def register(client: Any, workspace: Workspace, tmp_path: Path) -> Callable[[str | None], str]:
    """Makes a version whose run holds a profile of that text; None makes one whose run has no profile."""

    def made(text: str | None) -> str:
        run = client.create_run(tracking.experiment_id(client, workspace, "fashion-mnist"))
        if text is not None:
            client.log_text(run.info.run_id, text, "data/profile.json")
        if not client.search_registered_models(f"name = '{MODEL}'"):
            client.create_registered_model(MODEL)
        version = client.create_model_version(MODEL, source=str(tmp_path), run_id=run.info.run_id)
        return str(version.version)

    return made


def test_what_is_in_production_is_fetched_and_an_equal_file_is_not_touched(
    client: Any, workspace: Workspace, register: Callable[[str | None], str]
) -> None:
    first, same, other = register("one"), register("one"), register("two")
    reference.refresh(workspace)
    assert not workspace.reference.exists()  # none is in production yet
    client.set_registered_model_alias(MODEL, "production", first)
    client.set_registered_model_alias(MODEL, "staging", other)
    reference.refresh(workspace)
    assert workspace.reference.read_text() == "one"
    written = workspace.reference.stat()
    client.set_registered_model_alias(MODEL, "production", same)
    reference.refresh(workspace)
    now = workspace.reference.stat()
    assert (now.st_mtime_ns, now.st_ino) == (written.st_mtime_ns, written.st_ino)
    client.set_registered_model_alias(MODEL, "production", other)
    reference.refresh(workspace)
    assert workspace.reference.read_text() == "two"
    client.delete_registered_model_alias(MODEL, "production")
    reference.refresh(workspace)
    assert [path.name for path in workspace.reference.parent.iterdir()] == []


def test_a_version_without_a_profile_is_named_and_the_old_one_goes(
    client: Any, workspace: Workspace, register: Callable[[str | None], str], capfd: pytest.CaptureFixture[str]
) -> None:
    workspace.reference.parent.mkdir(parents=True)
    workspace.reference.write_text("of an older version")
    client.set_registered_model_alias(MODEL, "production", register(None))
    reference.refresh(workspace)
    assert not workspace.reference.exists()
    assert f"warning: the run of {MODEL} version 1 in production has no data/profile.json" in capfd.readouterr().err


@pytest.mark.parametrize("damage", ["server", "database", "artifact"])
def test_a_store_that_does_not_answer_is_a_warning_and_what_lies_there_stays(
    client: Any,
    workspace: Workspace,
    register: Callable[[str | None], str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    damage: str,
) -> None:
    client.set_registered_model_alias(MODEL, "production", register("one"))
    reference.refresh(workspace)
    if damage == "server":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    elif damage == "database":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///none.db")
        (workspace.root / "none.db").write_text("not a database, but long enough to be read as one " * 20)
    else:
        (written,) = workspace.artifacts.rglob("profile.json")
        written.unlink()
        written.mkdir()
        (written / "x").touch()
    reference.refresh(workspace)
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("warning: ")
    assert workspace.reference.read_text() == "one"


def test_a_malformed_uri_is_an_error_before_anything_runs(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "localhost:5000")
    with pytest.raises(TrackingError, match="is not a tracking URI"):
        reference.refresh(workspace)


def test_without_a_store_mlflow_is_not_loaded_and_nothing_stays(workspace: Workspace, shell: Shell) -> None:
    workspace.reference.parent.mkdir(parents=True)
    workspace.reference.write_text("of a store that is gone")
    code = (
        "import sys; from pipeline.commands import reference; from pipeline.workspace import Workspace\n"
        "reference.refresh(Workspace.find()); print('mlflow' in sys.modules)"
    )
    said = shell("python", "-c", code, cwd=workspace.root, PYTHONPATH=str(Path(__file__).parents[2])).stdout
    assert said == "False\n"
    assert not workspace.reference.exists()
    assert not workspace.database.exists()


@pytest.mark.slow
def test_a_promotion_reruns_validate_and_never_trains(built_copy: Path, shell: Shell) -> None:
    workspace = Workspace(built_copy, built_copy)
    shell("python", "-m", "pipeline", "register", cwd=built_copy)  # into a store of the copy's own
    tracking.connect(workspace).set_registered_model_alias("digits-classifier", "production", "1")
    again = ran(shell("python", "-m", "pipeline", "run", cwd=built_copy).stdout)
    assert again[0] == "validate"
    assert "train" not in again
    assert workspace.reference.read_bytes() == workspace.profile.read_bytes()
    found = json.loads(workspace.validation_json.read_text())["expectations"]
    compared = {entry["id"]: entry["checked"] for entry in found if entry["id"].endswith("as-in-production")}
    assert compared == {
        "features-as-in-production": "4 comparisons",
        "class-shares-as-in-production": "4 comparisons",
        "classes-as-in-production": "10 classes",
    }
    assert ran(shell("python", "-m", "pipeline", "run", cwd=built_copy).stdout) == []


def ran(output: str) -> list[str]:
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]
