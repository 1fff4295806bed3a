"""What evaluate and train wrote about a model, read for the gate."""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline import provenance
from pipeline.errors import RegistryError
from pipeline.provenance import TrainingRecord
from pipeline.workspace import Workspace


@dataclass(frozen=True)
class Evidence:
    """A training and how its model did on the test set."""

    training: TrainingRecord
    metrics: Mapping[str, float]  # as in metrics.json
    recalls: Mapping[str, float]  # class name → recall, NaN where the test split has no such picture
    slices: Mapping[str, float]  # part of the test split → accuracy


def read(workspace: Workspace) -> Evidence:
    """The evidence in models/ and reports/.

    Raises:
        MissingInputError: a stage before has not run.
        RegistryError: a file is not what evaluate writes.
    """
    training = provenance.read_training(workspace.need(workspace.training, "train"))
    metrics_path = workspace.need(workspace.metrics, "evaluate")
    per_class = workspace.need(workspace.per_class, "evaluate")
    slices_path = workspace.need(workspace.slices, "evaluate")
    try:
        metrics = json.loads(metrics_path.read_text(encoding="utf-8"))
        with per_class.open(encoding="utf-8", newline="") as file:
            recalls = {row["class"]: float(row["recall"] or "nan") for row in csv.DictReader(file)}
        slices = read_slices(slices_path)
        known = {name: float(metrics[name]) for name in ("accuracy", "calibration_error", "macro_f1", "log_loss")}
    except (ValueError, KeyError, TypeError) as error:
        files = ", ".join(workspace.shown(path) for path in (metrics_path, per_class, slices_path))
        raise RegistryError(f"one of {files} is not what evaluate writes ({error!r}): run `dvc repro -s -f evaluate`") from None
    return Evidence(training, known, recalls, slices)


def read_slices(path: Path) -> dict[str, float]:
    """Part of the test split → accuracy in it, of a slices.csv.

    Raises:
        ValueError, KeyError, TypeError: it is not what evaluate writes.
    """
    with path.open(encoding="utf-8", newline="") as file:
        worst_last = reversed(list(csv.DictReader(file)))  # of equal names the worst counts
        return {_slice_name(row): float(row["accuracy"]) for row in worst_last}


def _slice_name(row: Mapping[str, str]) -> str:
    return f"{row['feature']} {float(row['from']):.3g} – {float(row['to']):.3g}"
