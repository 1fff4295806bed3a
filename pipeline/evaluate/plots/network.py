"""What the network sees: an image of each class on its way through the layers, from its pixels to the probabilities.

All tiles are put on one canvas, a pixel of it a pixel of the file: one image to draw, not a thousand, and sharp.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluate.plots.figures import CORRECT, INCORRECT, QUIET, Pixels, enlarged, written_on
from pipeline.fonts import shortened
from pipeline.predictions import Predictions
from pipeline.scores.metrics import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Maps = NDArray[np.float32]
_CLASSES = 10  # rows
_STEPS = 7  # layers shown
_SIDE = 3  # maps of a layer: so many across and down
_TILE, _GAP = 56, 4  # pixels of a map: a multiple of 28, 14, 8 and 7, the sizes that maps often have
_CELL = _SIDE * _TILE + (_SIDE - 1) * _GAP
_COLUMN, _ROW = _CELL + 28, _CELL + 40  # with the space around
_HEADING, _LINE = 106, 52  # lines above the rows, and where the headings of the columns end
_LEFT = 14  # margin
_TOP_CLASSES, _BAR = 3, 300  # most probable classes shown of each image, and pixels of a probability of one
_FILTERS = 18


@dataclass(frozen=True)
class Step:
    """The output of a convolution or a pooling, after the batch norm and the activation that follow it."""

    name: str
    maps: Maps  # (n, h, w, channels)


@dataclass(frozen=True)
class Insight:
    """The inside of a network, in the order of its layers; both are empty for one without convolutions."""

    filters: Maps  # (h, w, c, filters) of the first convolution
    steps: Sequence[Step]
    of: int  # convolutions and poolings it has; the steps are those that are shown


def draw(model: Any, images: NDArray[np.uint8], predictions: Predictions, class_names: tuple[str, ...], path: Path) -> None:
    """Draw a row per class, ten at most, as PNG: the image, feature maps layer by layer, and the most probable classes.

    `images` are those of the test split, uint8 `(n, h, w, c)`; a memory-map stays on disk.
    """
    from matplotlib.colors import to_rgb

    rows = choose(predictions)
    insight = look(model, np.asarray(images[rows]), _STEPS)
    canvas, top = _canvas(insight, images[rows])
    left = _LEFT + (1 + len(insight.steps)) * _COLUMN
    with written_on(canvas, path) as axes:
        _write_head(axes, insight, top)
        for line, row in zip(range(top, canvas.shape[0], _ROW), rows, strict=True):
            label = int(predictions.labels[row])
            axes.text(_LEFT, line - 3, shortened(class_names[label], 18), size=8.5, va="bottom")
            most = np.argsort(-predictions.probabilities[row], kind="stable")[:_TOP_CLASSES].tolist()
            for place, predicted in enumerate(most):
                colour, sign = (CORRECT, "✓ ") if predicted == label else (QUIET, "") if place else (INCORRECT, "✗ ")
                probability, middle = float(predictions.probabilities[row, predicted]), line + 22 + place * 54
                text = f"{sign}{shortened(class_names[predicted], 15)} {percent(probability)}"
                axes.text(left, middle, text, size=8.5, color=colour, va="center", weight="normal" if place else "bold")
                bar = canvas[middle + 16 : middle + 25, left : left + max(round(probability * _BAR), 1)]
                bar[:] = np.round(255 * np.array(to_rgb(colour)))


def choose(predictions: Predictions) -> list[int]:
    """Return the first correct row of each of the first ten classes; where none is correct, the first."""
    chosen: dict[int, int] = {}
    for rows in (np.arange(len(predictions.labels)), np.flatnonzero(predictions.correct)):  # correct ones replace the others
        labels, first = np.unique(predictions.labels[rows], return_index=True)
        chosen |= dict(zip(labels.tolist(), rows[first].tolist(), strict=True))
    return [chosen[label] for label in sorted(chosen)[:_CLASSES]]


def look(model: Any, images: NDArray[np.uint8], most: int) -> Insight:
    """Send `images`, uint8 `(n, h, w, c)`, through the Keras model `model`.

    Return the output of at most `most` of its layers, evenly spread, first and last included.
    """
    import keras
    from keras import layers

    network = _network(model)
    found = list(_tensors(network))
    chosen = np.unique(np.linspace(0, len(found) - 1, min(most, len(found))).round().astype(int)).tolist()
    if not chosen:
        return Insight(np.empty((0, 0, 0, 0), np.float32), [], 0)
    outputs = keras.Model(network.inputs[0], [found[place][1] for place in chosen])(images, training=False)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    steps = [Step(found[place][0], np.asarray(each, np.float32)) for place, each in zip(chosen, outputs, strict=True)]
    convolutions = [layer for layer in network.layers if isinstance(layer, layers.Conv2D)]
    filters = np.asarray(convolutions[0].kernel, np.float32) if convolutions else np.empty((0, 0, 0, 0), np.float32)
    return Insight(filters, steps, len(found))


def _network(model: Any) -> Any:
    """Return the model that holds the layers: train wraps its networks in one that ends in probabilities."""
    import keras

    inner = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    return _network(inner[0]) if inner else model


def _tensors(network: Any) -> Iterator[tuple[str, Any]]:
    """Yield name and output of each convolution and pooling, in order; no maps of one pixel, which show nothing."""
    from keras import layers

    kinds = {
        "Convolution": (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D),
        "Pooling": (layers.MaxPooling2D, layers.AveragePooling2D),
    }
    counts = dict.fromkeys(kinds, 0)
    for layer in network.layers:
        for kind, types in kinds.items():
            if isinstance(layer, types):
                counts[kind] += 1
                output = _completed(layer.output, network)
                if output.shape[1] != 1 or output.shape[2] != 1:
                    yield f"{kind} {counts[kind]}", output


def _completed(tensor: Any, network: Any) -> Any:
    """Return `tensor` after the batch norm and the activation that follow it, if they do."""
    from keras import layers

    for layer in network.layers:
        follows = isinstance(layer, layers.BatchNormalization | layers.ReLU | layers.LeakyReLU | layers.Activation)
        if follows and layer.input is tensor:
            tensor = layer.output
    return tensor


def _canvas(insight: Insight, images: NDArray[np.uint8]) -> tuple[Pixels, int]:
    """Return all tiles, uint8 `(height, width, 3)`, and the line where the first row begins."""
    filters = insight.filters.shape[3] > 0
    top = _HEADING + (_TILE + 64 if filters else 0)
    width = max(_COLUMN * (1 + len(insight.steps)) + _BAR + 40, 28 + _FILTERS * (_TILE + 12) if filters else 0)
    canvas = np.full((top + len(images) * _ROW, width, 3), 255, np.uint8)

    def put(tile: Pixels, row: int, column: int, side: int) -> None:
        canvas[row : row + side, column : column + side] = enlarged(tile, side, side)

    if filters:
        for place, tile in enumerate(_filter_tiles(insight.filters)[:_FILTERS]):
            put(tile, 36, _LEFT + place * (_TILE + 12), _TILE)
    for place, image in enumerate(images):
        put(image if image.shape[2] == 3 else image[:, :, :1].repeat(3, axis=2), top + place * _ROW, _LEFT, _CELL)
    for column, step in enumerate(insight.steps, start=1):
        for place, maps in enumerate(_coloured(step)):
            for n, each in enumerate(maps):
                row = top + place * _ROW + n // _SIDE * (_TILE + _GAP)
                put(each, row, _LEFT + column * _COLUMN + n % _SIDE * (_TILE + _GAP), _TILE)
    return canvas, top


def _coloured(step: Step) -> NDArray[np.uint8]:
    """Return the maps that differ most, `(n, maps, h, w, 3)`, each from its lowest value in all images to its highest."""
    from matplotlib import colormaps

    busiest = np.sort(np.argsort(-step.maps.std(axis=(0, 1, 2)), kind="stable")[: _SIDE**2])
    maps = step.maps[..., busiest]
    low, high = maps.min(axis=(0, 1, 2)), maps.max(axis=(0, 1, 2))
    shares = np.moveaxis((maps - low) / np.maximum(high - low, 1e-9), 3, 1)
    coloured: NDArray[np.uint8] = colormaps["viridis"](shares, bytes=True)[..., :3]
    return coloured


def _filter_tiles(filters: Maps) -> NDArray[np.uint8]:
    """Return the filters, uint8 `(filters, h, w, 3)`: as colours, or blue below zero and red above."""
    from matplotlib import colormaps

    kernels = np.moveaxis(filters, 3, 0)
    scaled = kernels / np.maximum(np.abs(kernels).max(axis=(1, 2, 3), keepdims=True), 1e-9) / 2 + 0.5
    if kernels.shape[3] == 3:
        tiles: NDArray[np.uint8] = (255 * scaled).round().astype(np.uint8)
    else:
        tiles = colormaps["RdBu_r"](scaled.mean(axis=3), bytes=True)[..., :3]
    return tiles


def _write_head(axes: "Axes", insight: Insight, top: int) -> None:
    """Write the headings of the columns, and of the filters above them."""
    if insight.filters.shape[3]:
        height, width, channels, count = insight.filters.shape
        shown = "" if count <= _FILTERS else f"{_FILTERS} of "
        meaning = "" if channels == 3 else "; blue is negative, red positive"
        axes.text(_LEFT, 8, f"Filters of convolution 1: {shown}{count}, {height} × {width} pixels{meaning}", size=9, va="top")
    if insight.of > len(insight.steps):
        note = f"{len(insight.steps)} of {insight.of} layers"
        axes.text(axes.get_xlim()[1] - 14, 8, note, size=9, va="top", ha="right", color=QUIET)
    shapes = (step.maps.shape for step in insight.steps)
    sizes = (f"{maps} maps {height}×{width}" for _, height, width, maps in shapes)
    titles = [("Input", "pixels"), *zip((step.name for step in insight.steps), sizes, strict=True), ("Output", "probabilities")]
    for column, (name, size) in enumerate(titles):
        axes.text(_LEFT + column * _COLUMN, top - _LINE - 26, name, size=9, weight="bold", va="bottom")
        axes.text(_LEFT + column * _COLUMN, top - _LINE, size, size=8, color=QUIET, va="bottom")
