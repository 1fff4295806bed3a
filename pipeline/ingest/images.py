"""Images of any source as uint8 arrays of one size and channel count, read a batch at a time, and a grid to look at them.

Resizing is bilinear over every pixel that a smaller one covers, as Pillow does it: no aliasing when a photo shrinks.
"""

import hashlib
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import Split
from pipeline.errors import SourceError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
BATCH_BYTES = 4 * 1024 * 1024  # of images in memory at once
GRID_COLUMNS = 12  # images per class
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")  # not all of Pillow's: some start other programs
_EIGHT_BIT_MODES = frozenset({"1", "L", "P", "RGB", "RGBA", "LA", "PA", "CMYK", "YCbCr", "LAB", "HSV"})
_BACKGROUND = (255, 255, 255, 255)  # behind transparent parts: drawings on nothing are mostly dark
_CELL, _GAP, _MARGIN, _FONT = 84, 8, 40, 30  # of the grid, in pixels: twice what they take on a high-density screen
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Preprocessing:
    """The size and channels that every image of a data set is brought to."""

    size: int  # pixels, height = width
    channels: int  # 1 grey · 3 colour
    resize: str  # of images that are not square: stretch · pad (black borders) · crop (the middle)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return self.size, self.size, self.channels

    def apply(self, image: "Image") -> NDArray[np.uint8]:
        """Return a Pillow image as uint8 `(size, size, channels)`, 0-255."""
        from PIL import Image

        if image.has_transparency_data:
            image = Image.alpha_composite(Image.new("RGBA", image.size, _BACKGROUND), image.convert("RGBA"))
        image = image.convert("L" if self.channels == 1 else "RGB")
        return np.asarray(self._square(image)).reshape(self.shape)

    def _square(self, image: "Image") -> "Image":
        from PIL import Image

        size, bilinear = self.size, Image.Resampling.BILINEAR
        width, height = image.size
        if self.resize == "crop":
            side = min(width, height)
            left, top = (width - side) / 2, (height - side) / 2
            return image.resize((size, size), bilinear, box=(left, top, left + side, top + side))
        if self.resize == "pad" and width != height:
            scale = size / max(width, height)
            inner = image.resize((max(1, round(width * scale)), max(1, round(height * scale))), bilinear)
            padded = Image.new(image.mode, (size, size))
            padded.paste(inner, ((size - inner.width) // 2, (size - inner.height) // 2))
            return padded
        return image.resize((size, size), bilinear)


@dataclass(frozen=True)
class Arrays:
    """Labelled images of one size in one array, which may lie on disk."""

    images: NDArray[np.uint8]  # (n, height, width, 1 or 3), 0-255
    labels: NDArray[np.integer[Any]]  # (n,), 0 … classes - 1

    def read(self, rows: NDArray[np.int32], preprocessing: Preprocessing) -> NDArray[np.uint8]:
        """Return the images of `rows`, uint8 `(rows, size, size, channels)`."""
        if self.images.shape[1:] == preprocessing.shape:
            return self.images[rows]
        return np.stack(on_all_cores(lambda row: preprocessing.apply(_pillow(self.images[row])), rows))

    def keys(self, rows: NDArray[np.int32], seed: int) -> NDArray[np.uint64]:
        """Return a pseudo-random number per image, uint64 `(rows,)`, equal for equal images."""
        numbers = (_key(np.ascontiguousarray(self.images[row]), seed) for row in rows)
        return np.fromiter(numbers, np.uint64, len(rows))


@dataclass(frozen=True)
class Files:
    """Labelled images of any size, in a file each."""

    paths: Sequence[Path]
    labels: NDArray[np.integer[Any]]  # (n,), 0 … classes - 1
    digests: Sequence[bytes]  # SHA-256 of each file

    def read(self, rows: NDArray[np.int32], preprocessing: Preprocessing) -> NDArray[np.uint8]:
        """Return the images of `rows`, uint8 `(rows, size, size, channels)`.

        Raises:
            SourceError: a file is not an image; the first of several is named.
        """
        return np.stack(on_all_cores(lambda row: decode(self.paths[row], preprocessing), rows))

    def keys(self, rows: NDArray[np.int32], seed: int) -> NDArray[np.uint64]:
        """Return a pseudo-random number per file, uint64 `(rows,)`, equal for equal files."""
        return np.fromiter((_key(self.digests[row], seed) for row in rows), np.uint64, len(rows))


Images = Arrays | Files


def _key(content: Any, seed: int) -> int:
    """Return 64 pseudo-random bits that depend on `content` (bytes, or a contiguous array) and seed only."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8, key=seed.to_bytes(4, "big")).digest(), "big")


def batches(images: Images, rows: NDArray[np.int32], preprocessing: Preprocessing) -> Iterator[NDArray[np.uint8]]:
    """Yield the images of `rows` as uint8 `(batch, size, size, channels)`, about `BATCH_BYTES` at a time."""
    size = max(BATCH_BYTES // int(np.prod(preprocessing.shape)), 4 * (os.cpu_count() or 1))
    for start in range(0, len(rows), size):
        yield images.read(rows[start : start + size], preprocessing)


def on_all_cores(work: Callable[[_Item], _Result], items: Sequence[_Item] | NDArray[np.int32]) -> list[_Result]:
    """Return `work` of each item, in order; Pillow and hashlib release the GIL."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(work, items))


@contextmanager
def strict_decoding() -> Iterator[None]:
    """Make an image of more than Pillow's 89 million pixels an error, not a warning.

    Around all calls of `decode`, not inside it, because Python's warning filters belong to the process, not the thread.
    """
    from PIL import Image

    Image.init()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the others are about odd but readable files
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def decode(path: Path, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Return the image in `path`, oriented by its EXIF tag, uint8 `(size, size, channels)`; of an animation the first frame.

    Raises:
        SourceError: the file is not an image, is damaged, too large, or has more than 8 bits per channel.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path, formats=_FORMATS) as image:
            if image.mode not in _EIGHT_BIT_MODES:
                raise SourceError(f"{path} has pixels of type {image.mode}: save it with 8 bits per channel")
            side = 2 * preprocessing.size
            image.draft(None, (side, side))  # decodes JPEG at 1/2, 1/4 or 1/8 where that is enough
            return preprocessing.apply(ImageOps.exif_transpose(image))
    except SourceError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise SourceError(f"{path} has more than {Image.MAX_IMAGE_PIXELS:,} pixels: make it smaller") from None
    except UnidentifiedImageError:
        problem = "is empty" if path.stat().st_size == 0 else "is not an image, despite its name"
        raise SourceError(f"{path} {problem}: delete it, or save it again as PNG or JPEG") from None
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error …
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise SourceError(f"{path} cannot be read as an image ({reason}): save it again, or delete it") from error


def draw_grid(path: Path, split: Split, class_names: tuple[str, ...]) -> None:
    """Write a PNG with one row of images of `split` per class, evenly spaced over it; equal arguments give equal bytes."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=_FONT)
    left = _MARGIN + round(max(font.getlength(name) for name in class_names)) + _FONT
    step = _CELL + _GAP
    size = (left + GRID_COLUMNS * step - _GAP + _MARGIN, _MARGIN + len(class_names) * step - _GAP + _MARGIN)
    grid = Image.new("RGB", size, "#ffffff")
    pen = ImageDraw.Draw(grid)
    for label, name in enumerate(class_names):
        top = _MARGIN + label * step
        pen.text((left - _FONT, top + _CELL // 2), name, fill="#1f2328", font=font, anchor="rm")
        rows = np.flatnonzero(split.labels == label)
        chosen = rows[np.linspace(0, len(rows) - 1, min(GRID_COLUMNS, len(rows))).astype(int)]
        for column, row in enumerate(chosen):
            grid.paste(_thumbnail(split.images[row]), (left + column * step, top))
    grid.save(path, format="PNG", optimize=True)


def _thumbnail(array: NDArray[np.uint8]) -> "Image":
    """Return one image, uint8 `(height, width, channels)`, in the size of a cell; small ones keep their pixels visible."""
    from PIL import Image

    image = _pillow(array)
    enlarged = max(image.size) <= _CELL
    return image.resize((_CELL, _CELL), Image.Resampling.NEAREST if enlarged else Image.Resampling.BILINEAR)


def _pillow(array: NDArray[np.uint8]) -> "Image":
    """Return one image, uint8 `(height, width, 1 or 3)`, as a Pillow image."""
    from PIL import Image

    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
