"""The one style of the pictures of an evaluation, and the Pred/True grid.

Colours keep their meaning without colour vision: errors differ by lightness, right and wrong carry ✓ and ✗ as well.
Equal inputs give equal files. Figures are made without pyplot, which keeps global state and doubles the import time.
"""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluate.wording import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 160  # sharp on a retina screen at half size
INK, QUIET = "#1c2126", "#5b6670"
RIGHT, WRONG = "#00705a", "#c43c00"  # bluish green and vermilion, darkened from Okabe & Ito until they read as text
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,  # a class name may hold a $
    "axes.labelcolor": INK,
    "axes.titlesize": 12,
}
_MARGIN, _TITLE = 0.06, 0.36  # of a picture's width: between pictures, and the two lines above each
_SMALLEST, _LARGEST = 28, 200  # pixels; pictures are enlarged to about this, or thinned out to that
_COLUMN = 240  # pixels of a picture of the grid with its margins
_PNG = {"compress_level": 3}  # half the time of the usual 6, for files a tenth larger


def choose(labels: NDArray[np.int32], probabilities: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """The rows for the grid: half of them mistakes, the most confident first, then the first right ones.

    Where there are too few of one kind, the other fills up; at most `count` rows, fewer where there are fewer pictures.
    """
    predicted = probabilities.argmax(axis=1)
    wrong, right = np.flatnonzero(predicted != labels), np.flatnonzero(predicted == labels)
    wrong = wrong[np.argsort(-probabilities.max(axis=1)[wrong], kind="stable")]
    mistakes = min(len(wrong), max(count // 2, count - len(right)))
    return np.concatenate([wrong[:mistakes], right[: count - mistakes]])


def draw_grid(
    images: NDArray[np.uint8],
    labels: NDArray[np.int32],
    probabilities: NDArray[np.float32],
    class_names: tuple[str, ...],
    path: Path | BinaryIO,
    across: int = 8,
) -> None:
    """Pictures, uint8 `(n, h, w, c)`, each under its predicted and its true class, PNG; green ✓ right, red ✗ wrong.

    At most `across` stand side by side, more where they would be more than so many rows.
    """
    across = max(across, math.ceil(math.sqrt(len(images))))
    columns = math.ceil(len(images) / math.ceil(len(images) / across))  # of ten pictures five and five, not eight and two
    zoom = max(1, _SMALLEST // max(images.shape[1:3]))
    canvas, corners = mosaic(images.repeat(zoom, axis=1).repeat(zoom, axis=2), columns)
    scale = _COLUMN * columns / canvas.shape[1]
    width = _COLUMN - round(2 * corners[0][1] * scale)
    with written_on(enlarged(canvas, round(canvas.shape[0] * scale), _COLUMN * columns), path) as axes:
        for (row, column), label, answer in zip(corners, labels.tolist(), probabilities, strict=True):
            _caption(axes, (round(row * scale), round(column * scale)), width, class_names, label, answer)


def enlarged(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """`pixels`, uint8 `(h, w, c)`, brought to `(height, width, c)`, each pixel as a block."""
    rows, columns = (np.arange(new) * old // new for new, old in zip((height, width), pixels.shape, strict=False))
    blocks: NDArray[np.uint8] = pixels[rows][:, columns]
    return blocks


@contextmanager
def written_on(canvas: NDArray[np.uint8], path: Path | BinaryIO) -> "Iterator[Axes]":
    """Axes in pixels to write on the white parts of `canvas`, uint8 `(height, width, 3)`; at the end both are a PNG.

    A pixel of the canvas is a pixel of the file: matplotlib, which would resample it, draws the words alone.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    height, width = canvas.shape[:2]
    with rc_context(STYLE), _any_script():
        figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
        agg: Any = FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
        axes.set_axis_off()
        yield axes
        agg.draw()
        words = np.asarray(agg.buffer_rgba())[:height, :width, :3]
    Image.fromarray(np.minimum(canvas, words)).save(path, "PNG", **_PNG)


def _caption(
    axes: "Axes",
    corner: tuple[int, int],
    width: int,
    class_names: tuple[str, ...],
    label: int,
    answer: NDArray[np.float32],
) -> None:
    """Above the picture of `width` at `corner` (row, column): what it was called, what it is, and how sure the model was."""
    predicted = int(answer.argmax())
    sign, colour = ("✓", RIGHT) if predicted == label else ("✗", WRONG)
    row, column = corner
    said = f"{sign} Pred: {shortened(class_names[predicted], 12)}"
    axes.text(column, row - 0.19 * _COLUMN, said, size=8.5, weight="bold", color=colour, va="bottom")
    line = row - 0.05 * _COLUMN
    axes.text(column, line, f"True: {shortened(class_names[label], 11)}", size=8.5, va="bottom")
    axes.text(column + width, line, percent(float(answer[predicted]), 0), size=8, color=QUIET, ha="right", va="bottom")


def draw_words(words: str, path: Path) -> None:
    """`words` as a picture, PNG: an output that has nothing to show still exists."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(6, 1))
        figure.text(0.5, 0.5, words, ha="center", va="center", size=12)
        save(figure, path)


def mosaic(images: NDArray[np.uint8], columns: int) -> tuple[NDArray[np.uint8], list[tuple[int, int]]]:
    """All pictures on one white canvas: 400 pictures cost one image to draw, not 400 axes.

    Returns:
        uint8 `(height, width, 3)`, and the row and column of each picture's upper left pixel.
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


def shortened(name: str, most: int = 20) -> str:
    """`name` in at most `most` characters."""
    return name if len(name) <= most else name[: most - 1] + "…"


def panels(height: float) -> "tuple[Figure, Axes, Axes]":
    """A figure of two panels side by side, `height` in inches; margins are given, as finding them takes a third of the time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, height))
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.065, right=0.985, bottom=0.55 / height, top=1 - 0.4 / height, wspace=0.17)
    for axes in (left, right):
        axes.grid(color=QUIET, alpha=0.2)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, left, right


def save(figure: "Figure", path: Path | BinaryIO) -> None:
    """Writes `figure` as PNG, the same bytes for the same figure."""
    with _any_script():
        figure.savefig(path, dpi=DPI, format="png", facecolor="white", metadata={"Software": None}, pil_kwargs=_PNG)


@contextmanager
def _any_script() -> Iterator[None]:
    """A name in a script that the font lacks is drawn as boxes, without a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield
