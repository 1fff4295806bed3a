"""The sample grid: one row per class, so that a person sees at a glance what the data is and whether labels fit."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import Split

if TYPE_CHECKING:
    from PIL.Image import Image

PER_CLASS = 12
_CELL, _GAP, _MARGIN, _FONT = 84, 8, 40, 30  # pixels, twice what they take on a high-density screen
_PAPER, _INK = "#ffffff", "#1f2328"


def draw(path: Path, split: Split, class_names: tuple[str, ...]) -> None:
    """Writes a PNG with pictures of `split`, evenly spaced over each class; equal arguments give equal bytes."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=_FONT)
    left = _MARGIN + round(max(font.getlength(name) for name in class_names)) + _FONT
    step = _CELL + _GAP
    size = (left + PER_CLASS * step - _GAP + _MARGIN, _MARGIN + len(class_names) * step - _GAP + _MARGIN)
    grid = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(grid)
    for label, name in enumerate(class_names):
        top = _MARGIN + label * step
        pen.text((left - _FONT, top + _CELL // 2), name, fill=_INK, font=font, anchor="rm")
        for column, row in enumerate(_chosen(split.labels, label)):
            grid.paste(_thumbnail(split.images[row]), (left + column * step, top))
    grid.save(path, format="PNG", optimize=True)


def _chosen(labels: NDArray[np.int32], label: int) -> NDArray[np.intp]:
    """Rows of up to `PER_CLASS` pictures of one class, from its first to its last."""
    rows = np.flatnonzero(labels == label)
    chosen: NDArray[np.intp] = rows[np.linspace(0, len(rows) - 1, min(PER_CLASS, len(rows))).astype(int)]
    return chosen


def _thumbnail(picture: NDArray[np.uint8]) -> "Image":
    """One picture, uint8 `(height, width, channels)`, in a cell: small ones enlarged with their pixels left visible."""
    from PIL import Image

    image = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)
    enlarged = max(image.size) <= _CELL
    return image.resize((_CELL, _CELL), Image.Resampling.NEAREST if enlarged else Image.Resampling.BILINEAR)
