"""The evaluation as files for machines: metrics.json, CSV tables, the predictions; and the metrics that MLflow shows.

An undefined figure (0/0) is an empty cell, and is left out of metrics.json and MLflow: every number there is finite.
"""

import json
import math
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline import predictions
from pipeline.dataset import CONFUSION_COLUMN, TAKEN_NAMES
from pipeline.errors import EvaluationError
from pipeline.evaluate.evaluation import Evaluation
from pipeline.scores import metrics
from pipeline.scores.intervals import wilson
from pipeline.workspace import Workspace, replacing

if TYPE_CHECKING:
    import pandas as pd


def check_names(class_names: tuple[str, ...]) -> None:
    """Makes sure that each class can be a column of the tables.

    Raises:
        EvaluationError: two classes share a name, or one is named like a column that is there anyway.
    """
    taken = set(TAKEN_NAMES)
    for name in class_names:
        if name in taken:
            raise EvaluationError(
                f"the class name {name!r} is already a column of the evaluation's tables: rename the class, then `dvc repro`"
            )
        taken.add(name)


def write(evaluation: Evaluation, workspace: Workspace) -> None:
    """Writes every table of the workspace's evaluation."""
    names, confusion = evaluation.class_names, evaluation.scores.confusion
    _write_csv(_square(confusion, names), workspace.confusion_csv)
    _write_csv(_square(metrics.normalized(confusion), names), workspace.confusion_normalized_csv)
    _write_csv(_per_class(evaluation), workspace.per_class)
    _write_csv(_intervals(evaluation), workspace.intervals)
    _write_csv(_slices(evaluation), workspace.slices)
    _write_csv(_calibration(evaluation), workspace.calibration_csv)
    _write_csv(_pairs(evaluation), workspace.confusion_pairs)
    with replacing(workspace.predictions) as aside:
        predictions.write(evaluation.predictions, names, aside)
    content = figures(evaluation.scores) | {"test_images": len(evaluation.predictions.labels)}
    with replacing(workspace.metrics) as aside:
        aside.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def figures(scores: metrics.Scores) -> dict[str, float]:
    """The scores of the model alone, by the names of metrics.json."""
    return {
        "accuracy": scores.accuracy,
        "top2_accuracy": scores.top2_accuracy,
        "macro_f1": scores.macro_f1,
        "weighted_f1": scores.weighted_f1,
        "log_loss": scores.log_loss,
        "brier": scores.brier,
        "calibration_error": scores.calibration.error,
        "weakest_class_recall": float(scores.per_class.recall[scores.weakest]),
    }


def tracked(evaluation: Evaluation) -> dict[str, float]:
    """The metrics for MLflow, `test/…`, which makes chart sections of `a/b` names."""
    whole = {f"test/{name}": value for name, value in figures(evaluation.scores).items()}
    whole["test/images_per_second"] = evaluation.images_per_second
    return whole | dict(_tracked_per_class(evaluation))


def _tracked_per_class(evaluation: Evaluation) -> Iterator[tuple[str, float]]:
    per_class = evaluation.scores.per_class
    columns = {"recall": per_class.recall, "precision": per_class.precision, "f1": per_class.f1}
    for name, values in columns.items():
        for slug, value in zip(slugs(evaluation.class_names), values.tolist(), strict=True):
            if math.isfinite(value):
                yield f"test/{name}/{slug}", value


def slugs(class_names: tuple[str, ...]) -> list[str]:
    """A name of `a-z 0-9 -` for each class: MLflow refuses `( ) , ' & + %` in metric names.

    Where that leaves two classes with the same name, or one with none, each gets its label in front.
    """
    plain = [unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower() for name in class_names]
    found = [re.sub("[^a-z0-9]+", "-", name).strip("-") for name in plain]
    if len(set(found)) == len(found) and all(found):
        return found
    return [f"{label}-{slug}".strip("-") for label, slug in enumerate(found)]


def _square(matrix: metrics.Counts | metrics.Floats, names: tuple[str, ...]) -> "pd.DataFrame":
    """Rows true, columns predicted."""
    import pandas as pd

    return pd.DataFrame(matrix, columns=list(names)).set_axis(pd.Index(names, name=CONFUSION_COLUMN), axis=0).reset_index()


def _per_class(evaluation: Evaluation) -> "pd.DataFrame":
    import pandas as pd

    scores, confusion = evaluation.scores.per_class, evaluation.scores.confusion
    right = np.diagonal(confusion)
    precision_low, precision_high = wilson(right, confusion.sum(axis=0))
    recall_low, recall_high = wilson(right, scores.support)
    return pd.DataFrame(
        {
            "class": evaluation.class_names,
            "precision": scores.precision,
            "precision_low": precision_low,
            "precision_high": precision_high,
            "recall": scores.recall,
            "recall_low": recall_low,
            "recall_high": recall_high,
            "f1": scores.f1,
            "average_precision": scores.average_precision,
            "support": scores.support,
        }
    )


def _intervals(evaluation: Evaluation) -> "pd.DataFrame":
    """Each score of metrics.json that has one, with its 95 % interval."""
    import pandas as pd

    values = figures(evaluation.scores)
    rows = [(name, values[name], each.low, each.high) for name, each in evaluation.intervals.items()]
    return pd.DataFrame(rows, columns=["score", "value", "low", "high"])


def _calibration(evaluation: Evaluation) -> "pd.DataFrame":
    """One row per bin, the least sure first."""
    import pandas as pd

    bins = evaluation.scores.calibration
    return pd.DataFrame({"confidence": bins.confidence, "accuracy": bins.accuracy, "pictures": bins.pictures})


def _slices(evaluation: Evaluation) -> "pd.DataFrame":
    import pandas as pd

    columns = ["feature", "from", "to", "pictures", "accuracy", "accuracy_low", "accuracy_high"]
    rows = [
        (each.feature, each.low, each.high, each.pictures, each.accuracy, each.interval.low, each.interval.high)
        for each in evaluation.slices
    ]
    return pd.DataFrame(rows, columns=columns)


def _pairs(evaluation: Evaluation) -> "pd.DataFrame":
    """One row per test picture: what it is and what it was called."""
    import pandas as pd

    names = np.array(evaluation.class_names, dtype=object)
    return pd.DataFrame({"actual": names[evaluation.predictions.labels], "predicted": names[evaluation.predictions.predicted]})


def _write_csv(frame: "pd.DataFrame", path: Path) -> None:
    with replacing(path) as aside:
        frame.to_csv(aside, index=False, lineterminator="\n")
