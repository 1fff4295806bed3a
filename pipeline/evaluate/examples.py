"""The pictures behind the cells of the confusion matrix, all in one image: an atlas of equal tiles."""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Cell = tuple[int, int]  # true class, predicted class

PER_CELL = 12
_MOST = 1000  # pictures of an atlas
_VALUES = 800_000  # numbers an atlas holds, of 8 bits each: about as many bytes of the page at worst
_LARGEST = 96  # pixels of a tile's side


@dataclass(frozen=True)
class Atlas:
    """Tiles of `height` × `width` pixels, `columns` side by side, as a PNG file's `content`; `cells` says which shows what."""

    content: bytes
    height: int
    width: int
    columns: int
    cells: Mapping[Cell, Sequence[int]]  # rows of the test split; the tiles stand in the order of all of them


def choose(
    labels: NDArray[np.int32], predicted: NDArray[np.int32], confidence: NDArray[np.float32], most: int
) -> dict[Cell, list[int]]:
    """Rows of the test split behind each cell, at most 12 a cell and `most` in all.

    Of a mistake those the model was surest of, of a hit those it was least sure of: the ones to look at. Frequent mistakes
    come first, hits last.
    """
    order = np.lexsort((np.where(predicted == labels, confidence, -confidence), predicted, labels))
    cells, starts, counts = np.unique(np.stack([labels, predicted])[:, order], axis=1, return_index=True, return_counts=True)
    by_worth = sorted(range(len(starts)), key=lambda cell: (cells[0, cell] == cells[1, cell], -counts[cell]))
    chosen: dict[Cell, list[int]] = {}
    for cell in by_worth:
        room = min(PER_CELL, counts[cell], most - sum(map(len, chosen.values())))
        if room > 0:
            chosen[int(cells[0, cell]), int(cells[1, cell])] = order[starts[cell] : starts[cell] + room].tolist()
    return chosen


def one_per_pair(
    labels: NDArray[np.int32], predicted: NDArray[np.int32], confidence: NDArray[np.float32], pairs: Sequence[Cell]
) -> list[int]:
    """Of each pair (true class, predicted class) the row of the mistake that the model was surest of."""
    chosen = []
    for actual, called in pairs:
        rows = np.flatnonzero((labels == actual) & (predicted == called))
        chosen.append(int(rows[confidence[rows].argmax()]))
    return chosen


def atlas(
    images: NDArray[np.uint8], labels: NDArray[np.int32], predicted: NDArray[np.int32], confidence: NDArray[np.float32]
) -> Atlas:
    """The atlas of a test split; large pictures are thinned out, so that its size stays bounded.

    Args:
        images: uint8 `(n, h, w, c)`.
        labels: True classes, `(n,)`.
        predicted: Most probable classes, `(n,)`.
        confidence: Their probabilities, `(n,)`.
    """
    step = math.ceil(max(images.shape[1:3]) / _LARGEST)
    height, width = images[:1, ::step, ::step].shape[1:3]
    cells = choose(labels, predicted, confidence, min(_MOST, max(PER_CELL, _VALUES // (height * width * images.shape[3]))))
    rows = [row for each in cells.values() for row in each]
    columns = math.ceil(math.sqrt(len(rows)))
    canvas = np.zeros((math.ceil(len(rows) / columns), height, columns, width, images.shape[3]), np.uint8)
    for place, row in enumerate(rows):
        canvas[place // columns, :, place % columns] = images[row, ::step, ::step]
    return Atlas(_png(canvas.reshape(len(canvas) * height, columns * width, -1)), height, width, columns, cells)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels.squeeze(axis=2) if pixels.shape[2] == 1 else pixels).save(file, "PNG", optimize=True)
    return file.getvalue()
