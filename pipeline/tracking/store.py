"""Where the tracking store is, how it is made, and how it is reached."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline import environment
from pipeline.errors import TrackingError, UnreachableError
from pipeline.tracking.view import TRAININGS, View
from pipeline.workspace import Workspace, replacing

_SQLITE = "sqlite:///"
_DATABASES = ("postgresql", "mysql", "mssql")


def tracking_uri(workspace: Workspace) -> str:
    """`$MLFLOW_TRACKING_URI`, else `mlflow.db` in the project; a relative SQLite path counts from the project.

    Raises:
        TrackingError: the variable holds something that is not a tracking URI.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    if not uri:
        return f"{_SQLITE}{workspace.database}"
    if uri.startswith(_SQLITE) and len(uri) > len(_SQLITE):
        return f"{_SQLITE}{workspace.home / uri.removeprefix(_SQLITE)}"
    if not _is_server(uri):
        raise TrackingError(
            f"MLFLOW_TRACKING_URI={uri} is not a tracking URI: write sqlite:///PATH, http://HOST:PORT or postgresql://…, "
            "or unset it to use mlflow.db in the project"
        )
    return uri


def _is_server(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
        has_host = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # a port that is not a number, a bracket that does not close
        return False
    return has_host and (parts.scheme in ("http", "https") or parts.scheme.split("+")[0] in _DATABASES)


def has_store(workspace: Workspace) -> bool:
    """False where the store is a SQLite database that was not made yet; loads nothing, asks nobody.

    Raises:
        TrackingError: the URI is malformed.
    """
    uri = tracking_uri(workspace)
    return not uri.startswith(_SQLITE) or Path(uri.removeprefix(_SQLITE)).exists()


def connect(workspace: Workspace) -> Any:
    """An `mlflow.MlflowClient` for tracking and registry whose store exists and answered.

    Raises:
        TrackingError: the URI is malformed, or the store is not one that this MLflow can use.
        UnreachableError: the store does not answer.
    """
    uri = tracking_uri(workspace)
    lost: tuple[type[Exception], ...] = (*lost_errors(), OSError, ImportError)
    import mlflow

    try:
        if uri.startswith(_SQLITE):
            _create_database(Path(uri.removeprefix(_SQLITE)), workspace)
        _set_globally(uri)
        client = mlflow.MlflowClient(uri, uri)
        client.search_experiments(max_results=1)
    except lost as error:
        raise UnreachableError(
            f"the tracking store {_shown(uri)} does not answer ({_reason(error, uri)}): start it, or change MLFLOW_TRACKING_URI"
        ) from None
    return client


def _set_globally(uri: str) -> None:
    """MLflow's downloads of artifacts ask its global setting; the environment, which it sets too, stays the user's."""
    import mlflow

    given = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    if given is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)


@contextmanager
def store_guard(workspace: Workspace) -> Iterator[None]:
    """Around what a command asks of a connected store, so that one which goes away midway is one line too.

    Raises:
        UnreachableError: the store failed.
    """
    try:
        yield
    except lost_errors() as error:
        uri = tracking_uri(workspace)
        raise UnreachableError(
            f"the tracking store {_shown(uri)} failed midway ({_reason(error, uri)}): run the command again when it answers; "
            "what was begun is finished or undone then"
        ) from None


def lost_errors() -> tuple[type[Exception], ...]:
    """What MLflow raises where its store does not answer; loads MLflow."""
    with environment.loading():
        import mlflow.store.tracking.sqlalchemy_store  # noqa: F401  # which the client would load
        from mlflow.exceptions import MlflowException
        from requests import RequestException
        from sqlalchemy.exc import SQLAlchemyError
    return MlflowException, SQLAlchemyError, RequestException


def _create_database(path: Path, workspace: Workspace) -> None:
    """Makes the SQLite database at `path` if it does not exist.

    MLflow's own first creation is neither concurrent- nor kill-safe (12 processes at once: 11 crashed), so it happens under
    a lock, beside, and is renamed into place.
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
            store = SqlAlchemyStore(f"{_SQLITE}{aside}", workspace.artifacts.as_uri())
            store.engine.dispose()


def experiment_id(client: Any, workspace: Workspace, name: str, view: View = TRAININGS) -> str:
    """The id of the experiment `name`, made if need be; its runs table has `view`.

    Raises:
        TrackingError: it was deleted in the UI.
    """
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        local = tracking_uri(workspace).startswith(_SQLITE)
        location = (workspace.artifacts / name).as_uri() if local else None  # a server decides for itself
        try:
            made: str = client.create_experiment(
                name, artifact_location=location, tags={**_EXPERIMENT_TAGS, view.tag: view.content()}
            )
        except MlflowException:  # another process was quicker
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
        else:
            return made
    if experiment.lifecycle_stage == "deleted":
        raise TrackingError(
            f"the experiment {name} was deleted in the MLflow UI: "
            f"`MLFLOW_TRACKING_URI={_shown(tracking_uri(workspace))} mlflow experiments restore "
            f"--experiment-id {experiment.experiment_id}` brings it back"
        )
    if view.tag not in experiment.tags:  # where it is, it may be as a user changed it
        client.set_experiment_tag(experiment.experiment_id, view.tag, view.content())
    return str(experiment.experiment_id)


# A new browser opens in the UI's GenAI mode, which shows no runs; this says what the experiment is.
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}


def _shown(uri: str) -> str:
    """`uri` without a password."""
    password = urlsplit(uri).password
    return uri.replace(f":{password}@", ":***@") if password else uri


def _reason(error: BaseException, uri: str) -> str:
    """The operating system's words where the message quotes them, else the first line; without a password."""
    text = str(error).strip() or type(error).__name__
    quoted = re.search(r"\[Errno -?\d+\] ([^'\")]+)", text)
    line = quoted.group(1) if quoted else text.splitlines()[0][:200]
    password = urlsplit(uri).password
    return line.replace(password, "***") if password else line
