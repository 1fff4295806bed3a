import json
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from pipeline import tracking
from pipeline.commands import ui, versions
from pipeline.compare import command as compare
from pipeline.doctor import command as doctor
from pipeline.environment import shown_url
from pipeline.errors import TrackingError, UnreachableError
from pipeline.project import Project
from pipeline.promotion import command as promotion
from pipeline.promotion import history
from pipeline.verify import command as verify
from pipeline.workspace import Workspace
from tests.stores import LIMITS


def test_the_default_is_a_database_in_the_project(workspace: Workspace) -> None:
    assert tracking.tracking_uri(workspace) == f"sqlite:///{workspace.root}/mlflow.db"


def test_a_relative_database_counts_from_the_project(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")  # what `mlflow run` hands down
    assert tracking.tracking_uri(workspace) == f"sqlite:///{workspace.root}/mlflow.db"


@pytest.mark.parametrize(
    "uri",
    [
        "http://localhost:5000",
        "https://user:secret@host/path",
        "postgresql://db/mlflow",
        "postgresql+psycopg2://db:5432/m",
        "sqlite:////tmp/x.db",
    ],
)
def test_servers_and_databases_are_taken_as_they_are(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert tracking.tracking_uri(workspace) == uri


@pytest.mark.parametrize(
    "uri",
    [
        *(
            "htp://host",
            "http://",
            "localhost:5000",
            "./mlruns",
            "file:///tmp/runs",
            "sqlite:///",
            "http://host:port",
            "http://[",
        ),
        *(
            "htp://me:SECRET@host",
            "http://me:SEC/SECRET@host",
            "me:SECRET@host",
            "sqlite://me:SECRET@host/x",
            "http://me:SECRET",
        ),
    ],
)
def test_a_malformed_uri_is_one_line_that_shows_the_valid_forms(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(TrackingError, match=r"is not a tracking URI: write sqlite:///PATH") as error:
        tracking.connect(workspace, create=True)
    assert f"={shown_url(uri)} is" in str(error.value)
    assert "SECRET" not in str(error.value)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://me:SECRET@127.0.0.1:9/x?token=SECRET#SECRETSECRETSECRET", "http://127.0.0.1:9/x does not answer"),
        ("postgresql://me:SECRET@127.0.0.1:9/m?password=SECRET", "postgresql://127.0.0.1:9/m does not answer"),
        ("mysql://me:SECRET@127.0.0.1/m", "mysql://127.0.0.1/m needs another Python package"),
    ],
)
def test_a_store_that_is_not_there_is_named_soon_and_without_its_password(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, uri: str, shown: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    started = time.monotonic()
    with pytest.raises(UnreachableError, match=rf"store {re.escape(shown)} \(") as error:
        tracking.connect(workspace, create=True)
    assert "SECRET" not in str(error.value)
    assert "\n" not in str(error.value)
    assert time.monotonic() - started < 60


def test_a_training_that_loses_its_store_names_it_without_its_password(
    workspace: Workspace, client: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan: Any = SimpleNamespace(dataset_name="toys", training_id="x")
    monkeypatch.setattr("pipeline.tracking.live.connect", lambda _, **__: client)
    uri = "http://me:SECRET@127.0.0.1:9?sig=SECRETSECRETSECRET"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)

    def lost(_: str) -> None:
        raise MlflowException(
            f"API request to {uri}/api/2.0/x failed: Pool(host='127.0.0.1'): with url: /x?sig=SECRETSECRETSECRET"
        )

    monkeypatch.setattr(client, "get_experiment_by_name", lost)
    with tracking.LiveRun(workspace, plan, LIMITS) as live:
        live.log_epochs([])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "warning: the tracking store http://127.0.0.1:9 failed midway (API request to http://127.0.0.1:9/api"
    )
    assert "SECRET" not in line


@pytest.mark.parametrize(
    ("place", "kept"), [("mlflow.db", None), ("there/mine.db", "registry"), ("mlflow.db", "models/training.json")]
)
def test_what_only_reads_creates_no_store(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, place: str, kept: str | None
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place}")
    if kept:
        (workspace.root / kept).mkdir(parents=True)
    before, project = sorted(workspace.root.rglob("*")), Project.load(workspace)
    reading: Sequence[Callable[[], object]] = (
        lambda: tracking.connect(workspace),
        *(lambda: versions.run(project), lambda: history.run(None, False, project), lambda: compare.run("1", "2", project)),
        *(lambda: doctor.run(True, project), lambda: verify.run("1", True, project), lambda: ui.run(5000, False, project)),
        *(lambda: promotion.promote("1", "staging", "", False, True, project), lambda: promotion.rollback("", project)),
        lambda: promotion.archive("1", "", project),
    )
    command = "sync" if kept else "run"
    for each in reading:
        with pytest.raises(TrackingError, match=rf"^there is no tracking store at {place}: `python -m pipeline {command}` "):
            each()
    assert sorted(workspace.root.rglob("*")) == before


@pytest.mark.parametrize("count", [2, pytest.param(6, marks=pytest.mark.exhaustive)])
def test_processes_create_the_store_at_once(workspace: Workspace, count: int) -> None:
    code = (
        "from pipeline import environment, tracking; environment.prepare(); from pipeline.workspace import Workspace\n"
        "w = Workspace.find(); print(tracking.experiment_id(tracking.connect(w, create=True), w, 'toys'))"
    )
    project = str(Path(__file__).parents[2])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", f"import sys; sys.path.insert(0, {project!r})\n{code}"],
            cwd=workspace.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    results = [(*process.communicate(), process.returncode) for process in processes]
    assert [code for _, _, code in results] == [0] * count, results
    assert len({out for out, _, _ in results}) == 1
    with sqlite3.connect(workspace.database) as database:
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)
    assert not list(workspace.root.glob("*.part*"))


def test_an_experiment_keeps_its_artifacts_in_the_project(workspace: Workspace, client: Any) -> None:
    made = client.get_experiment(tracking.experiment_id(client, workspace, "toys"))
    assert made.artifact_location == (workspace.root / "mlartifacts" / "toys").as_uri()
    assert tracking.experiment_id(client, workspace, "toys") == made.experiment_id
    assert not (workspace.root / "mlruns").exists()


def test_an_experiment_deleted_in_the_ui_says_how_to_restore_it(workspace: Workspace, client: Any) -> None:
    experiment = tracking.experiment_id(client, workspace, "toys")
    client.delete_experiment(experiment)
    with pytest.raises(TrackingError, match=rf"mlflow experiments restore --experiment-id {experiment}"):
        tracking.experiment_id(client, workspace, "toys")


def test_an_experiment_has_its_view_of_runs_and_a_users_changes_to_it_stay(workspace: Workspace, client: Any) -> None:
    made = tracking.experiment_id(client, workspace, "toys")
    content = json.loads(client.get_experiment(made).tags[tracking.TRAININGS.tag])
    assert "metrics.`test/accuracy`" in json.loads(content["state"])["selectedColumns"]
    client.set_experiment_tag(made, tracking.TRAININGS.tag, "mine")
    tracking.experiment_id(client, workspace, "toys")
    assert client.get_experiment(made).tags[tracking.TRAININGS.tag] == "mine"
    older = client.create_experiment("older")
    assert tracking.experiment_id(client, workspace, "older") == older
    assert tracking.TRAININGS.tag in client.get_experiment(older).tags


def test_an_experiment_of_promotions_has_their_view_only(workspace: Workspace, client: Any) -> None:
    tags = client.get_experiment(tracking.experiment_id(client, workspace, "toys-promotions", tracking.PROMOTIONS)).tags
    assert "tags.`reason`" in json.loads(json.loads(tags[tracking.PROMOTIONS.tag])["state"])["selectedColumns"]
    assert tracking.TRAININGS.tag not in tags
