"""The evaluation as tables: files for machines, the metrics that MLflow shows, and the summary in the terminal.

An undefined score (0/0) is an empty cell, and is left out of metrics.json and MLflow: every number there is finite.
"""

import json
import math
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline import predictions
from pipeline.evaluate.evaluation import Evaluation
from pipeline.predictions import CONFUSION_COLUMN
from pipeline.scores.intervals import proportion
from pipeline.scores.metrics import METRICS, decimal, normalized, percent
from pipeline.workspace import Workspace, replacing, write_text

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

_WIDE = 60  # characters; below, the summary's tables have fewer columns
_SLUG = 200  # characters; NFKD can make ten of one
_CLASSES = 20  # of the summary at most; with more, those with the lowest recall


def files(workspace: Workspace) -> list[Path]:
    """Return the tables that go to MLflow."""
    confusion = [workspace.confusion_csv, workspace.confusion_normalized_csv]
    scores = [workspace.metrics, workspace.per_class, workspace.intervals, workspace.slices, workspace.calibration_csv]
    return [*scores, *confusion, workspace.predictions, workspace.baseline]


def write(evaluation: Evaluation, workspace: Workspace) -> None:
    """Write metrics.json, the CSV tables and the predictions."""
    import pandas as pd

    names, scores = evaluation.class_names, evaluation.scores
    for matrix, path in (
        (scores.confusion, workspace.confusion_csv),
        (normalized(scores.confusion), workspace.confusion_normalized_csv),
    ):
        frame = pd.DataFrame(matrix, columns=list(predictions.class_columns(names)))
        frame.insert(0, CONFUSION_COLUMN, names)
        _write_csv(frame, path)
    _write_csv(pd.DataFrame(_per_class(evaluation)), workspace.per_class)
    figures, bins = scores.figures(), scores.calibration
    rows = [(name, figures[name], *interval) for name, interval in evaluation.intervals.items()]
    _write_csv(pd.DataFrame(rows, columns=["score", "value", "low", "high"]), workspace.intervals)
    parts = [(each.feature, each.low, each.high, each.images, each.accuracy, *each.interval) for each in evaluation.slices]
    columns = ["feature", "from", "to", "images", "accuracy", "accuracy_low", "accuracy_high"]
    _write_csv(pd.DataFrame(parts, columns=columns), workspace.slices)
    confidence = {"confidence": bins.confidence, "accuracy": bins.accuracy, "images": bins.images}
    _write_csv(pd.DataFrame(confidence), workspace.calibration_csv)
    by_label = np.array(names, dtype=object)
    pairs = {"actual": by_label[evaluation.predictions.labels], "predicted": by_label[evaluation.predictions.predicted]}
    _write_csv(pd.DataFrame(pairs), workspace.confusion_pairs)
    with replacing(workspace.predictions) as aside:
        predictions.write(evaluation.predictions, names, aside)
    content = figures | {"baseline_accuracy": evaluation.baseline.accuracy, "test_images": len(evaluation.predictions.labels)}
    write_text(workspace.metrics, json.dumps(content, indent=2, allow_nan=False) + "\n")


def _per_class(evaluation: Evaluation) -> dict[str, Sequence[str] | NDArray[Any]]:
    """Return the columns of per_class.csv."""
    per_class, confusion = evaluation.scores.per_class, evaluation.scores.confusion
    columns: dict[str, Sequence[str] | NDArray[Any]] = {"class": evaluation.class_names}
    ratios = (("precision", per_class.precision, confusion.sum(axis=0)), ("recall", per_class.recall, per_class.support))
    for name, values, of in ratios:
        columns[name] = values
        columns[f"{name}_low"], columns[f"{name}_high"] = proportion(np.diagonal(confusion), of)
    others = {"f1": per_class.f1, "average_precision": per_class.average_precision, "support": per_class.support}
    return {**columns, **others}


def _write_csv(frame: "pd.DataFrame", path: Path) -> None:
    with replacing(path) as aside:
        frame.to_csv(aside, index=False, lineterminator="\n")


def tracked(evaluation: Evaluation) -> dict[str, float]:
    """Return the metrics for MLflow, `test/…`, which makes chart sections of `a/b` names."""
    per_class, names = evaluation.scores.per_class, slugs(evaluation.class_names)
    found = evaluation.scores.figures() | {"baseline_accuracy": evaluation.baseline.accuracy}
    for score, values in (("recall", per_class.recall), ("precision", per_class.precision), ("f1", per_class.f1)):
        found |= {f"{score}/{name}": value for name, value in zip(names, values.tolist(), strict=True) if math.isfinite(value)}
    return {f"test/{name}": value for name, value in found.items()}


def slugs(class_names: tuple[str, ...]) -> list[str]:
    """Return a name of `a-z 0-9 -` for each class: MLflow refuses `( ) , ' & + %` in metric names, and takes 250 characters.

    Where that leaves two classes with the same name, or one with none, each gets its label in front.
    """
    plain = [unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower() for name in class_names]
    found = [re.sub("[^a-z0-9]+", "-", name)[:_SLUG].strip("-") for name in plain]
    if len(set(found)) == len(found) and all(found):
        return found
    return [f"{label}-{slug}".strip("-") for label, slug in enumerate(found)]


def show(evaluation: Evaluation, workspace: Workspace) -> None:
    """Print the summary to stdout: scores per class, scores of the whole, the weakest class, where the report is."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    weakest = evaluation.scores.weakest
    recall = percent(float(evaluation.scores.per_class.recall[weakest]))
    console.print(_class_table(evaluation, console.width))
    console.print(_score_table(evaluation, console.width))
    console.print(f"baseline: {percent(evaluation.baseline.accuracy, 2)}, {evaluation.baseline.name}")
    console.print(f"{len(evaluation.predictions.labels):,} test images, {evaluation.images_per_second:,.0f} images/s")
    console.print(f"weakest class: {evaluation.class_names[weakest]}, recall {recall}")
    console.print(f"report: {workspace.shown(workspace.report)}")


def _class_table(evaluation: Evaluation, width: int) -> "Table":
    """Return a row per class; a narrow terminal gets fewer columns, but always the class."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    per_class, weakest = evaluation.scores.per_class, evaluation.scores.weakest
    columns = {
        "precision": [percent(value) for value in per_class.precision.tolist()],
        "recall": [percent(value) for value in per_class.recall.tolist()],
        "F1": [decimal(value) for value in per_class.f1.tolist()],
        "images": [f"{value:,}" for value in per_class.support.tolist()],
    }
    shown = list(columns) if width >= _WIDE else ["recall", "F1"]
    classes = len(per_class.recall)
    rows = range(classes) if classes <= _CLASSES else np.argsort(per_class.recall, kind="stable")[:_CLASSES].tolist()
    hidden = f"and {classes - len(rows):,} classes with higher recall" if len(rows) < classes else None
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption=hidden)
    table.add_column("class", overflow="fold", min_width=8)
    for name in shown:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        style = "bold red" if row == weakest else ""
        table.add_row(Text(evaluation.class_names[row]), *(columns[name][row] for name in shown), style=style)
    return table


def _score_table(evaluation: Evaluation, width: int) -> "Table":
    """Return a row per score with its interval, which a narrow terminal has no space for."""
    from rich import box
    from rich.table import Table

    figures = evaluation.scores.figures()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("score", no_wrap=True)
    for name in ("value", "95 % interval") if width >= _WIDE else ("value",):
        table.add_column(name, justify="right", no_wrap=True)
    for metric in METRICS:
        interval = evaluation.intervals[metric.key]
        cells = metric.text(figures[metric.key]), f"{metric.text(interval.low)} – {metric.text(interval.high)}"
        table.add_row(metric.name, *cells[: len(table.columns) - 1], style="bold" if metric is METRICS[0] else "")
    return table
