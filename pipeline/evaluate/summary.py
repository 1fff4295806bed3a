"""The evaluation in the terminal: headline, classes, the weakest one, where to look. Plain under NO_COLOR and in a pipe."""

from typing import TYPE_CHECKING

import numpy as np

from pipeline.evaluate import tables
from pipeline.evaluate.evaluation import Evaluation
from pipeline.evaluate.wording import SCORES, decimal, percent
from pipeline.scores.metrics import ClassScores, Floats
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from rich.table import Table

_WIDE = 60  # characters; below, the table shows the class, its recall and F1
_CLASSES = 20  # shown at most; with more, those with the lowest recall


def show(evaluation: Evaluation, workspace: Workspace) -> None:
    """Prints the summary to stdout."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    scores = evaluation.scores
    console.print(_table(evaluation, console.width))
    console.print(_headline(evaluation, console.width))
    console.print(f"{len(evaluation.predictions.labels):,} test pictures · {evaluation.images_per_second:,.0f} images/s")
    weakest = scores.weakest
    console.print(
        f"weakest class: {evaluation.class_names[weakest]}, recall {percent(float(scores.per_class.recall[weakest]))}"
    )
    console.print(f"look at {workspace.shown(workspace.report)}")


def _table(evaluation: Evaluation, width: int) -> "Table":
    """One row per class; a terminal of few characters gets fewer columns, never none for the class."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    recall, weakest = evaluation.scores.per_class.recall, evaluation.scores.weakest
    rows, columns = _rows(recall), _columns(evaluation.scores.per_class)
    shown = list(columns) if width >= _WIDE else ["recall", "F1"]
    hidden = len(recall) - len(rows)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption=f"and {hidden:,} classes with higher recall" if hidden else None)
    table.add_column("class", overflow="fold", min_width=8)
    for name in shown:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        style = "bold red" if row == weakest else ""
        table.add_row(Text(evaluation.class_names[row]), *(columns[name][row] for name in shown), style=style)
    return table


def _headline(evaluation: Evaluation, width: int) -> "Table":
    """One row per score with its interval, for which a terminal of few characters has no room."""
    from rich import box
    from rich.table import Table

    values, intervals = tables.figures(evaluation.scores), evaluation.intervals
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("score", no_wrap=True)
    for name in ("value", "95 % interval") if width >= _WIDE else ("value",):
        table.add_column(name, justify="right", no_wrap=True)
    for score in SCORES:
        interval = intervals[score.key]
        cells = score.said(values[score.key]), f"{score.said(interval.low)} – {score.said(interval.high)}"
        table.add_row(score.name, *cells[: len(table.columns) - 1], style="bold" if score is SCORES[0] else "")
    return table


def _columns(per_class: ClassScores) -> dict[str, list[str]]:
    return {
        "precision": [percent(value) for value in per_class.precision.tolist()],
        "recall": [percent(value) for value in per_class.recall.tolist()],
        "F1": [decimal(value) for value in per_class.f1.tolist()],
        "pictures": [f"{value:,}" for value in per_class.support.tolist()],
    }


def _rows(recall: Floats) -> list[int]:
    """The classes to show: all, in their order, or the weakest first where they are too many."""
    everyone = range(len(recall))
    return list(everyone) if len(recall) <= _CLASSES else np.argsort(recall, kind="stable")[:_CLASSES].tolist()
