"""The evaluation for people: a self-contained page, and the model card that becomes the version's description."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import page
from pipeline.evaluate.evaluation import MEANING, Evaluation
from pipeline.evaluate.plots import confusion, figures
from pipeline.fonts import drawable, shortened
from pipeline.page import plain
from pipeline.scores import significance
from pipeline.scores.intervals import proportion
from pipeline.scores.metrics import METRICS, confused_pairs, decimal, normalized, percent
from pipeline.workspace import Workspace, write_text

_TEMPLATE = Path(__file__).parent / "report.html.j2"
_CARD = Path(__file__).parent / "model_card.md.j2"
_PLOTS = ("calibration", "confidence", "precision_recall", "network", "curves")
_PAIRS, _SLICES, _IMAGES = 10, 10, 24
_CLASSES = 250  # rows of the table of classes; beyond, the weakest
_CELLS_UP_TO = 30  # classes; beyond, the matrix is a heat map
_CARD_CLASSES, _CARD_FAILURES = 20, 3


def write(evaluation: Evaluation, workspace: Workspace) -> None:
    """Write model_card.md, and report.html with the plots that are already drawn."""
    write_text(workspace.model_card, _card(evaluation))
    scores, names, found = evaluation.scores, evaluation.class_names, evaluation.predictions
    classes, values = list(_classes(evaluation)), scores.figures()
    html = page.render(
        _TEMPLATE,
        data=evaluation.data.description,
        training=evaluation.training,
        names=names,
        accuracy=percent(scores.accuracy, 2),
        baseline=_baseline(evaluation),
        metrics=[(each.name, *map(each.text, (values[each.key], *evaluation.intervals[each.key]))) for each in METRICS],
        images=f"{len(found.labels):,}",
        mistakes=f"{np.count_nonzero(~found.correct):,}",
        weakest=names[scores.weakest],
        weakest_recall=percent(float(scores.per_class.recall[scores.weakest])),
        warned=_warned(workspace),
        classes=classes,
        hidden_classes=f"{len(names) - len(classes):,}" if len(names) > len(classes) else "",
        confusion=list(_confusion(evaluation)) if len(names) <= _CELLS_UP_TO else [],
        heat_map=_heat_map(evaluation) if len(names) > _CELLS_UP_TO else None,
        drawn_otherwise=[(each.text, name) for each, name in zip(drawable(names), names, strict=True) if each.text != name],
        pairs=list(_pairs(evaluation)),
        slices=list(_slices(evaluation)),
        meanings={each.feature.replace("_", " "): MEANING[each.feature] for each in evaluation.slices[:_SLICES]},
        plots={name: page.plot(getattr(workspace, f"{name}_png").read_bytes()) for name in _PLOTS},
        examples=_images(evaluation, _examples(evaluation)),
        mistakes_shown=_images(evaluation, _first(np.flatnonzero(~found.correct), -found.confidence)),
        hits_shown=_images(evaluation, _first(np.flatnonzero(found.correct), found.confidence)),
        atlas=_atlas(evaluation),
        bins=len(scores.calibration.images),
    )
    write_text(workspace.report, html)


def _first(rows: NDArray[np.int64], order: NDArray[np.float32]) -> list[int]:
    """Return those of `rows` that come first in `order`."""
    first: list[int] = rows[np.argsort(order[rows], kind="stable")[:_IMAGES]].tolist()
    return first


def _examples(evaluation: Evaluation) -> list[int]:
    pairs = confused_pairs(evaluation.scores.confusion, _PAIRS)
    return figures.one_per_pair(evaluation.predictions, [(pair.actual, pair.predicted) for pair in pairs])


def _images(evaluation: Evaluation, rows: Sequence[int]) -> list[Mapping[str, Any]]:
    """Return what the page shows of `rows` of the test split."""
    names, found = evaluation.class_names, evaluation.predictions
    return [
        {
            "png": page.embedded_pixels(evaluation.data.test.images[row]),
            "source": found.origin(row),
            "true": names[found.labels[row]],
            "predicted": [("", names[found.predicted[row]], found.correct[row], percent(float(found.confidence[row]), 0))],
        }
        for row in rows
    ]


def _baseline(evaluation: Evaluation) -> str:
    """Return the baseline, and how the model compares with it on the same images, in two sentences."""
    baseline = evaluation.baseline
    lost, won = significance.lost_and_won(baseline.correct, evaluation.predictions.correct)
    p = significance.p_text(significance.worse(won, lost))
    return (
        f"{percent(baseline.accuracy, 2)}, {baseline.name}. {won:,} images are correct with the model only, {lost:,} with the "
        f"baseline only (exact McNemar test of a better model: p {p})."
    )


def _classes(evaluation: Evaluation) -> Iterator[Mapping[str, Any]]:
    """Yield a row per class; of too many, those of lowest recall."""
    scores, per_class = evaluation.scores, evaluation.scores.per_class
    correct = np.diagonal(scores.confusion)
    ends = {"precision": proportion(correct, scores.confusion.sum(axis=0)), "recall": proportion(correct, per_class.support)}
    order = range(len(correct)) if len(correct) <= _CLASSES else np.argsort(per_class.recall, kind="stable")[:_CLASSES].tolist()
    for label in order:
        cells = {}
        for name, values in vars(per_class).items():
            value = values[label].item()
            text = f"{value:,}" if name == "support" else percent(value) if name in ends else decimal(value)
            interval = [percent(end[label]) if math.isfinite(value) else "" for end in ends.get(name, ())]
            cells[name] = (text, "" if math.isnan(value) else round(value, 6), *interval)
        yield {"name": evaluation.class_names[label], "weakest": label == scores.weakest, "cells": cells}


def _confusion(evaluation: Evaluation) -> Iterator[Mapping[str, Any]]:
    counts, names = evaluation.scores.confusion, evaluation.class_names
    shares = normalized(counts)
    loudest = max(int((counts * (1 - np.eye(len(names), dtype=np.int64))).max()), 1)
    for actual, name in enumerate(names):
        cells = [
            {
                "key": f"{actual}-{predicted}",
                "images": int(count),
                "percent": decimal(100 * float(shares[actual, predicted]), 1),
                "correct": actual == predicted,
                "share": 0 if actual == predicted else round(int(count) / loudest, 3),
                "title": _title(evaluation, actual, predicted, int(count)),
            }
            for predicted, count in enumerate(counts[actual])
        ]
        yield {"name": name, "cells": cells}


def _heat_map(evaluation: Evaluation) -> page.HeatMap:
    counts, names = evaluation.scores.confusion, evaluation.class_names
    return page.heat_map(confusion.heat_map(counts), counts, names, confusion.step(len(names)))


def _pairs(evaluation: Evaluation) -> Iterator[Mapping[str, str]]:
    names = evaluation.class_names
    for pair in confused_pairs(evaluation.scores.confusion, _PAIRS):
        yield {
            "key": f"{pair.actual}-{pair.predicted}",
            "actual": names[pair.actual],
            "predicted": names[pair.predicted],
            "images": f"{pair.images:,}",
            "share": percent(pair.share),
            "title": _title(evaluation, pair.actual, pair.predicted, pair.images),
        }


def _title(evaluation: Evaluation, actual: int, predicted: int, count: int) -> str:
    names = evaluation.class_names
    return f"{names[actual]}, {'correct' if actual == predicted else f'predicted {names[predicted]}'}: {count:,}"


def _slices(evaluation: Evaluation) -> Iterator[Mapping[str, Any]]:
    """Yield the weakest slices; a bar is the share of mistakes, the longest 100 wide."""
    most = max((1 - each.accuracy for each in evaluation.slices), default=0) or 1
    for each in evaluation.slices[:_SLICES]:
        yield {
            "name": each.feature.replace("_", " "),
            "range": each.range,
            "images": f"{each.images:,}",
            "accuracy": (percent(each.accuracy), round(each.accuracy, 6), *map(percent, each.interval)),
            "width": round(100 * (1 - each.accuracy) / most, 1),
        }


def _atlas(evaluation: Evaluation) -> Mapping[str, Any]:
    """Return the atlas for the page's style and script: which tile, which file or row of the source, how confident."""
    found = evaluation.predictions
    atlas, place, cells = figures.atlas(evaluation.data.test.images, found), 0, {}
    for (actual, predicted), rows in atlas.cells.items():
        tiles, confidence = range(place, place + len(rows)), found.confidence[rows].tolist()
        cells[f"{actual}-{predicted}"] = list(zip(tiles, map(found.origin, rows), map(percent, confidence), strict=True))
        place += len(rows)
    content = {"columns": atlas.columns, "ratio": atlas.ratio, "cells": cells}
    return {
        "png": page.embedded(atlas.content),
        "columns": atlas.columns,
        "ratio": atlas.ratio,
        "per_cell": figures.PER_CELL,
        "examples": page.data_for_script(content),
    }


def _warned(workspace: Workspace) -> list[str]:
    """Return the expectations that warned, from validation.json; a data set that failed never comes this far."""
    content = json.loads(workspace.need(workspace.validation_json, "validate").read_text(encoding="utf-8"))
    return [each["id"] for each in content["expectations"] if each["verdict"] == "warned"]


def headline(evaluation: Evaluation) -> str:
    """Return the evaluation in a sentence of Markdown that begins plain, as the list of a model's versions shows its start."""
    scores, interval = evaluation.scores, evaluation.intervals["accuracy"]
    return (
        f"{percent(scores.accuracy, 2)} accuracy "
        f"(95 % interval {percent(interval.low, 2)} – {percent(interval.high, 2)}) on "
        f"{len(evaluation.predictions.labels):,} test images of {evaluation.data.description.name}; "
        f"weakest class **{_plain(evaluation.class_names[scores.weakest])}** "
        f"({percent(float(scores.per_class.recall[scores.weakest]))} recall)."
    )


def _card(evaluation: Evaluation) -> str:
    """Return the model card in Markdown."""
    import jinja2

    per_class, names, values = evaluation.scores.per_class, evaluation.class_names, evaluation.scores.figures()
    weakest = np.argsort(per_class.recall, kind="stable")[:_CARD_CLASSES].tolist()
    shown = range(len(names)) if len(names) <= _CARD_CLASSES else weakest
    rows = ((_plain(names[label]), *(array[label] for array in vars(per_class).values())) for label in shown)
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True)  # noqa: S701  # Markdown
    return environment.from_string(_CARD.read_text(encoding="utf-8")).render(
        headline=headline(evaluation),
        training=evaluation.training,
        data=evaluation.data.description,
        images=f"{len(evaluation.predictions.labels):,}",
        seen=f"{evaluation.seen:,}" if evaluation.seen else "none",
        metrics=[(metric.name, metric.text(values[metric.key])) for metric in METRICS],
        baseline=_baseline(evaluation),
        classes=[(name, percent(precision), percent(recall), decimal(f1)) for name, precision, recall, f1, *_ in rows],
        hidden_classes=f"{len(names) - len(shown):,}" if len(names) > len(shown) else "",
        pairs=[
            {"share": percent(pair.share), "actual": _plain(names[pair.actual]), "predicted": _plain(names[pair.predicted])}
            for pair in confused_pairs(evaluation.scores.confusion, _CARD_FAILURES)
        ],
        slices=[
            {"accuracy": percent(each.accuracy), "name": str(each).replace("_", " "), "images": f"{each.images:,}"}
            for each in evaluation.slices[:_CARD_FAILURES]
        ],
    )


def _plain(name: str) -> str:
    """Return a class name as plain Markdown, no longer than a table's cell holds."""
    return plain(shortened(name, 60))
