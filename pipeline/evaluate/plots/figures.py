"""The one style of all plots, and grids of test images: Pred/True, and the atlas behind the confusion matrix of the page.

Colours keep their meaning without colour vision: errors differ by lightness, correct and incorrect carry ✓ and ✗ as well.
Equal inputs give equal files. Figures are made without pyplot, which keeps global state and doubles the import time.
"""

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.fonts import shortened
from pipeline.predictions import Predictions
from pipeline.scores.metrics import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Pixels = NDArray[np.uint8]  # (h, w, c)
Cell = tuple[int, int]  # true class, predicted class

DPI = 160  # sharp on a retina screen at half size
INK, QUIET, BLUE = "#1c2126", "#5b6670", "#1f5fa8"
CORRECT, INCORRECT = "#00705a", "#c43c00"  # bluish green and vermilion, darkened from Okabe & Ito until they read as text
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,  # a class name may hold a $
    "axes.labelcolor": INK,
    "axes.titlesize": 12,
}
PER_CELL = 12  # images behind a cell of the confusion matrix, at most
_MARGIN, _TITLE = 0.06, 0.36  # of an image's width: between images, and the two lines above each
_SMALLEST, _LARGEST = 28, 200  # pixels; images are enlarged to about this, or thinned out to that
_COLUMN = 240  # pixels of an image of the grid with its margins
_TILES, _TILE_VALUES, _TILE = 1000, 800_000, 96  # of an atlas: images, bytes of pixels, pixels of a tile's side; all at most
_PNG = {"compress_level": 3}  # half the time of the usual 6, for files a tenth larger


def panels(height: float) -> "tuple[Figure, Axes, Axes]":
    """Return a figure of two panels, `height` in inches; margins are fixed, as finding them takes a third of the time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, height))
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.065, right=0.985, bottom=0.55 / height, top=1 - 0.4 / height, wspace=0.17)
    for axes in (left, right):
        axes.grid(color=QUIET, alpha=0.2)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, left, right


def save(figure: "Figure", path: Path) -> None:
    """Write `figure` as PNG, the same bytes for the same figure."""
    figure.savefig(path, dpi=DPI, format="png", facecolor="white", metadata={"Software": None}, pil_kwargs=_PNG)


@contextmanager
def written_on(canvas: Pixels, path: Path) -> "Iterator[Axes]":
    """Yield axes in pixels to write on the white parts of `canvas`, uint8 `(height, width, 3)`; then save both as PNG.

    A pixel of the canvas is a pixel of the file: matplotlib, which would resample it, draws the text alone.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    height, width = canvas.shape[:2]
    with rc_context(STYLE):
        figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
        agg: Any = FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
        axes.set_axis_off()
        yield axes
        agg.draw()
        text = np.asarray(agg.buffer_rgba())[:height, :width, :3]
    Image.fromarray(np.minimum(canvas, text)).save(path, "PNG", **_PNG)


def draw_text(text: str, path: Path) -> None:
    """Draw `text` as PNG: an output that has nothing to show still exists."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(6, 1))
        figure.text(0.5, 0.5, text, ha="center", va="center", size=12)
        save(figure, path)


def enlarged(pixels: Pixels, height: int, width: int) -> Pixels:
    """Return `pixels` scaled to `(height, width, c)`, each pixel as a block."""
    rows, columns = (np.arange(new) * old // new for new, old in zip((height, width), pixels.shape, strict=False))
    blocks: Pixels = pixels[rows][:, columns]
    return blocks


def choose(predictions: Predictions, count: int) -> NDArray[np.int64]:
    """Return the rows for the grid: half of them mistakes, the most confident first, then the first correct ones.

    Where there are too few of one kind, the other fills up; at most `count` rows, fewer where there are fewer images.
    """
    mistakes, hits = np.flatnonzero(~predictions.correct), np.flatnonzero(predictions.correct)
    mistakes = mistakes[np.argsort(-predictions.confidence[mistakes], kind="stable")]
    shown = min(len(mistakes), max(count // 2, count - len(hits)))
    return np.concatenate([mistakes[:shown], hits[: count - shown]])


def one_per_pair(predictions: Predictions, pairs: Sequence[Cell]) -> list[int]:
    """Return the row of the most confident mistake of each pair (true class, predicted class)."""
    found = []
    for actual, predicted in pairs:
        rows = np.flatnonzero((predictions.labels == actual) & (predictions.predicted == predicted))
        found.append(int(rows[predictions.confidence[rows].argmax()]))
    return found


def draw_grid(
    images: NDArray[np.uint8],
    predictions: Predictions,
    rows: Sequence[int] | NDArray[np.int64],
    class_names: tuple[str, ...],
    path: Path,
    across: int = 8,
) -> None:
    """Draw `rows` of `images`, uint8 `(n, h, w, c)`, as PNG, each under its predicted and its true class.

    At most `across` stand side by side, more where they would be more than so many rows.
    """
    shown = images[rows]
    across = max(across, math.ceil(math.sqrt(len(shown))))
    columns = math.ceil(len(shown) / math.ceil(len(shown) / across))  # of ten images five and five, not eight and two
    zoom = max(1, _SMALLEST // max(shown.shape[1:3]))
    canvas, corners = mosaic(shown.repeat(zoom, axis=1).repeat(zoom, axis=2), columns)
    scale = _COLUMN * columns / canvas.shape[1]
    right = _COLUMN - round(2 * corners[0][1] * scale)
    with written_on(enlarged(canvas, round(canvas.shape[0] * scale), _COLUMN * columns), path) as axes:
        for corner, row in zip(corners, rows, strict=True):
            line, column = (round(each * scale) for each in corner)
            sign, colour = ("✓", CORRECT) if predictions.correct[row] else ("✗", INCORRECT)
            predicted = f"{sign} Pred: {shortened(class_names[predictions.predicted[row]], 11)}"
            confidence = percent(float(predictions.confidence[row]), 0)
            axes.text(column, line - 0.19 * _COLUMN, predicted, size=8.5, weight="bold", color=colour, va="bottom")
            line -= round(0.05 * _COLUMN)
            axes.text(column, line, f"True: {shortened(class_names[predictions.labels[row]], 11)}", size=8, va="bottom")
            axes.text(column + right, line, confidence, size=8, color=QUIET, ha="right", va="bottom")


def mosaic(images: NDArray[np.uint8], columns: int) -> tuple[Pixels, list[tuple[int, int]]]:
    """Put all images on one white canvas: 400 images cost one image to draw, not 400 axes.

    Returns:
        uint8 `(height, width, 3)`, and the row and column of each image's upper left pixel.
    """
    step = math.ceil(max(images.shape[1:3]) / _LARGEST)
    images = images[:, ::step, ::step]
    height, width = images.shape[1:3]
    margin, title = max(1, round(_MARGIN * width)), math.ceil(_TITLE * width)
    rows = math.ceil(len(images) / columns)
    canvas = np.full((rows * (height + title + margin), columns * (width + 2 * margin), 3), 255, np.uint8)
    corners = []
    for place, image in enumerate(images):
        row = place // columns * (height + title + margin) + title
        column = place % columns * (width + 2 * margin) + margin
        canvas[row : row + height, column : column + width] = image if image.shape[2] == 3 else image[:, :, :1]
        corners.append((row, column))
    return canvas, corners


@dataclass(frozen=True)
class Atlas:
    """The images behind the cells of the confusion matrix as tiles of one PNG, `columns` side by side."""

    content: bytes
    ratio: float  # height of a tile / its width
    columns: int
    cells: Mapping[Cell, Sequence[int]]  # rows of the test split; the tiles stand in the order of all of them


def atlas(images: NDArray[np.uint8], predictions: Predictions) -> Atlas:
    """Return the atlas of a test split, `images` uint8 `(n, h, w, c)`; large ones are thinned out, so that it stays small."""
    from PIL import Image

    step = math.ceil(max(images.shape[1:3]) / _TILE)
    height, width = images[:1, ::step, ::step].shape[1:3]
    cells = _behind_cells(predictions, min(_TILES, max(PER_CELL, _TILE_VALUES // (height * width * images.shape[3]))))
    rows = [row for each in cells.values() for row in each]
    columns = math.ceil(math.sqrt(len(rows)))
    canvas = np.zeros((math.ceil(len(rows) / columns), height, columns, width, images.shape[3]), np.uint8)
    for place, row in enumerate(rows):
        canvas[place // columns, :, place % columns] = images[row, ::step, ::step]
    pixels, file = canvas.reshape(len(canvas) * height, columns * width, -1), io.BytesIO()
    Image.fromarray(pixels.squeeze(axis=2) if pixels.shape[2] == 1 else pixels).save(file, "PNG", optimize=True)
    return Atlas(file.getvalue(), round(height / width, 4), columns, cells)


def _behind_cells(predictions: Predictions, most: int) -> dict[Cell, list[int]]:
    """Choose the rows behind each cell, at most 12 a cell and `most` in all.

    Of a mistake the most confident, of a hit the least confident: the ones to look at. Frequent mistakes come first, hits last.
    """
    labels, predicted, confidence = predictions.labels, predictions.predicted, predictions.confidence
    order = np.lexsort((np.where(predictions.correct, confidence, -confidence), predicted, labels))
    cells, starts, counts = np.unique(np.stack([labels, predicted])[:, order], axis=1, return_index=True, return_counts=True)
    chosen: dict[Cell, list[int]] = {}
    for cell in sorted(range(len(starts)), key=lambda cell: (cells[0, cell] == cells[1, cell], -counts[cell])):
        count = min(PER_CELL, counts[cell], most - sum(map(len, chosen.values())))
        if count > 0:
            chosen[int(cells[0, cell]), int(cells[1, cell])] = order[starts[cell] : starts[cell] + count].tolist()
    return chosen
