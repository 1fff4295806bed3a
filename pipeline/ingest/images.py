"""Labelled images of any source: read a batch at a time as uint8 arrays of one shape, looked at, and drawn as a grid."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import Split
from pipeline.errors import SourceError
from pipeline.fonts import drawable, shortened
from pipeline.ingest.preprocessing import Preprocessing, decode, opened, strict_decoding

if TYPE_CHECKING:
    from PIL.Image import Image

BATCH_BYTES = 4 * 1024 * 1024  # of images in memory at once
GRID_COLUMNS = 12  # images per class
SIZES = (28, 32, 48, 64)  # what the recipes are made for
_SAMPLE = 300  # images that are looked at
_SIDE = 32  # pixels, at which colour is looked for
_COLOURED = 4.0  # grey levels between the channels, on average: above it an image is not grey
_COLOUR_SHARE = 0.05  # of coloured images: above it the data set is not grey
_CELL, _GAP, _MARGIN, _FONT = 84, 8, 40, 30  # of the grid, in pixels: twice what they take on a high-density screen
_ROWS, _LARGE_ROWS = 200, 50  # of the grid, classes
_NAME = 40  # columns of a terminal: what is drawn of a class name
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class DamagedError(SourceError):
    """Files that cannot be read as images; `problems` says why, by row."""

    def __init__(self, problems: Mapping[int, str]) -> None:
        self.problems = problems
        super().__init__(next(iter(problems.values())))


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
    names: Sequence[str]  # of the files as the user knows them: relative to the source, also where that is an archive
    labels: NDArray[np.integer[Any]]  # (n,), 0 … classes - 1
    digests: Sequence[bytes]  # SHA-256 of each file
    groups: Sequence[str] | None = None  # rows of one group stay in one split

    def read(self, rows: NDArray[np.int32], preprocessing: Preprocessing) -> NDArray[np.uint8]:
        """Return the images of `rows`, uint8 `(rows, size, size, channels)`.

        Raises:
            DamagedError: files cannot be read as images.
        """
        decoded = on_all_cores(lambda row: self._decode(row, preprocessing), rows)
        problems = {int(row): one for row, one in zip(rows, decoded, strict=True) if isinstance(one, str)}
        if problems:
            raise DamagedError(problems)
        return np.stack([one for one in decoded if not isinstance(one, str)])

    def _decode(self, row: int, preprocessing: Preprocessing) -> NDArray[np.uint8] | str:
        """Return the image of `row`, or why it cannot be read."""
        try:
            return decode(self.paths[row], preprocessing)
        except SourceError as error:
            return str(error)

    def damaged(self, preprocessing: Preprocessing) -> Mapping[int, str]:
        """Return row → why it cannot be read, for every file that cannot."""
        problems: dict[int, str] = {}
        for part in np.array_split(np.arange(len(self.paths), dtype=np.int32), max(1, len(self.paths) // 1000)):
            try:
                self.read(part, preprocessing)
            except DamagedError as error:
                problems |= error.problems
        return problems

    def without(self, rows: Iterable[int]) -> "Files":
        """Return all files but those of `rows`."""
        left_out = {*rows}
        kept = [row for row in range(len(self.paths)) if row not in left_out]
        return Files(
            [self.paths[row] for row in kept],
            [self.names[row] for row in kept],
            self.labels[kept],
            [self.digests[row] for row in kept],
            self.groups and [self.groups[row] for row in kept],
        )

    def keys(self, rows: NDArray[np.int32], seed: int) -> NDArray[np.uint64]:
        """Return a pseudo-random number per file, uint64 `(rows,)`, equal for equal files and within a group."""
        content = self.digests if self.groups is None else [group.encode() for group in self.groups]
        return np.fromiter((_key(content[row], seed) for row in rows), np.uint64, len(rows))


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


@dataclass(frozen=True)
class Look:
    """What a sample of the images looks like."""

    height: int  # median, pixels
    width: int
    coloured: float  # share of the images

    @property
    def channels(self) -> int:
        """The channels that fit: 3 as soon as a twentieth of the images are in colour."""
        return 3 if self.coloured > _COLOUR_SHARE else 1

    @property
    def size(self) -> int:
        """The size that is nearest to the median side, as a ratio."""
        side = (self.height + self.width) / 2
        return min(SIZES, key=lambda size: abs(np.log(size / side)))


def look(images: Images) -> Look | None:
    """Return what a sample of `images` looks like; None if none of them can be read."""
    rows = np.unique(np.linspace(0, len(images.labels) - 1, _SAMPLE).astype(np.int32))
    with strict_decoding():
        found = [one for one in on_all_cores(lambda row: _look_at(images, int(row)), rows) if one is not None]
    if not found:
        return None
    height, width = np.median([one[:2] for one in found], axis=0).tolist()
    return Look(round(height), round(width), float(np.mean([one[2] > _COLOURED for one in found])))


def _look_at(images: Images, row: int) -> tuple[int, int, float] | None:
    """Return height, width and the mean difference between the channels of one image, if it can be read."""
    if isinstance(images, Arrays):
        height, width = images.images.shape[1:3]
        return height, width, _spread(images.images[row])
    try:
        with opened(images.paths[row]) as image:
            width, height = image.size
            if image.getexif().get(0x0112, 1) > 4:  # quarter turns
                width, height = height, width
        return height, width, _spread(decode(images.paths[row], Preprocessing(_SIDE, 3, "stretch")))
    except SourceError:
        return None  # ingest names it


def _spread(image: NDArray[np.uint8]) -> float:
    return float(np.ptp(image.astype(np.int16), axis=2).mean())


def draw_grid(path: Path, split: Split, class_names: tuple[str, ...]) -> None:
    """Write a PNG with one row of images of `split` per class, evenly spaced over it; equal arguments give equal bytes.

    Of more than 200 classes, the first have a row; with more than 50, rows are half as high.
    """
    from PIL import Image, ImageDraw, ImageFont

    scale = 1 if len(class_names) <= _LARGE_ROWS else 2
    cell, gap, size = _CELL // scale, _GAP // scale, round(_FONT / scale**0.5)
    shown = drawable(class_names[:_ROWS])
    texts = [(shortened(each.text, _NAME), ImageFont.truetype(each.font, size)) for each in shown]
    hidden = f"and {len(class_names) - len(shown):,} classes more" if len(shown) < len(class_names) else ""
    left = _MARGIN + round(max(font.getlength(text) for text, font in texts)) + _FONT
    step = cell + gap
    height = _MARGIN + (len(shown) + bool(hidden)) * step - gap + _MARGIN
    grid = Image.new("RGB", (left + GRID_COLUMNS * step - gap + _MARGIN, height), "#ffffff")
    pen = ImageDraw.Draw(grid)
    pen.text((left, height - _MARGIN), hidden, fill="#1f2328", font=texts[0][1], anchor="ls")
    for label, (text, font) in enumerate(texts):
        top = _MARGIN + label * step
        pen.text((left - _FONT, top + cell // 2), text, fill="#1f2328", font=font, anchor="rm")
        rows = np.flatnonzero(split.labels == label)
        chosen = rows[np.linspace(0, len(rows) - 1, min(GRID_COLUMNS, len(rows))).astype(int)]
        for column, row in enumerate(chosen):
            grid.paste(_thumbnail(split.images[row], cell), (left + column * step, top))
    grid.save(path, format="PNG", optimize=True)


def _thumbnail(array: NDArray[np.uint8], cell: int) -> "Image":
    """Return one image, uint8 `(height, width, channels)`, `cell` pixels square; small ones keep their pixels visible."""
    from PIL import Image

    image = _pillow(array)
    enlarged = max(image.size) <= cell
    return image.resize((cell, cell), Image.Resampling.NEAREST if enlarged else Image.Resampling.BILINEAR)


def _pillow(array: NDArray[np.uint8]) -> "Image":
    """Return one image, uint8 `(height, width, 1 or 3)`, as a Pillow image."""
    from PIL import Image

    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
