"""The confusion matrix as a plot, and as pixels for a page of many classes: what happened stands out, errors most."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.evaluate.plots.figures import INK, QUIET, STYLE, Pixels, save
from pipeline.fonts import shortened
from pipeline.scores.metrics import Counts, Floats, normalized

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DIAGONAL = "#e9edf1"
_ERRORS = ("#ffffff", "#fbd9bd", "#f0955a", "#c43c00", "#6d1a00")  # lightness falls steadily
_CHANGE = ("#6d1a00", "#f0955a", "#ffffff", "#6fa8dc", "#123f73")  # worse … better; apart without colour vision too
_NUMBERS_UP_TO, _NAMES_UP_TO = 30, 80  # classes; beyond, what would be written in or beside the cells runs together
_CELLS = 250  # of a row; with more classes a cell is the largest of several, as one would be less than two pixels


def draw(confusion: Counts, class_names: tuple[str, ...], path: Path) -> None:
    """Draw `confusion` (row = true class) as counts and as shares of the rows, PNG; the diagonal quiet, mistakes loud."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    side = min(max(0.52 * len(class_names), 4.2), 14) if len(class_names) <= _NAMES_UP_TO else 6  # inches
    with rc_context(STYLE):
        figure = Figure(figsize=(2 * side + 1.6, side + 1), layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw_matrix(left, confusion.astype(np.float64), "{:.0f}", class_names)
        left.set(title="Images", ylabel="True class")
        _draw_matrix(right, 100 * normalized(confusion), "{:.1f}", class_names)
        right.set(title="Percent of the true class")
        save(figure, path)


def heat_map(confusion: Counts) -> Pixels:
    """Return a pixel per cell of `confusion`, for a page that shows many classes: uint8 `(n, n, 3)`, `n` as of `step`."""
    return _mistakes(confusion.astype(np.float64))


def change_map(change: Counts) -> Pixels:
    """Return the same for how a confusion matrix changed: blue where it got better, orange where worse.

    `change` holds images more than before. Better is one image more on the diagonal or one less beside it.
    """
    gain = np.where(np.eye(len(change), dtype=bool), change, -change).astype(np.float64)
    best, worst = _largest(gain), -_largest(-gain)
    gain = np.where(best >= -worst, best, worst)
    return _coloured(gain / max(np.abs(gain).max(), 1) / 2 + 0.5, _CHANGE)


def step(classes: int) -> int:
    """Return how many classes share a pixel of `heat_map`, across and down: the largest cell of a block is shown."""
    return math.ceil(classes / _CELLS)


def _mistakes(values: Floats) -> Pixels:
    mistakes = np.where(np.eye(len(values), dtype=bool), np.nan, values)
    return _coloured(_largest(mistakes) / _loudest(values), _ERRORS)


def _loudest(values: Floats) -> float:
    return max(float(np.max(values * (1 - np.eye(len(values))), initial=0.0)), 1e-9)


def _largest(values: Floats) -> Floats:
    edges = np.arange(0, len(values), step(len(values)))
    largest: Floats = np.fmax.reduceat(np.fmax.reduceat(values, edges, axis=0), edges, axis=1)
    return largest


def _coloured(shares: Floats, colours: tuple[str, ...]) -> Pixels:
    """Return `shares`, 0 … 1, in a range of `colours`; NaN is the diagonal."""
    from matplotlib.colors import LinearSegmentedColormap

    scale = LinearSegmentedColormap.from_list("", colours).with_extremes(bad=_DIAGONAL)
    coloured: Pixels = scale(shares, bytes=True)[..., :3]
    return coloured


def _draw_matrix(axes: "Axes", values: Floats, pattern: str, class_names: tuple[str, ...]) -> None:
    classes = len(class_names)
    extent = (-0.5, classes - 0.5, classes - 0.5, -0.5)
    axes.imshow(_mistakes(values), interpolation="nearest", extent=extent)
    axes.set_xlabel("Predicted class")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=9 if classes <= _NUMBERS_UP_TO else 6)
    named = range(classes) if classes <= _NAMES_UP_TO else range(0)
    labels = [shortened(class_names[label]) for label in named]
    axes.set_xticks(list(named), labels, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(list(named), labels)
    if classes <= _NUMBERS_UP_TO:
        _write_cells(axes, values, pattern, _loudest(values))


def _write_cells(axes: "Axes", values: Floats, pattern: str, loudest: float) -> None:
    """Write the number in each cell; zeros and undefined cells are a faint dot, so that what happened stands out."""
    for (row, column), value in np.ndenumerate(values):
        happened = value > 0
        loud = row != column and value > 0.55 * loudest
        colour = "white" if loud else INK if happened and row != column else QUIET
        text = pattern.format(value) if happened else "·"
        cell = axes.text(column, row, text, ha="center", va="center", size=8.5, color=colour)
        cell.set_in_layout(False)  # it lies inside; to ask each for its size costs half a second
