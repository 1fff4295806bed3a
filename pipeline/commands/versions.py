"""`versions`: the versions of this data set's model, as a table."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pipeline import tracking
from pipeline.page import printable
from pipeline.project import Project
from pipeline.promotion import transitions
from pipeline.tracking.manifest import created_ms

_COLUMNS = ("version", "stage", "accuracy", "verified", "gate", "created (UTC)", "run")


def run(project: Project) -> None:
    """Print the table, newest version first, and what does not agree in it.

    Raises:
        TrackingError: the registry cannot be used or does not answer.
    """
    client, model = tracking.connect(project.workspace), project.model
    with tracking.store_guard(project.workspace):
        entries = sorted(client.search_model_versions(f"name = '{model}'"), key=lambda entry: int(entry.version), reverse=True)
        if not entries:
            print(f"{model} has no versions yet: `python -m pipeline run` trains and registers one")
            return
        current = transitions.current_stages(client, model)
        stages = {str(entry.version): current.stage_of(str(entry.version)) for entry in entries}
        rows = [_row(client, entry, stages[str(entry.version)]) for entry in entries]
    print(model)
    widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows, strict=True)]
    for row in (_COLUMNS, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for entry in entries:
        stage, tag = stages[str(entry.version)], entry.tags.get("stage", "none")
        if stage != tag:
            found = f"version {entry.version}: stage {stage} by its alias, {printable(tag)} by its tag"
            print(f"{found}; `python -m pipeline doctor` explains why")


def _row(client: Any, entry: Any, stage: str) -> Sequence[str]:
    accuracy = _accuracy(client, entry.run_id)
    outcome, _, verified = entry.tags.get("verified", "").partition(" ")  # "bitwise 2026-11-24T18:30Z by anna"
    return (
        str(entry.version),
        "–" if stage == "none" else stage,
        "–" if accuracy is None else f"{accuracy:.4f}",
        printable(f"{outcome} {verified[:10]}") or "–",
        printable(entry.tags.get("gate", "")) or "–",
        f"{datetime.fromtimestamp(created_ms(entry) / 1000, UTC):%Y-%m-%d %H:%M}",
        entry.run_id[:8],
    )


def _accuracy(client: Any, run_id: str) -> float | None:
    """Return the accuracy on the test set; None where the run was deleted for good."""
    from mlflow.exceptions import MlflowException

    try:
        accuracy: float | None = client.get_run(run_id).data.metrics.get("test/accuracy")
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return accuracy
