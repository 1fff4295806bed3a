"""Charts: training curves, calibration, confidence, and precision against recall of each class."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import EvaluationError
from pipeline.evaluate.plots.figures import BLUE, CORRECT, INCORRECT, QUIET, STYLE, panels, save
from pipeline.fonts import shortened
from pipeline.predictions import Predictions
from pipeline.restore import way_back
from pipeline.scores.metrics import Calibration, ClassScores, Floats, decimal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = ("train/loss", "validation/loss", "train/accuracy", "validation/accuracy")
_BINS, _THRESHOLDS = 30, 100
_PANELS, _ACROSS = 10, 5
_POINTS = 200  # of a precision-recall curve: as many as a panel has pixels that can be told apart
History = dict[str, Sequence[float]]
Curve = tuple[Floats, Floats]  # precision and recall


def read_history(path: Path) -> History:
    """Return the columns of history.csv, one value per epoch.

    Raises:
        EvaluationError: the file is not what train writes.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        if not rows:
            raise ValueError("no epochs")
        return {column: [float(row[column]) for row in rows] for column in _COLUMNS}
    except (ValueError, KeyError) as error:
        raise EvaluationError(f"{path} is not what train writes ({error!r}): {way_back(path, 'train')}") from None


def draw_history(history: History, path: Path) -> None:
    """Draw loss and accuracy per epoch as PNG; a widening gap between the lines is overfitting."""
    from matplotlib import rc_context
    from matplotlib.ticker import MaxNLocator

    with rc_context(STYLE):
        figure, *both = panels(4)
        for axes, measure in zip(both, ("loss", "accuracy"), strict=True):
            for split, colour, line in (("train", BLUE, "--"), ("validation", INCORRECT, "-")):
                values = history[f"{split}/{measure}"]
                axes.plot(range(1, len(values) + 1), values, line, color=colour, marker="o", markersize=4, label=split)
            axes.set(title=measure.capitalize(), xlabel="Epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.legend(frameon=False)
        save(figure, path)


def draw_calibration(calibration: Calibration, confidence: NDArray[np.float32], path: Path) -> None:
    """Draw the reliability diagram as PNG, a dot per bin joined to the diagonal by its gap; beside it `confidence`, `(n,)`."""
    from matplotlib import rc_context

    lowest = min(float(confidence.min()), 0.95)
    least = min(float(calibration.confidence.min()), float(calibration.accuracy.min()), 0.95)
    with rc_context(STYLE):
        figure, left, right = panels(4.4)
        left.plot([least, 1], [least, 1], "--", color=QUIET, linewidth=1, label="perfectly calibrated")
        ends = np.sort(np.stack([calibration.confidence, calibration.accuracy]), axis=0)
        left.vlines(calibration.confidence, *ends, color=INCORRECT, linewidth=2, label="gap")
        left.plot(calibration.confidence, calibration.accuracy, "o-", color=BLUE, markersize=5, linewidth=1, label="model")
        left.set(title=f"Calibration error {calibration.error:.4f}", xlabel="Mean confidence of a bin", ylabel="Accuracy")
        left.legend(frameon=False, loc="upper left")
        right.hist(confidence, 40, range=(lowest, 1), color=BLUE, weights=np.full(len(confidence), 1 / len(confidence)))
        right.set(title="Distribution of confidence", xlabel="Confidence", ylabel="Share of the images")
        _in_percent(left, right)
        save(figure, path)


def draw_confidence(confidence: NDArray[np.float32], correct: NDArray[np.bool_], path: Path) -> None:
    """Draw as PNG the confidence of correct and incorrect predictions; beside it, what a threshold on confidence gives."""
    from matplotlib import rc_context

    lowest = min(float(confidence.min()), 0.95)
    with rc_context(STYLE):
        figure, left, right = panels(4.4)
        for name, rows, colour, hatch in (("✓ correct", correct, CORRECT, ""), ("✗ incorrect", ~correct, INCORRECT, "///")):
            if shown := confidence[rows].tolist():  # each kind as shares of its own: mistakes are few
                same: dict[str, Any] = {"range": (lowest, 1), "weights": np.full(len(shown), 1 / len(shown)), "color": colour}
                label = f"{name}: {len(shown):,}"
                left.hist(shown, _BINS, histtype="stepfilled", alpha=0.25, hatch=hatch, label=label, **same)
                left.hist(shown, _BINS, histtype="step", linewidth=1.5, **same)
        left.set(title="Confidence of correct and incorrect predictions", xlabel="Confidence", ylabel="Share of each kind")
        thresholds, coverage, accuracy = at_least(confidence, correct, lowest)
        right.plot(thresholds, accuracy, "-", color=CORRECT, linewidth=2, label="accuracy of these")
        right.plot(thresholds, coverage, "--", color=QUIET, linewidth=2, label="share of all images")
        right.set(title="Only predictions above a confidence", xlabel="Confidence threshold", ylabel="Share")
        for axes in (left, right):
            axes.legend(frameon=False)
        _in_percent(left, right)
        save(figure, path)


def at_least(confidence: NDArray[np.float32], correct: NDArray[np.bool_], lowest: float) -> tuple[Floats, Floats, Floats]:
    """Return thresholds from `lowest` up; the share of predictions that reach each; the share of those that is correct."""
    order = np.argsort(confidence, kind="stable")
    thresholds = np.linspace(lowest, float(confidence.max()), _THRESHOLDS)
    first = np.minimum(np.searchsorted(confidence[order], thresholds.astype(np.float32)), len(order) - 1)
    reached = len(order) - first
    found = np.cumsum(correct[order][::-1])[reached - 1]
    return thresholds, reached / len(order), found / reached


def draw_precision_recall(predictions: Predictions, scores: ClassScores, class_names: tuple[str, ...], path: Path) -> None:
    """Draw a panel per class that has images as PNG, the other classes faint behind it; at most ten (see `weakest`)."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    shown = weakest(scores.average_precision)
    curves = {label: curve(predictions.labels == label, predictions.probabilities[:, label]) for label in shown}
    lowest = min(0.9, *(float(precision[recall > 0].min()) for precision, recall in curves.values()))
    across = min(max(len(shown), 2), _ACROSS)
    down = math.ceil(len(shown) / across)
    width, height = 2.45 * across + 0.75, 2.5 * down + 0.3
    with rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        figure.subplots_adjust(
            left=0.7 / width, right=1 - 0.12 / width, bottom=0.6 / height, top=1 - 0.3 / height, wspace=0.08, hspace=0.25
        )
        grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, label in zip(grid, shown, strict=False):
            for other in shown:
                precision, recall = curves[other]
                colour, alpha, line, order = (BLUE, 1, 2, 3) if other == label else (QUIET, 0.25, 0.8, 2)
                axes.plot(recall, precision, color=colour, alpha=alpha, linewidth=line, zorder=order)
            name = shortened(class_names[label], 16)
            axes.set_title(f"{name} · AP {decimal(float(scores.average_precision[label]))}", size=10)
            axes.grid(color=QUIET, alpha=0.2)
            axes.spines[["top", "right"]].set_visible(False)
            axes.set(xlim=(0, 1.02), ylim=(lowest - 0.02, 1.02))
            axes.set_xticks((0, 0.5, 1), ("0", "0.5", "1"))
        for axes in grid[len(shown) :]:
            axes.set_axis_off()
        figure.supxlabel("Recall: share of the class that is found", size=10, y=0.1 / height)
        figure.supylabel("Precision", size=10, x=0.06 / width)
        save(figure, path)


def weakest(average_precision: Floats) -> list[int]:
    """Return all classes that have images, by label, or of too many the ten of lowest average precision."""
    known = np.flatnonzero(~np.isnan(average_precision))
    lowest = known[np.argsort(average_precision[known], kind="stable")[:_PANELS]]
    chosen: list[int] = np.sort(lowest).tolist()
    return chosen


def curve(is_class: NDArray[np.bool_], probability: NDArray[np.float32]) -> Curve:
    """Return precision and rising recall, thinned out to points about evenly far apart in recall; the ends are kept."""
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(is_class, probability)
    precision, recall = precision[::-1], recall[::-1]
    kept = np.unique(np.searchsorted(recall, np.linspace(0, 1, _POINTS)))
    return precision[kept], recall[kept]


def _in_percent(*both: "Axes") -> None:
    from matplotlib.ticker import PercentFormatter

    for axes in both:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1, decimals=0))
