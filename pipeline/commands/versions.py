"""versions: the versions of this data set's model, as a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipeline import tracking
from pipeline.project import Project
from pipeline.promotion import transitions


@dataclass(frozen=True)
class Version:
    """One row of the table."""

    number: int
    stage: str  # by the aliases; archived by its tag
    tagged: str  # the stage that its tag says
    accuracy: float | None  # on the test set; None where the run is gone
    verified: str  # what `verify` found last, and when; empty where it was not asked
    gate: str
    created: datetime
    run_id: str


def run(project: Project) -> None:
    """Prints the table, newest first.

    Raises:
        TrackingError: the registry cannot be used or does not answer.
    """
    model = project.model
    client = tracking.connect(project.workspace)
    with tracking.store_guard(project.workspace):
        versions = read(client, model)
    if not versions:
        print(f"{model} has no versions yet: `python -m pipeline run` trains and registers one")
        return
    _print(model, versions)


def read(client: Any, model: str) -> Sequence[Version]:
    """The versions of the registered model `model`, newest first; none where there is no such model."""
    found = client.search_model_versions(f"name = '{model}'")
    if not found:
        return []
    standing = transitions.standing(client, model)
    versions = [_version(client, entry, standing.stage_of(str(entry.version))) for entry in found]
    return sorted(versions, key=lambda version: version.number, reverse=True)


def _version(client: Any, entry: Any, stage: str) -> Version:
    return Version(
        number=int(entry.version),
        stage=stage,
        tagged=entry.tags.get("stage", "none"),
        accuracy=_accuracy(client, entry.run_id),
        verified=_day(entry.tags.get("verified", "")),
        gate=entry.tags.get("gate", ""),
        created=datetime.fromtimestamp(entry.creation_timestamp / 1000, UTC),
        run_id=entry.run_id,
    )


def _day(verdict: str) -> str:
    """What `verify` wrote, "bitwise 2026-11-24T18:30Z by anna", without time and person."""
    outcome, _, rest = verdict.partition(" ")
    return f"{outcome} {rest[:10]}".rstrip()


def _accuracy(client: Any, run_id: str) -> float | None:
    from mlflow.exceptions import MlflowException

    try:
        accuracy: float | None = client.get_run(run_id).data.metrics.get("test/accuracy")
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None  # the run was deleted for good; the version is still worth a row
    return accuracy


def _print(model: str, versions: Sequence[Version]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=model, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for column in ("version", "stage", "accuracy", "verified", "gate", "created (UTC)", "run"):
        table.add_column(column, justify="right" if column in ("version", "accuracy") else "left")
    for version in versions:
        accuracy = "–" if version.accuracy is None else f"{version.accuracy:.4f}"
        created = f"{version.created:%Y-%m-%d %H:%M}"
        stage = version.stage if version.stage != "none" else "–"
        verified, gate = version.verified or "–", version.gate or "–"
        table.add_row(str(version.number), stage, accuracy, verified, gate, created, version.run_id[:8])
    Console(highlight=False, markup=False, emoji=False).print(table)
    for version in versions:
        if version.stage != version.tagged:
            found = f"version {version.number} is in {version.stage} by its alias, in {version.tagged} by its tag"
            print(f"{found}: `python -m pipeline doctor` says what happened")
