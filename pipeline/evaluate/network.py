"""What the network sees: a picture of each class on its way through the layers, from its pixels to the probabilities.

All tiles are put on one canvas, a pixel of it a pixel of the file: one image to draw, not a thousand, and sharp.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluate.figures import QUIET, RIGHT, WRONG, enlarged, shortened, written_on
from pipeline.evaluate.layers import Insight, Maps, Step, look
from pipeline.evaluate.wording import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Canvas = NDArray[np.uint8]
_CLASSES = 10  # rows
_STEPS = 7  # layers shown
_SIDE = 3  # maps of a layer: so many across and down
_TILE, _GAP = 56, 4  # pixels of a map: a multiple of 28, 14, 8 and 7, the sizes that maps often have
_CELL = _SIDE * _TILE + (_SIDE - 1) * _GAP
_COLUMN, _ROW = _CELL + 28, _CELL + 40  # with the space around
_HEADING, _LINE = 106, 52  # lines above the rows, and where the words of the columns end
_ANSWERS, _BAR = 3, 300  # answers told of each picture, and pixels of a probability of one
_FILTERS = 18


def draw(
    model: Any,
    images: NDArray[np.uint8],
    labels: NDArray[np.int32],
    probabilities: NDArray[np.float32],
    class_names: tuple[str, ...],
    path: Path,
) -> None:
    """One row per class, ten at most: the picture, feature maps layer by layer, and the most probable classes, PNG.

    Args:
        model: The Keras model that answered.
        images: uint8 `(n, h, w, c)`; a memory-map stays on disk.
        labels: True classes, `(n,)`.
        probabilities: The model's answers, `(n, classes)`.
        class_names: By label.
        path: The file to write.
    """
    rows = choose(labels, probabilities)
    insight = look(model, np.asarray(images[rows]), _STEPS)
    canvas, top = _canvas(insight, images[rows])
    for place, row in enumerate(rows):
        _bars(canvas, top + place * _ROW, len(insight.steps), int(labels[row]), probabilities[row])
    with written_on(canvas, path) as axes:
        _head(axes, insight, top)
        for place, row in enumerate(rows):
            _answer(axes, top + place * _ROW, len(insight.steps), int(labels[row]), probabilities[row], class_names)


def choose(labels: NDArray[np.int32], probabilities: NDArray[np.float32]) -> list[int]:
    """The first right row of each of the first ten classes; where none is right, the first."""
    right = probabilities.argmax(axis=1) == labels
    first = {int(label): int(row) for label, row in zip(*np.unique(labels, return_index=True), strict=True)}
    hits = np.flatnonzero(right)
    first |= {int(label): int(hits[place]) for label, place in zip(*np.unique(labels[hits], return_index=True), strict=True)}
    return [first[label] for label in sorted(first)[:_CLASSES]]


def _canvas(insight: Insight, images: NDArray[np.uint8]) -> tuple[Canvas, int]:
    """All tiles, uint8 `(height, width, 3)`, and the line where the first row begins."""
    filters = insight.filters.shape[3] > 0
    top = _HEADING + (_TILE + 64 if filters else 0)
    width = max(_COLUMN * (1 + len(insight.steps)) + _BAR + 40, 28 + _FILTERS * (_TILE + 12) if filters else 0)
    canvas = np.full((top + len(images) * _ROW, width, 3), 255, np.uint8)
    if filters:
        for place, tile in enumerate(_filter_tiles(insight.filters)[:_FILTERS]):
            _put(canvas, tile, 36, 14 + place * (_TILE + 12), _TILE)
    for place, image in enumerate(images):
        _put(canvas, image if image.shape[2] == 3 else image[:, :, :1].repeat(3, axis=2), top + place * _ROW, 14, _CELL)
    for column, step in enumerate(insight.steps, start=1):
        for place, maps in enumerate(_coloured(step)):
            for n, each in enumerate(maps):
                row = top + place * _ROW + n // _SIDE * (_TILE + _GAP)
                _put(canvas, each, row, 14 + column * _COLUMN + n % _SIDE * (_TILE + _GAP), _TILE)
    return canvas, top


def _put(canvas: Canvas, tile: NDArray[np.uint8], row: int, column: int, side: int) -> None:
    """`tile`, uint8 `(h, w, 3)`, as a square of `side` pixels, each of its own as a block."""
    canvas[row : row + side, column : column + side] = enlarged(tile, side, side)


def _coloured(step: Step) -> NDArray[np.uint8]:
    """The maps that differ most, `(n, maps, h, w, 3)`; each from its lowest value among the pictures, dark, to its highest."""
    from matplotlib import colormaps

    busiest = np.sort(np.argsort(-step.maps.std(axis=(0, 1, 2)), kind="stable")[: _SIDE**2])
    maps = step.maps[..., busiest]
    low, high = maps.min(axis=(0, 1, 2)), maps.max(axis=(0, 1, 2))
    shares = np.moveaxis((maps - low) / np.maximum(high - low, 1e-9), 3, 1)
    coloured: NDArray[np.uint8] = colormaps["viridis"](shares, bytes=True)[..., :3]
    return coloured


def _filter_tiles(filters: Maps) -> NDArray[np.uint8]:
    """Each filter of the first convolution, uint8 `(filters, h, w, 3)`: as colours, or blue below zero and red above."""
    from matplotlib import colormaps

    kernels = np.moveaxis(filters, 3, 0)
    scaled = kernels / np.maximum(np.abs(kernels).max(axis=(1, 2, 3), keepdims=True), 1e-9) / 2 + 0.5
    if kernels.shape[3] == 3:
        tiles: NDArray[np.uint8] = (255 * scaled).round().astype(np.uint8)
    else:
        tiles = colormaps["RdBu_r"](scaled.mean(axis=3), bytes=True)[..., :3]
    return tiles


def _head(axes: "Axes", insight: Insight, top: int) -> None:
    """What the columns are, and the filters above them."""
    if insight.filters.shape[3]:
        count, (height, width) = insight.filters.shape[3], insight.filters.shape[:2]
        shown = "" if count <= _FILTERS else f"{_FILTERS} of "
        words = f"Filters of convolution 1: {shown}{count}, {height} × {width} pixels; blue counts against, red for"
        axes.text(14, 8, words if insight.filters.shape[2] != 3 else words.split(";")[0], size=9, va="top")
    if insight.of > len(insight.steps):
        note = f"{len(insight.steps)} of {insight.of} layers"
        axes.text(axes.get_xlim()[1] - 14, 8, note, size=9, va="top", ha="right", color=QUIET)
    titles = [("Input", "pixels"), *(_title(step) for step in insight.steps), ("Output", "probabilities")]
    for column, (name, size) in enumerate(titles):
        axes.text(14 + column * _COLUMN, top - _LINE - 26, name, size=9, weight="bold", va="bottom")
        axes.text(14 + column * _COLUMN, top - _LINE, size, size=8, color=QUIET, va="bottom")


def _title(step: Step) -> tuple[str, str]:
    _, height, width, maps = step.maps.shape
    return step.name, f"{maps} maps {height}×{width}"


def _bars(canvas: Canvas, top: int, steps: int, label: int, probabilities: NDArray[np.float32]) -> None:
    """A bar under each answer of the row that begins in the line `top`."""
    from matplotlib.colors import to_rgb

    left = 14 + (1 + steps) * _COLUMN
    for place, (answer, colour, _) in enumerate(_told(label, probabilities)):
        line, length = top + 22 + place * 54 + 16, max(round(float(probabilities[answer]) * _BAR), 1)
        canvas[line : line + 9, left : left + length] = np.round(255 * np.array(to_rgb(colour)))


def _answer(
    axes: "Axes", top: int, steps: int, label: int, probabilities: NDArray[np.float32], class_names: Sequence[str]
) -> None:
    """The class above the picture in the line `top`, and the most probable classes at its end."""
    axes.text(14, top - 3, shortened(class_names[label], 18), size=8.5, va="bottom")
    left = 14 + (1 + steps) * _COLUMN
    for place, (answer, colour, sign) in enumerate(_told(label, probabilities)):
        words = f"{sign}{shortened(class_names[answer], 15)} {percent(float(probabilities[answer]))}"
        weight = "bold" if place == 0 else "normal"
        axes.text(left, top + 22 + place * 54, words, size=8.5, color=colour, va="center", weight=weight)


def _told(label: int, probabilities: NDArray[np.float32]) -> Iterator[tuple[int, str, str]]:
    """The most probable classes, each with its colour and its sign."""
    for place, answer in enumerate(np.argsort(-probabilities, kind="stable")[:_ANSWERS].tolist()):
        if answer == label:
            yield answer, RIGHT, "✓ "
        else:
            yield answer, *((WRONG, "✗ ") if place == 0 else (QUIET, ""))
