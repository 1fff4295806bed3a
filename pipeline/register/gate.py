"""The gate: what train and evaluate wrote about a model, and each limit as a rule with its value and verdict."""

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline import provenance
from pipeline.errors import RegistryError
from pipeline.params import RegisterParams
from pipeline.provenance import TrainingRecord
from pipeline.workspace import Workspace


@dataclass(frozen=True)
class Rule:
    """One condition a model must meet."""

    name: str
    value: float
    comparison: Literal["≥", "≤"]
    limit: float
    passed: bool
    detail: str = ""

    def __str__(self) -> str:
        opposite = {"≥": "<", "≤": ">"}[self.comparison]
        text = f"{self.name} {self.value:.4f} {self.comparison if self.passed else opposite} {self.limit:g}"
        return f"{text} ({self.detail})" if self.detail else text


def judge(
    params: RegisterParams,
    accuracy: float,
    recalls: Mapping[str, float],
    calibration_error: float,
    slices: Mapping[str, float],
) -> tuple[Rule, ...]:
    """Return every rule with its verdict.

    Args:
        params: The limits.
        accuracy: Share of test images predicted correctly, 0–1.
        recalls: Class name → recall, 0–1; NaN for a class without test images, which fails its rule.
        calibration_error: Expected calibration error, 0–1.
        slices: Slice of the test split → accuracy, 0–1; without slices there is no rule for them.
    """
    weakest, recall = min(recalls.items(), key=lambda item: -1.0 if math.isnan(item[1]) else item[1])
    error, limit = calibration_error, params.max_calibration_error
    rules = (
        _at_least("accuracy", accuracy, params.min_accuracy),
        _at_least("lowest class recall", recall, params.min_class_recall, weakest),
        Rule("calibration error", error, "≤", limit, error <= limit),
    )
    if not slices:
        return rules
    worst = min(slices, key=lambda name: slices[name])
    return *rules, _at_least("lowest slice accuracy", slices[worst], params.min_slice_accuracy, worst)


def _at_least(name: str, value: float, limit: float, detail: str = "") -> Rule:
    return Rule(name, value, "≥", limit, value >= limit, detail)  # NaN compares false, so it fails


@dataclass(frozen=True)
class Evidence:
    """A training and the performance of its model on the test set."""

    training: TrainingRecord
    metrics: Mapping[str, float]  # as in metrics.json
    recalls: Mapping[str, float]  # class name → recall; NaN for a class without test images
    slices: Mapping[str, float]  # slice of the test split → accuracy


def read_evidence(workspace: Workspace) -> Evidence:
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
