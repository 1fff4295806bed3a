"""The tracking store: its address, its creation and the connection to it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline import environment
from pipeline.environment import shown_url
from pipeline.errors import TrackingError
from pipeline.tracking import database, place
from pipeline.tracking.budget import announced
from pipeline.tracking.failures import explained, is_lost
from pipeline.tracking.views import TRAININGS, View
from pipeline.workspace import Workspace, replacing

_DATABASES = ("postgresql", "mysql", "mssql")
# A new browser opens in the UI's GenAI mode, which shows no runs, unless the experiment has this tag.
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}


def tracking_uri(workspace: Workspace) -> str:
    """Return `$MLFLOW_TRACKING_URI`, else `mlflow.db` in the project; a relative SQLite path is relative to the project.

    Raises:
        TrackingError: the variable holds something that is not a tracking URI.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    absolute = place.absolute(uri or f"sqlite:///{workspace.database.name}", workspace.home)
    if not place.database(absolute) and not _is_server(uri):
        raise TrackingError(
            f"MLFLOW_TRACKING_URI={shown_url(uri)} is not a tracking URI: write sqlite:///PATH, http://HOST:PORT or "
            "postgresql://…, or unset it to use mlflow.db in the project"
        )
    return absolute


def _is_server(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
        has_host = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # a port that is not a number, a bracket without its pair
        return False
    return has_host and (parts.scheme in ("http", "https") or parts.scheme.split("+")[0] in _DATABASES)


def check_place(workspace: Workspace) -> None:
    """Refuse a store that was moved or copied, before work begins that is to be stored there; MLflow is not loaded.

    Raises:
        TrackingError: it was, or its address is malformed.
    """
    place.check(tracking_uri(workspace))


def connect(workspace: Workspace, create: bool = False) -> Any:
    """Return an `mlflow.MlflowClient` for tracking and registry, after its store has answered.

    Args:
        workspace: The checkout.
        create: Create a SQLite database that does not exist yet; what only reads must not.

    Raises:
        TrackingError: the URI is malformed, the store was moved or copied or cannot be used, or there is none and it is
            not to be created.
        UnreachableError: the store does not answer.
    """
    uri = tracking_uri(workspace)
    file = place.database(uri)
    missing = file is not None and not file.exists()
    if missing and not create:
        raise _absent(uri, workspace)
    place.check(uri)
    lost_errors()
    import mlflow

    try:
        with announced(uri):
            if file and missing:
                _create_database(file)
            elif not uri.startswith("http") and not database.holds_store(uri) and not create:
                raise _absent(uri, workspace)
            _set_globally(uri)
            client = mlflow.MlflowClient(uri, uri)
            client.search_experiments(max_results=1)
    except Exception as error:
        if not is_lost(error):
            raise
        raise explained(uri, error, ("does not answer", "start it, or change MLFLOW_TRACKING_URI")) from None
    return client


def _absent(uri: str, workspace: Workspace) -> TrackingError:
    file = place.database(uri)
    shown = workspace.shown(file) if file else shown_url(uri)
    command = "sync" if workspace.registry.exists() or workspace.training.exists() else "run"
    return TrackingError(f"there is no tracking store at {shown}: `python -m pipeline {command}` creates it")


def _set_globally(uri: str) -> None:
    """Set MLflow's global URIs, which its downloads of artifacts use; keep the environment, which it would set too."""
    import mlflow

    given = {name for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI") if name in os.environ}
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    for name in {"MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"} - given:
        os.environ.pop(name, None)


@contextmanager
def store_guard(workspace: Workspace) -> Iterator[None]:
    """Turn the failure of a connected store into one line.

    Raises:
        UnreachableError: the store failed.
    """
    try:
        yield
    except lost_errors() as error:
        way_out = "run the command again once it answers; that completes or undoes what was started"
        raise explained(tracking_uri(workspace), error, ("failed midway", way_out)) from None


def lost_errors() -> tuple[type[Exception], ...]:
    """Return what MLflow raises when its store does not answer; this imports MLflow."""
    with environment.loading():
        import mlflow.store.tracking.sqlalchemy_store  # noqa: F401  # the client would import it
        from mlflow.exceptions import MlflowException
        from requests import RequestException
        from sqlalchemy.exc import SQLAlchemyError
    return MlflowException, SQLAlchemyError, RequestException


def _create_database(path: Path) -> None:
    """Create the SQLite database at `path` if it does not exist.

    MLflow's own creation is neither concurrent- nor kill-safe (12 processes at once: 11 crashed), so it happens under a lock,
    at a temporary path that is then renamed.
    """
    if path.exists():
        return
    from filelock import FileLock
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        if path.exists():
            return
        with replacing(path) as aside:
            uri = place.absolute("sqlite:///" + place.quoted(aside), aside.parent)
            SqlAlchemyStore(uri, place.artifact_location(uri)).engine.dispose()


def experiment_id(client: Any, workspace: Workspace, name: str, view: View = TRAININGS) -> str:
    """Return the id of the experiment `name`, created if necessary; its runs table gets `view`.

    Raises:
        TrackingError: it was deleted in the UI.
    """
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        location = place.artifact_location(tracking_uri(workspace), name)
        tags = {**_EXPERIMENT_TAGS, view.tag: view.content()}
        try:
            return str(client.create_experiment(name, artifact_location=location, tags=tags))
        except MlflowException:
            experiment = client.get_experiment_by_name(name)
            if experiment is None:  # not because another process created it meanwhile
                raise
    if experiment.lifecycle_stage == "deleted":
        raise TrackingError(
            f"the experiment {name} was deleted in the MLflow UI: restore it with "
            f"`MLFLOW_TRACKING_URI={shown_url(tracking_uri(workspace))} mlflow experiments restore "
            f"--experiment-id {experiment.experiment_id}`"
        )
    place.keep_beside(tracking_uri(workspace), experiment)
    if view.tag not in experiment.tags:  # an existing view may have been changed by a user
        client.set_experiment_tag(experiment.experiment_id, view.tag, view.content())
    return str(experiment.experiment_id)
