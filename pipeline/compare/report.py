"""The comparison of two models as one self-contained page."""

import io
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import page
from pipeline.compare.comparison import Change, ClassChange, Comparison, said_p
from pipeline.compare.models import Evaluated
from pipeline.evaluate import confusion
from pipeline.evaluate.wording import UNDEFINED, decimal, percent

_TEMPLATE = Path(__file__).with_name("report.html.j2")
_PICTURES = 24  # of those newly right, and as many of those newly wrong
_CLASSES = 100  # rows of the table of classes; beyond, those that changed most
_CELLS_UP_TO = 30  # classes; beyond, the matrix is a picture
_TONES = {"better": "good", "worse": "bad"}  # classes of the page's style
_SECTIONS = (
    ("scores", "Scores"),
    ("test", "Test"),
    ("classes", "Classes"),
    ("confusion", "Confusion"),
    ("pictures", "Pictures"),
    ("differences", "Differences"),
    ("origin", "Origin"),
)


def html(found: Comparison) -> str:
    """The page of `found`; pictures are inside, it asks for nothing."""
    a, b = found.pair.a, found.pair.b
    classes = list(_classes(found))
    return page.render(
        _TEMPLATE,
        a=_origin(a),
        b=_origin(b),
        headline=found.headline,
        tone=_TONES.get(found.verdict, ""),
        evidence=found.evidence,
        scored_again=found.pair.scored_again,
        better=[each.name for each in found.classes if each.verdict == "better"],
        worse=[each.name for each in found.classes if each.verdict == "worse"],
        sections=_SECTIONS,
        changes=[_change(each) for each in found.changes],
        counts=_counts(found),
        p=said_p(found.p),
        classes=classes,
        hidden_classes=len(found.classes) - len(classes),
        names=a.class_names,
        confusion=list(_confusion(found)) if len(a.class_names) <= _CELLS_UP_TO else [],
        confusion_png=_confusion_png(found) if len(a.class_names) > _CELLS_UP_TO else None,
        has_pictures=found.pair.images is not None,
        newly_right=_grid(found, right=True),
        newly_wrong=_grid(found, right=False),
        params=list(_differing(_flat(a), _flat(b))),
        environment=list(_differing(a.record.environment, b.record.environment)),
    )


def _change(each: Change) -> Mapping[str, str]:
    return {
        "name": each.score.name,
        "a": each.score.said(each.a),
        "b": each.score.said(each.b),
        "change": each.score.said_change(each.b - each.a),
        "interval": each.score.said_changes(each.interval.low, each.interval.high),
        "verdict": each.verdict,
        "tone": _TONES.get(each.verdict, ""),
    }


def _counts(found: Comparison) -> Mapping[str, str]:
    """The four cells of McNemar's table."""
    a, b = found.pair.a.correct, found.pair.b.correct
    cells = {"both": a & b, "only_a": a & ~b, "only_b": b & ~a, "neither": ~a & ~b}
    return {name: f"{np.count_nonzero(rows):,}" for name, rows in cells.items()}


def _classes(found: Comparison) -> Iterator[Mapping[str, Any]]:
    """A row per class; of too many, those whose recall changed most, in their order."""
    changed = sorted(range(len(found.classes)), key=lambda label: -abs(np.nan_to_num(np.diff(found.classes[label].recall)[0])))
    for label in sorted(changed[:_CLASSES]):
        yield _class(found.classes[label])


def _class(each: ClassChange) -> Mapping[str, Any]:
    recall, f1 = each.recall[1] - each.recall[0], each.f1[1] - each.f1[0]
    return {
        "name": each.name,
        "verdict": each.verdict,
        "tone": _TONES.get(each.verdict, ""),
        "figures": [
            (f"{each.pictures:,}", each.pictures),
            (percent(each.recall[0]), _exact(each.recall[0])),
            (percent(each.recall[1]), _exact(each.recall[1])),
            (UNDEFINED if math.isnan(recall) else f"{100 * recall:+.1f} pp", _exact(recall)),
            (f"{each.won:,}", each.won),
            (f"{each.lost:,}", each.lost),
            (said_p(each.p).removeprefix("= "), _exact(each.p)),
            (decimal(each.f1[0]), _exact(each.f1[0])),
            (decimal(each.f1[1]), _exact(each.f1[1])),
            (UNDEFINED if math.isnan(f1) else f"{f1:+.3f}", _exact(f1)),
        ],
    }


def _exact(value: float) -> float | str:
    """What the table sorts by."""
    return "" if math.isnan(value) else round(value, 8)


def _confusion(found: Comparison) -> Iterator[Mapping[str, Any]]:
    """The rows of the matrix; a cell's share is of the largest change, and its tone says whether it is for the better."""
    change, names = found.confusion, found.pair.a.class_names
    most = max(int(np.abs(change).max()), 1)
    for actual, name in enumerate(names):
        cells = [
            {
                "text": f"{more:+,}" if more else "",
                "tone": "better" if (more > 0) == (actual == predicted) else "worse",
                "share": round(abs(more) / most, 3),
                "title": f"{name}, {'called right' if actual == predicted else f'called {names[predicted]}'}: {more:+,}",
            }
            for predicted, more in enumerate(change[actual].tolist())
        ]
        yield {"name": name, "cells": cells}


def _confusion_png(found: Comparison) -> page.Picture:
    file = io.BytesIO()
    confusion.draw_change(found.confusion, file)
    return page.drawing(file.getvalue())


def _grid(found: Comparison, right: bool) -> list[Mapping[str, str]]:
    """The pictures that only B has right, or only A; none where the pictures are not here."""
    a, b, images = found.pair.a, found.pair.b, found.pair.images
    if images is None:
        return []
    return [
        {
            "picture": page.embedded_pixels(images[row]),
            "source": str(a.source_index[row]),
            "true": a.class_names[a.labels[row]],
            "a": a.class_names[a.predicted[row]],
            "b": b.class_names[b.predicted[row]],
            "a_sure": percent(float(a.probabilities[row].max()), 0),
            "b_sure": percent(float(b.probabilities[row].max()), 0),
        }
        for row in found.newly(right, _PICTURES).tolist()
    ]


def _flat(each: Evaluated) -> Mapping[str, str]:
    """The params by their path in params.yaml, and what else determined the training."""
    record = each.record
    flat = {f"{section}.{key}": str(value) for section, keys in record.params.items() for key, value in keys.items()}
    began = f"{record.warm_start['model_name']} version {record.warm_start['version']}" if record.warm_start else UNDEFINED
    return {**flat, "train.architecture": record.architecture, "threads used": str(record.threads), "began as": began}


def _differing(a: Mapping[str, str], b: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Name and both values of what is not equal."""
    for name in dict.fromkeys([*a, *b]):
        if a.get(name) != b.get(name):
            yield name, a.get(name, UNDEFINED), b.get(name, UNDEFINED)


def _origin(each: Evaluated) -> Mapping[str, Any]:
    record = each.record
    return {
        "name": each.source.name,
        "model_name": each.source.model_name,
        "run_id": each.source.run_id,
        "record": record,
        "trained": f"{datetime.fromtimestamp(record.finished_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC",
        "data_digest": each.data_digest,
    }
