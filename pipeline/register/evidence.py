"""What train and evaluate wrote about a model, read for the gate."""

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
    """A training and the performance of its model on the test set."""

    training: TrainingRecord
    metrics: Mapping[str, float]  # as in metrics.json
    recalls: Mapping[str, float]  # class name → recall; NaN for a class without test images
    slices: Mapping[str, float]  # slice of the test split → accuracy


def read(workspace: Workspace) -> Evidence:
    """Return the evidence in models/ and reports/.

    Raises:
        MissingInputError: an earlier stage has not run.
        RegistryError: a file is not what evaluate writes.
    """
    training = provenance.read_training(workspace.need(workspace.training, "train"))
    paths = [workspace.need(path, "evaluate") for path in (workspace.metrics, workspace.per_class, workspace.slices)]
    try:
        metrics = json.loads(paths[0].read_text(encoding="utf-8"))
        known = {name: float(metrics[name]) for name in ("accuracy", "calibration_error", "macro_f1", "log_loss")}
        with paths[1].open(encoding="utf-8", newline="") as file:
            recalls = {row["class"]: float(row["recall"] or "nan") for row in csv.DictReader(file)}
        return Evidence(training, known, recalls, read_slices(paths[2]))
    except (ValueError, KeyError, TypeError) as error:
        files = ", ".join(map(workspace.shown, paths))
        raise RegistryError(f"one of {files} is not what evaluate writes ({error!r}): run `dvc repro -s -f evaluate`") from None


def read_slices(path: Path) -> dict[str, float]:
    """Return slice of the test split → accuracy, of a slices.csv.

    Raises:
        ValueError, KeyError, TypeError: it is not what evaluate writes.
    """
    with path.open(encoding="utf-8", newline="") as file:
        worst_last = reversed(list(csv.DictReader(file)))  # of equal names the worst counts
        return {
            f"{row['feature']} {float(row['from']):.3g} – {float(row['to']):.3g}": float(row["accuracy"]) for row in worst_last
        }
