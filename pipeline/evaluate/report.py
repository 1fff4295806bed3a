"""The evaluation as one page: headline first, then per class, confusion, confidence, slices, pictures, and its origin."""

import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import page
from pipeline.evaluate import examples, figures, tables
from pipeline.evaluate.evaluation import Evaluation
from pipeline.evaluate.slices import MEANING
from pipeline.evaluate.wording import SCORES, decimal, percent
from pipeline.scores import metrics
from pipeline.scores.intervals import wilson
from pipeline.workspace import Workspace, replacing

_TEMPLATE = Path(__file__).parent / "report.html.j2"
_SCRIPT = Path(__file__).parent / "report.js"
_PAIRS = 10
_CLASSES = 100  # rows of the table of classes; beyond, the weakest
_CELLS_UP_TO = 30  # classes; beyond, the matrix is a picture
_SLICES = 10
_SECTIONS = (
    ("classes", "Classes"),
    ("confusion", "Confusion"),
    ("confidence", "Confidence"),
    ("slices", "Where it fails"),
    ("pictures", "Pictures"),
    ("network", "What it sees"),
    ("training", "Training"),
    ("origin", "Origin"),
)


@dataclass(frozen=True)
class _Figure:
    name: str
    value: str
    low: str = ""
    high: str = ""


@dataclass(frozen=True)
class _Validation:
    """What the validate stage said of the data."""

    verdict: str
    tone: str  # a class of the page's style
    warned: Sequence[str]  # ids of expectations


def write(evaluation: Evaluation, pictures: int, workspace: Workspace) -> None:
    """Writes reports/report.html from `evaluation` and the pictures that are already drawn; grids hold `pictures` at most."""
    scores, names = evaluation.scores, evaluation.class_names
    wrong = evaluation.predictions.predicted != evaluation.predictions.labels
    classes = list(_classes(evaluation))
    atlas = examples.atlas(
        evaluation.data.test.images,
        evaluation.predictions.labels,
        evaluation.predictions.predicted,
        evaluation.predictions.confidence,
    )
    html = page.render(
        _TEMPLATE,
        data=evaluation.data.description,
        training=evaluation.training,
        names=names,
        accuracy=percent(scores.accuracy, 2),
        figures=list(_figures(evaluation)),
        pictures=f"{len(evaluation.predictions.labels):,}",
        mistakes=f"{np.count_nonzero(wrong):,}",
        weakest=names[scores.weakest],
        weakest_recall=percent(float(scores.per_class.recall[scores.weakest])),
        validation=_validation(workspace),
        sections=[each for each in _SECTIONS if each[0] != "slices" or evaluation.slices],
        classes=classes,
        hidden_classes=f"{len(names) - len(classes):,}" if len(names) > len(classes) else "",
        confusion=list(_confusion(evaluation)) if len(names) <= _CELLS_UP_TO else [],
        confusion_png=page.drawing(workspace.confusion_png.read_bytes()) if len(names) > _CELLS_UP_TO else None,
        pairs=list(_pairs(evaluation)),
        slices=list(_slices(evaluation)),
        meanings=list(_meanings(evaluation)),
        calibration_png=page.drawing(workspace.calibration_png.read_bytes()),
        mistakes_png=_grid(evaluation, np.flatnonzero(wrong), -evaluation.predictions.confidence, pictures),
        hits_png=_grid(evaluation, np.flatnonzero(~wrong), evaluation.predictions.confidence, pictures),
        confidence_png=page.drawing(workspace.confidence_png.read_bytes()),
        precision_recall_png=page.drawing(workspace.precision_recall_png.read_bytes()),
        pairs_png=page.drawing(workspace.confused_pairs_png.read_bytes()),
        network_png=page.drawing(workspace.network_png.read_bytes()),
        curves_png=page.drawing(workspace.curves_png.read_bytes()),
        atlas=_atlas(atlas, evaluation),
        bins=len(scores.calibration.pictures),
        script=page.trusted(_SCRIPT.read_text(encoding="utf-8")),
    )
    with replacing(workspace.report) as aside:
        aside.write_text(html, encoding="utf-8")


def _grid(evaluation: Evaluation, rows: NDArray[np.int64], order: NDArray[np.float32], most: int) -> page.Picture | None:
    """Those of `rows` of the test split that come first in `order`, as a picture for the page; None where there are none."""
    if len(rows) == 0:
        return None
    rows = rows[np.argsort(order[rows], kind="stable")[:most]]
    test, file = evaluation.data.test, io.BytesIO()
    probabilities = evaluation.predictions.probabilities[rows]
    figures.draw_grid(test.images[rows], test.labels[rows], probabilities, evaluation.class_names, file)
    return page.drawing(file.getvalue())


def _figures(evaluation: Evaluation) -> Iterator[_Figure]:
    values = tables.figures(evaluation.scores)
    for score in SCORES:
        interval = evaluation.intervals[score.key]
        yield _Figure(score.name, *(score.said(each) for each in (values[score.key], interval.low, interval.high)))
    yield _Figure("Images / s", f"{evaluation.images_per_second:,.0f}")


def _classes(evaluation: Evaluation) -> Iterator[Mapping[str, Any]]:
    """A row per class; of too many, those of lowest recall."""
    scores, per_class = evaluation.scores, evaluation.scores.per_class
    right = np.diagonal(scores.confusion)
    ends = {"precision": wilson(right, scores.confusion.sum(axis=0)), "recall": wilson(right, per_class.support)}
    order = range(len(right)) if len(right) <= _CLASSES else np.argsort(per_class.recall, kind="stable")[:_CLASSES].tolist()
    for label in order:
        values = {name: array[label].item() for name, array in vars(per_class).items()}
        intervals = {
            f"{name}_{end}": percent(array[label]) if math.isfinite(array[label]) else ""
            for name, arrays in ends.items()
            for end, array in zip(("low", "high"), arrays, strict=True)
        }
        yield {
            "name": evaluation.class_names[label],
            "weakest": label == scores.weakest,
            "precision": percent(values["precision"]),
            "recall": percent(values["recall"]),
            "f1": decimal(values["f1"]),
            "average_precision": decimal(values["average_precision"]),
            "support": f"{values['support']:,}",
            "exact": {name: "" if math.isnan(value) else round(value, 6) for name, value in values.items()},
            **intervals,
        }


def _confusion(evaluation: Evaluation) -> Iterator[Mapping[str, Any]]:
    confusion, names = evaluation.scores.confusion, evaluation.class_names
    shares = metrics.normalized(confusion)
    loudest = max(int((confusion * (1 - np.eye(len(names), dtype=np.int64))).max()), 1)
    for actual, name in enumerate(names):
        cells = [
            {
                "key": f"{actual}-{predicted}",
                "pictures": int(count),
                "percent": decimal(100 * float(shares[actual, predicted]), 1),
                "right": actual == predicted,
                "share": 0 if actual == predicted else round(int(count) / loudest, 3),
                "title": _title(evaluation, actual, predicted, int(count)),
            }
            for predicted, count in enumerate(confusion[actual])
        ]
        yield {"name": name, "cells": cells}


def _pairs(evaluation: Evaluation) -> Iterator[Mapping[str, str]]:
    names = evaluation.class_names
    for pair in metrics.confused_pairs(evaluation.scores.confusion, _PAIRS):
        yield {
            "key": f"{pair.actual}-{pair.predicted}",
            "actual": names[pair.actual],
            "predicted": names[pair.predicted],
            "pictures": f"{pair.pictures:,}",
            "share": percent(pair.share),
            "title": _title(evaluation, pair.actual, pair.predicted, pair.pictures),
        }


def _title(evaluation: Evaluation, actual: int, predicted: int, count: int) -> str:
    called = "called right" if actual == predicted else f"called {evaluation.class_names[predicted]}"
    return f"{evaluation.class_names[actual]}, {called}: {count:,}"


def _slices(evaluation: Evaluation) -> Iterator[Mapping[str, Any]]:
    """The weakest slices; a bar is the share of mistakes, the longest 100 wide."""
    most = max((1 - each.accuracy for each in evaluation.slices), default=0) or 1
    for each in evaluation.slices[:_SLICES]:
        yield {
            "name": each.feature.replace("_", " "),
            "range": each.range,
            "pictures": f"{each.pictures:,}",
            "accuracy": percent(each.accuracy),
            "value": round(each.accuracy, 6),
            "low": percent(each.interval.low),
            "high": percent(each.interval.high),
            "width": round(100 * (1 - each.accuracy) / most, 1),
        }


def _meanings(evaluation: Evaluation) -> Iterator[tuple[str, str]]:
    """Each feature of the slices that are shown, and what it is."""
    for feature in dict.fromkeys(each.feature for each in evaluation.slices[:_SLICES]):
        yield feature.replace("_", " "), MEANING[feature]


def _atlas(atlas: examples.Atlas, evaluation: Evaluation) -> Mapping[str, Any]:
    """The atlas for the page's style and script: which tile, which row of the source, how sure."""
    place, cells = 0, {}
    for (actual, predicted), rows in atlas.cells.items():
        facts = zip(
            evaluation.data.test.source_index[rows].tolist(), evaluation.predictions.confidence[rows].tolist(), strict=True
        )
        cells[f"{actual}-{predicted}"] = [[place + n, source, percent(sure)] for n, (source, sure) in enumerate(facts)]
        place += len(rows)
    ratio = round(atlas.height / atlas.width, 4)
    content = json.dumps({"columns": atlas.columns, "ratio": ratio, "cells": cells}, separators=(",", ":"), ensure_ascii=False)
    return {
        "picture": page.embedded(atlas.content),
        "columns": atlas.columns,
        "ratio": ratio,
        "per_cell": examples.PER_CELL,
        "examples": page.trusted(content),  # figures and percent signs only
    }


def _validation(workspace: Workspace) -> _Validation:
    """The verdict in validation.json; a data set that failed never comes this far."""
    content = json.loads(workspace.need(workspace.validation_json, "validate").read_text(encoding="utf-8"))
    warned = [each["id"] for each in content["expectations"] if each["verdict"] == "warned"]
    if warned:
        return _Validation(f"passed with {len(warned)} warning{'s' * (len(warned) > 1)}", "warn", warned)
    return _Validation("passed", "good", [])
