"""Pictures of one size, bilinear."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import Split


def resized(split: Split, size: int, scratch: Path) -> Split:
    """`split` with pictures of `size` × `size` pixels; the same object where they are that already.

    The new pictures lie in a nameless file in the folder `scratch`, memory-mapped: 70,000 pictures of 512 pixels are 18 GB.
    """
    count, height, width, channels = split.images.shape
    if (height, width) == (size, size):
        return split
    with tempfile.TemporaryFile(dir=scratch) as file:
        images = np.memmap(file, np.uint8, "w+", shape=(count, size, size, channels))
    for row, picture in enumerate(split.images):
        images[row] = _resized(picture, size)
    return replace(split, images=images)


def _resized(picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """One picture, uint8 `(height, width, channels)`, as `(size, size, channels)`."""
    from PIL import Image

    image = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR)).reshape(size, size, -1)
