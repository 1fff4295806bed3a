"""versions: the versions of this data set's model, as a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipeline import params, tracking
from pipeline.workspace import Workspace


@dataclass(frozen=True)
class Version:
    """One row of the table."""

    number: int
    stage: str  # the aliases that point at it: staging, production; empty for none
    accuracy: float | None  # on the test set; None where the run is gone
    gate: str
    created: datetime
    run_id: str


def run(workspace: Workspace) -> None:
    """Prints the table, newest first.

    Raises:
        TrackingError: the registry cannot be used or does not answer.
    """
    model = f"{params.load(workspace.params).ingest.dataset_name}-classifier"
    versions = read(tracking.connect(workspace), model)
    if not versions:
        print(f"{model} has no versions yet: `python -m pipeline run` trains and registers one")
        return
    _print(model, versions)


def read(client: Any, model: str) -> Sequence[Version]:
    """The versions of the registered model `model`, newest first; none where there is no such model."""
    from mlflow.exceptions import MlflowException

    try:
        aliases = client.get_registered_model(model).aliases  # searching versions knows no aliases
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return []
        raise
    found = client.search_model_versions(f"name = '{model}'")
    versions = [_version(client, entry, aliases) for entry in found]
    return sorted(versions, key=lambda version: version.number, reverse=True)


def _version(client: Any, entry: Any, aliases: dict[str, str]) -> Version:
    return Version(
        number=int(entry.version),
        stage=", ".join(sorted(alias for alias, version in aliases.items() if int(version) == int(entry.version))),
        accuracy=_accuracy(client, entry.run_id),
        gate=entry.tags.get("gate", ""),
        created=datetime.fromtimestamp(entry.creation_timestamp / 1000, UTC),
        run_id=entry.run_id,
    )


def _accuracy(client: Any, run_id: str) -> float | None:
    from mlflow.exceptions import MlflowException

    try:
        accuracy: float | None = client.get_run(run_id).data.metrics.get("test/accuracy")
    except MlflowException:  # the run was deleted for good; the version is still worth a row
        return None
    return accuracy


def _print(model: str, versions: Sequence[Version]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=model, title_justify="left", box=None, header_style="bold")
    for column in ("version", "stage", "accuracy", "gate", "created (UTC)", "run"):
        table.add_column(column, justify="right" if column in ("version", "accuracy") else "left")
    for version in versions:
        accuracy = "–" if version.accuracy is None else f"{version.accuracy:.4f}"
        created = f"{version.created:%Y-%m-%d %H:%M}"
        table.add_row(str(version.number), version.stage or "–", accuracy, version.gate, created, version.run_id[:8])
    Console().print(table)
