"""The tracking store: its address, its creation and the connection to it."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline import environment
from pipeline.environment import shown_url
from pipeline.errors import TrackingError, UnreachableError
from pipeline.tracking import place
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
    if not create:
        _check_exists(uri, workspace)
    place.check(uri)
    lost: tuple[type[Exception], ...] = (*lost_errors(), OSError, ImportError)
    import mlflow

    try:
        if file := place.database(uri):
            _create_database(file)
        elif not uri.startswith("http"):
            _try_database(uri)
        _set_globally(uri)
        client = mlflow.MlflowClient(uri, uri)
        client.search_experiments(max_results=1)
    except lost as error:
        raise _unreachable(uri, "does not answer", error, "start it, or change MLFLOW_TRACKING_URI") from None
    return client


def _check_exists(uri: str, workspace: Workspace) -> None:
    """Raise a TrackingError if the store is a SQLite database that is not there; neither MLflow nor the network is used."""
    path = place.database(uri)
    if path is None or path.exists():
        return
    command = "sync" if workspace.registry.exists() or workspace.training.exists() else "run"
    raise TrackingError(f"there is no tracking store at {workspace.shown(path)}: `python -m pipeline {command}` creates it")


def _try_database(uri: str) -> None:
    """Connect once: MLflow itself would try for 100 s, in silence."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri)
    with engine.connect():
        pass
    engine.dispose()


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
        uri = tracking_uri(workspace)
        way_out = "run the command again once it answers; that completes or undoes what was started"
        raise _unreachable(uri, "failed midway", error, way_out) from None


def _unreachable(uri: str, what: str, error: BaseException, way_out: str) -> UnreachableError:
    """Return the error of a store that failed, with the operating system's message where it quotes one."""
    text = str(error).strip() or type(error).__name__
    quoted = re.search(r"\[Errno -?\d+\] ([^'\")]+)", text)
    reason = quoted.group(1).strip(": ") if quoted else environment.redacted(text).splitlines()[0][:200]
    if isinstance(error, PermissionError) or "readonly database" in text:
        what, way_out = "cannot be written", "get the right to write it, or set MLFLOW_TRACKING_URI to another one"
    return UnreachableError(f"the tracking store {shown_url(uri)} {what} ({reason}): {way_out}")


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
