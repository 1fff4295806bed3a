"""Precision against recall of each class: a panel each, with the other classes faint behind it."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluate.figures import QUIET, STYLE, save, shortened
from pipeline.evaluate.wording import decimal
from pipeline.scores.metrics import ClassScores, Floats, precision_recall

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANELS, _ACROSS = 10, 5
_POINTS = 200  # of a curve: as many as a panel has pixels that can be told apart
_LINE = "#1f5fa8"


def draw(
    labels: NDArray[np.int32],
    probabilities: NDArray[np.float32],
    per_class: ClassScores,
    class_names: tuple[str, ...],
    path: Path,
) -> None:
    """A panel per class that has pictures; of more than ten classes those of lowest average precision, PNG.

    Args:
        labels: True classes, `(n,)`.
        probabilities: `(n, classes)`.
        per_class: Scores of each class.
        class_names: By label.
        path: The file to write.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    shown = choose(per_class.average_precision)
    curves = {label: curve(labels == label, probabilities[:, label]) for label in shown}
    lowest = min(0.9, *(float(precision[recall > 0].min()) for precision, recall in curves.values()))
    across = min(max(len(shown), 2), _ACROSS)
    down = math.ceil(len(shown) / across)
    with rc_context(STYLE):
        width, height = 2.45 * across + 0.75, 2.5 * down + 0.3
        figure = Figure(figsize=(width, height))
        figure.subplots_adjust(
            left=0.7 / width, right=1 - 0.12 / width, bottom=0.6 / height, top=1 - 0.3 / height, wspace=0.08, hspace=0.25
        )
        panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, label in zip(panels, shown, strict=False):
            title = f"{shortened(class_names[label], 16)} · AP {decimal(float(per_class.average_precision[label]))}"
            _panel(axes, [curves[other] for other in shown if other != label], curves[label], title)
            axes.set(xlim=(0, 1.02), ylim=(lowest - 0.02, 1.02))
            axes.set_xticks((0, 0.5, 1), ("0", "0.5", "1"))
        for axes in panels[len(shown) :]:
            axes.set_axis_off()
        figure.supxlabel("Recall: share of the class that is found", size=10, y=0.1 / height)
        figure.supylabel("Precision", size=10, x=0.06 / width)
        save(figure, path)


def _panel(axes: "Axes", others: list[tuple[Floats, Floats]], own: tuple[Floats, Floats], title: str) -> None:
    for precision, recall in others:
        axes.plot(recall, precision, color=QUIET, alpha=0.25, linewidth=0.8)
    precision, recall = own
    axes.plot(recall, precision, color=_LINE, linewidth=2)
    axes.set_title(title, size=10)
    axes.grid(color=QUIET, alpha=0.2)
    axes.spines[["top", "right"]].set_visible(False)


def choose(average_precision: Floats) -> list[int]:
    """The classes to show, by label: all that have pictures, or of too many the ten of lowest average precision."""
    known = np.flatnonzero(~np.isnan(average_precision))
    worst = known[np.argsort(average_precision[known], kind="stable")[:_PANELS]]
    chosen: list[int] = np.sort(worst).tolist()
    return chosen


def curve(is_class: NDArray[np.bool_], given: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Precision and recall, thinned out to points that are about evenly far apart in recall; the last is kept."""
    precision, recall = precision_recall(is_class, given)
    found = np.searchsorted(recall, np.linspace(0, 1, _POINTS) * recall[-1])
    kept = np.unique(np.minimum(found, len(recall) - 1))
    return precision[kept], recall[kept]
