"""The version in production, and the files of the run it came from."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import UnreachableError
from pipeline.tracking.store import lost_errors

ALIAS = "production"


@dataclass(frozen=True)
class InProduction:
    """A version in production, with one file of its run."""

    version: str
    content: bytes | None  # None where the run is gone or has no such file


def in_production(client: Any, model_name: str, path: str) -> InProduction | None:
    """The version of `model_name` that carries the alias `production`; None where none does.

    Args:
        client: As `connect` gives it.
        model_name: A registered model; it need not exist.
        path: A file on the version's run, such as `data/profile.json`.

    Raises:
        UnreachableError: the store, or what holds its files, does not answer.
    """
    lost: tuple[type[Exception], ...] = (*lost_errors(), OSError)
    try:
        model = _existing(lambda: client.get_registered_model(model_name))
        version = model.aliases.get(ALIAS) if model else None  # looking for an alias that is not there is an error
        if version is None:
            return None
        run_id = client.get_model_version(model_name, version).run_id
        return InProduction(str(version), _content(client, run_id, path))
    except lost as error:
        reason = " ".join(str(error).split())[:200]
        raise UnreachableError(f"what is in production of {model_name} cannot be had ({reason})") from None


def _content(client: Any, run_id: str | None, path: str) -> bytes | None:
    if not run_id or _existing(lambda: client.get_run(run_id)) is None:
        return None
    folder = str(Path(path).parent)
    if path not in {file.path for file in client.list_artifacts(run_id, folder)}:
        return None
    with tempfile.TemporaryDirectory() as temporary:
        return Path(client.download_artifacts(run_id, path, temporary)).read_bytes()


def _existing(look: Callable[[], Any]) -> Any | None:
    """What `look` finds; None where the store knows no such thing."""
    from mlflow.exceptions import MlflowException

    try:
        return look()
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
