"""compare: is B better than A on the same test images? A table in the terminal, and a page with all that changed."""

import errno
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import page, tracking
from pipeline.compare import comparison, models
from pipeline.compare.comparison import ClassChange, Comparison
from pipeline.compare.models import Evaluated
from pipeline.evaluate.plots import confusion
from pipeline.project import Project
from pipeline.scores.metrics import UNDEFINED, decimal, percent
from pipeline.scores.significance import p_text
from pipeline.workspace import write_text

if TYPE_CHECKING:
    from rich.table import Table

_TEMPLATE = Path(__file__).with_name("report.html.j2")
_WIDE = 78  # characters; below, the table shows B and the difference only
_IMAGES = 24  # of those newly correct, and as many of those newly incorrect
_CLASSES = 250  # rows of the table of classes; beyond, those that changed most
_CELLS_UP_TO = 30  # classes; beyond, the matrix is a heat map
_STYLES = {"better": "green", "worse": "bold red"}  # of the terminal
_TONES = {"better": "good", "worse": "bad"}  # classes of the page's style


def run(a: str, b: str, project: Project) -> None:
    """Print the comparison and write reports/compare-A-B.html.

    Raises:
        TrackingError: the tracking store cannot be used or does not answer.
        PipelineError: the two cannot be compared; see `models.pair`.
    """
    found = between(tracking.connect(project.workspace), a, b, project)
    path = write(found, project)
    _show(found, project.workspace.shown(path) if path else "none")


def between(client: Any, a: str, b: str, project: Project) -> Comparison:
    """Return B compared with A; arguments and errors as of `models.pair`."""
    pair = models.pair(client, a, b, project)
    return comparison.compare(pair, comparison.data_drift(client, pair.a.source, pair.b.source))


def write(found: Comparison, project: Project) -> Path | None:
    """Write the page of `found` and return its path, evidence for a promotion; None if the checkout may be read only."""
    names = (each.source.version or each.source.run_id[:8] for each in (found.pair.a, found.pair.b))
    path = project.workspace.comparison(*names)
    try:
        write_text(path, html(found))
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EROFS):
            raise
        tracking.warn(f"{project.workspace.shown(path)} cannot be written ({error.strerror}): the comparison has no page")
        return None
    return path


def _show(found: Comparison, page: str) -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    console.print(f"A: {found.pair.a.source.name}\nB: {found.pair.b.source.name}")
    if found.pair.scored_again:
        console.print(f"note: {found.pair.scored_again}")
    console.print(_table(found, console.width >= _WIDE))
    console.print(found.headline, style=_STYLES.get(found.verdict, ""))
    console.print(found.evidence)
    for verdict, style in _STYLES.items():
        classes = [each for each in found.classes if each.verdict == verdict]
        if classes:
            recalls = (f"{each.name} (recall {percent(each.recall[0])} → {percent(each.recall[1])})" for each in classes)
            console.print(f"{verdict} on {', '.join(recalls)}", style=style)
    if found.data.summary:
        console.print(f"training data differs: {found.data.summary}")
    console.print(f"report: {page}")


def _table(found: Comparison, wide: bool) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD if wide else None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("score", no_wrap=True)
    for name in ("A", "B", "B - A", "95 % interval", "") if wide else ("B", "B - A"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for each in found.changes:
        metric = each.metric
        cells = [metric.text(each.b), metric.change(each.b - each.a)]
        if wide:
            cells = [metric.text(each.a), *cells, metric.changes(*each.interval), each.verdict]
        table.add_row(metric.name, *cells, style=_STYLES.get(each.verdict, ""))
    return table


def html(found: Comparison) -> str:
    """Return the page of `found`; images are inside, it loads nothing."""
    a, b, images = found.pair.a, found.pair.b, found.pair.images
    classes, many = list(_classes(found)), len(a.class_names) > _CELLS_UP_TO
    both_correct, neither = np.count_nonzero(a.correct & b.correct), np.count_nonzero(~a.correct & ~b.correct)
    return page.render(
        _TEMPLATE,
        a=_origin(a),
        b=_origin(b),
        found=found,
        tone=_TONES.get(found.verdict, ""),
        changes=[(each, _TONES.get(each.verdict, "")) for each in found.changes],
        better=[each.name for each in found.classes if each.verdict == "better"],
        worse=[each.name for each in found.classes if each.verdict == "worse"],
        mcnemar=[f"{count:,}" for count in (both_correct, found.lost, found.won, neither)],
        p=p_text(found.p),
        classes=classes,
        hidden_classes=len(found.classes) - len(classes),
        confusion=[] if many else list(_confusion(found)),
        confusion_map=_confusion_map(found) if many else None,
        has_images=images is not None,
        newly_incorrect=_grid(found, correct=False),
        newly_correct=_grid(found, correct=True),
        params=list(_differing(_flat(a), _flat(b))),
        environment=list(_differing(a.record.environment, b.record.environment)),
    )


def _classes(found: Comparison) -> Iterator[Mapping[str, Any]]:
    """Yield a row per class; of too many, those whose recall changed most, in their order."""
    changed = sorted(range(len(found.classes)), key=lambda label: -abs(np.nan_to_num(np.diff(found.classes[label].recall)[0])))
    for label in sorted(changed[:_CLASSES]):
        each = found.classes[label]
        yield {"name": each.name, "verdict": each.verdict, "tone": _TONES.get(each.verdict, ""), "cells": list(_cells(each))}


def _cells(each: ClassChange) -> Iterator[tuple[str, float | str]]:
    """Yield the text of each column, and the value it sorts by."""
    recall, f1 = each.recall[1] - each.recall[0], each.f1[1] - each.f1[0]
    for value, text in (
        (each.images, f"{each.images:,}"),
        (each.recall[0], percent(each.recall[0])),
        (each.recall[1], percent(each.recall[1])),
        (recall, f"{100 * recall:+.1f} pp"),
        (each.won, f"{each.won:,}"),
        (each.lost, f"{each.lost:,}"),
        (each.p, p_text(each.p).removeprefix("= ")),
        (each.f1[0], decimal(each.f1[0])),
        (each.f1[1], decimal(each.f1[1])),
        (f1, f"{f1:+.3f}"),
    ):
        yield (UNDEFINED, "") if math.isnan(value) else (text, round(value, 8))


def _confusion(found: Comparison) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """Yield the rows of the matrix; a cell's share is of the largest change, its tone whether it is an improvement."""
    change, names = found.confusion, found.pair.a.class_names
    most = max(int(np.abs(change).max()), 1)
    for actual, name in enumerate(names):
        yield (
            name,
            [
                {
                    "text": f"{more:+,}" if more else "",
                    "tone": "better" if (more > 0) == (actual == predicted) else "worse",
                    "share": round(abs(more) / most, 3),
                    "title": f"{name}, {'correct' if actual == predicted else f'predicted {names[predicted]}'}: {more:+,}",
                }
                for predicted, more in enumerate(change[actual].tolist())
            ],
        )


def _confusion_map(found: Comparison) -> page.HeatMap:
    change, names = found.confusion, found.pair.a.class_names
    return page.heat_map(confusion.change_map(change), change, names, confusion.step(len(names)))


def _grid(found: Comparison, correct: bool) -> list[Mapping[str, Any]]:
    """Return the images that only B predicts correctly, or only A; none where data/dataset does not exist."""
    a, b, images = found.pair.a, found.pair.b, found.pair.images
    if images is None:
        return []
    return [
        {
            "png": page.embedded_pixels(images[row]),
            "source": found.pair.files[row] if found.pair.files else f"source {a.source_index[row]}",
            "true": a.class_names[a.labels[row]],
            "predicted": [
                (f" {name}", each.class_names[each.predicted[row]], each.correct[row], percent(float(each.confidence[row]), 0))
                for name, each in (("A", a), ("B", b))
            ],
        }
        for row in found.newly(correct, _IMAGES).tolist()
    ]


def _flat(each: Evaluated) -> Mapping[str, str]:
    """Return the params by their path in params.yaml, and what else determined the training."""
    record = each.record
    flat = {f"{section}.{key}": str(value) for section, keys in record.params.items() for key, value in keys.items()}
    start = f"{record.warm_start['model_name']} version {record.warm_start['version']}" if record.warm_start else UNDEFINED
    return {**flat, "train.architecture": record.architecture, "threads used": str(record.threads), "warm start from": start}


def _differing(a: Mapping[str, str], b: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield name and both values of what differs."""
    for name in dict.fromkeys([*a, *b]):
        if a.get(name) != b.get(name):
            yield name, a.get(name, UNDEFINED), b.get(name, UNDEFINED)


def _origin(each: Evaluated) -> Mapping[str, Any]:
    trained = f"{datetime.fromtimestamp(each.record.finished_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"
    return {"source": each.source, "record": each.record, "trained": trained, "data_digest": each.data_digest}
