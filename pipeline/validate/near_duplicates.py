"""Near copies: pairs of pictures that differ by no more than a shift of one pixel, brightness, contrast or compression.

Two steps. Candidates: the inner part of every picture, normalised, as a point in a few principal directions; each picture is
looked up shifted by every one of ±1 pixel, in a k-d tree (Bentley 1975, https://doi.org/10.1145/361002.361007), so that the
cost grows as n log n. Then every candidate is measured on all its pixels. Pictures larger than SIDE are averaged down to it
first.

Measured on Fashion-MNIST: docs/validation.md.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import Dataset, Split, SplitName

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "split": "str",
    "row": "int32",
    "source_index": "int32",
    "class_name": "str",
    "other_split": "str",
    "other_row": "int32",
    "other_source_index": "int32",
    "other_class_name": "str",
    "difference": "float64",  # 1 - correlation at the best shift, rounded: 0 is the same picture
}
"""Column → pandas type of the frame that `pairs` returns."""

SIDE = 32  # pixels
_DIRECTIONS = 12  # 64 % of Fashion-MNIST's variance; more make the tree slower, fewer the candidates more
_RADIUS = 0.06  # between points; of 2,000 pictures at JPEG quality 85 or × 1.1 brightness, 99.8 % stay within 0.044
_NEIGHBOURS = 4  # per picture, shift and split: bounds the pairs where a thousand pictures are alike
_SAMPLE = 8_000  # pictures that the principal directions are taken from
_CHUNK = 2_048  # pictures
_MIN_SPREAD = 2.0  # grey levels; the inner part of a blanker picture is noise, made large by normalising
_DECIMALS = 5
_CENTRE = (0, 0)
# One shift of each opposite two: where a shifted looks like b, b shifted back looks like a.
_HALF = (_CENTRE, (0, 1), (1, -1), (1, 0), (1, 1))
_SHIFTS = (*_HALF, (0, -1), (-1, 1), (-1, 0), (-1, -1))
Pairs = NDArray[np.int64]  # (k, 2): a row, and a row of the other split


def pairs(data: Dataset, limit: float) -> "pd.DataFrame":
    """All near copies and exact copies within and across the splits, the closest first.

    Args:
        data: the pictures.
        limit: the largest `difference` of a pair.

    Returns:
        A frame with the columns of `COLUMNS`; each pair once, a later split before an earlier one.
    """
    import pandas as pd

    if min(data.description.image_shape[:2]) < 4:
        return pd.DataFrame(columns=list(COLUMNS)).astype(COLUMNS)  # nothing would be left inside
    splits = {name: small(split.images) for name, split in data.splits().items()}
    directions = _directions(splits["train"])
    trees = {name: _points(images, directions) for name, images in splits.items()}
    found = [
        _described(first, second, _close(splits[first], splits[second], _candidates(trees, first, second), limit), data)
        for first, second in _both_orders_once()
    ]
    frame = pd.concat(found, ignore_index=True).astype(COLUMNS)
    return frame.sort_values("difference", kind="stable", ignore_index=True)


def small(images: NDArray[np.uint8], side: int = SIDE) -> NDArray[np.uint8]:
    """Pictures, uint8 `(n, h, w, c)`, averaged in whole blocks to at most `side` pixels; smaller ones as they are."""
    count, height, width, channels = images.shape
    block = -(-max(height, width) // side)
    if block == 1:
        return images
    rows, columns = max(1, height // block), max(1, width // block)
    down, across = min(block, height), min(block, width)
    reduced = np.empty((count, rows, columns, channels), np.uint8)
    for start in range(0, count, _CHUNK // 8):
        part = images[start : start + _CHUNK // 8, : rows * down, : columns * across]
        halfway = part.reshape(len(part), rows, down, columns * across, channels).sum(axis=2, dtype=np.uint32)
        sums = halfway.reshape(len(part), rows, columns, across, channels).sum(axis=3, dtype=np.uint32)
        reduced[start : start + _CHUNK // 8] = (sums / (down * across)).round()
    return reduced


def _both_orders_once() -> tuple[tuple[SplitName, SplitName], ...]:
    return (
        ("test", "train"),
        ("validation", "train"),
        ("test", "validation"),
        ("train", "train"),
        ("validation", "validation"),
        ("test", "test"),
    )


def _inner(images: NDArray[np.uint8], shift: tuple[int, int]) -> NDArray[np.float32]:
    """The pictures less a border of one pixel, moved by `shift`, with mean 0 and length 1; 0 where almost blank.

    Returns:
        float32 `(n, (h - 2) * (w - 2) * c)`
    """
    height, width = images.shape[1:3]
    down, right = shift
    inner = images[:, 1 + down : height - 1 + down, 1 + right : width - 1 + right]
    flat = np.ascontiguousarray(inner, dtype=np.float32).reshape(len(images), -1)
    flat -= flat.mean(axis=1, keepdims=True)
    flat *= _scale(np.sqrt(np.einsum("ij,ij->i", flat, flat)), flat.shape[1])[:, None]
    return flat


def _scale(length: NDArray[np.float32], pixels: int) -> NDArray[np.float32]:
    """What brings vectors of this length to length 1, and to 0 what is almost blank."""
    return np.where(length < _MIN_SPREAD * np.sqrt(pixels), 0, 1 / np.maximum(length, 1)).astype(np.float32)


def _directions(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The first principal directions of a sample, float32 `(pixels, d)`, each with mean 0 as the pictures have."""
    from scipy.linalg import eigh

    sample = _inner(images[:: -(-len(images) // _SAMPLE)], _CENTRE)
    pixels = sample.shape[1]
    _, vectors = eigh(sample.T @ sample, subset_by_index=(max(0, pixels - _DIRECTIONS), pixels - 1))
    centred: NDArray[np.float32] = vectors - vectors.mean(axis=0)
    return centred


def _points(images: NDArray[np.uint8], directions: NDArray[np.float32]) -> Mapping[tuple[int, int], NDArray[np.float32]]:
    """Where the pictures lie for each shift, float32 `(n, d)`: `_inner(images, shift) @ directions`; 0 where almost blank.

    One matrix product for all shifts, with the directions moved in place of the pictures.
    """
    shape, pixels = images.shape[1:], len(directions)
    moved, windows = _moved(directions, shape), _moved(np.ones((pixels, 1), np.float32), shape)
    points = np.empty((len(_SHIFTS), len(images), directions.shape[1]), np.float32)
    for start in range(0, len(images), _CHUNK):
        flat = images[start : start + _CHUNK].reshape(-1, len(moved)).astype(np.float32)
        flat -= flat.mean(axis=1, keepdims=True)  # so that the difference of two large numbers below stays exact enough
        squares = (flat**2 @ windows - (flat @ windows) ** 2 / pixels).T  # (shifts, n)
        scaled = (flat @ moved).reshape(len(flat), len(_SHIFTS), -1).swapaxes(0, 1)
        points[:, start : start + _CHUNK] = scaled * _scale(np.sqrt(np.maximum(squares, 0)), pixels)[..., None]
    return dict(zip(_SHIFTS, points, strict=True))


def _moved(columns: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Columns over the inner part of a picture, float32 `(inner pixels, k)`, laid on whole pictures under every shift.

    Returns:
        float32 `(h * w * c, shifts * k)`; 0 outside of the inner part
    """
    height, width, channels = shape
    inner = columns.reshape(height - 2, width - 2, channels, -1)
    moved = np.zeros((*shape, len(_SHIFTS), columns.shape[1]), np.float32)
    for place, (down, right) in enumerate(_SHIFTS):
        moved[1 + down : height - 1 + down, 1 + right : width - 1 + right, :, place] = inner
    return moved.reshape(height * width * channels, -1)


def _candidates(
    points: Mapping[SplitName, Mapping[tuple[int, int], NDArray[np.float32]]], first: SplitName, second: SplitName
) -> Iterator[Pairs]:
    """Pairs that may be near copies, shift by shift; a pair can come more than once."""
    from scipy.spatial import KDTree

    held = np.flatnonzero(points[second][_CENTRE].any(axis=1))
    if not len(held):
        return
    tree = KDTree(points[second][_CENTRE][held])
    for shift in _HALF if first == second else _SHIFTS:
        asked = np.flatnonzero(points[first][shift].any(axis=1))
        _, near = tree.query(points[first][shift][asked], k=range(1, _NEIGHBOURS + 1), distance_upper_bound=_RADIUS, workers=-1)
        place, rank = np.nonzero(near < len(held))
        yield np.stack([asked[place], held[near[place, rank]]], axis=1)


def _close(first: NDArray[np.uint8], second: NDArray[np.uint8], found: Iterator[Pairs], limit: float) -> "pd.DataFrame":
    """The candidates that are within `limit`: row, other_row, difference."""
    import pandas as pd

    every = np.concatenate([np.empty((0, 2), np.int64), *found])
    if first is second:
        every = np.sort(every[every[:, 0] != every[:, 1]], axis=1)
    every = np.unique(every, axis=0)
    chunks = [every[start : start + _CHUNK] for start in range(0, len(every), _CHUNK)]
    parts = [differences(first[chunk[:, 0]], second[chunk[:, 1]]) for chunk in chunks]
    difference = np.concatenate([np.empty(0), *parts])
    frame = pd.DataFrame({"row": every[:, 0], "other_row": every[:, 1], "difference": difference})
    return frame[frame["difference"] <= limit]


def differences(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float64]:
    """1 - correlation of each pair of pictures, uint8 `(n, h, w, c)`, at the best of the shifts by ±1 pixel.

    Returns:
        float64 `(n,)`, 0 (the same up to shift, brightness and contrast) … 2, rounded.
    """
    centre = _inner(second, _CENTRE)
    best = np.max([np.einsum("ij,ij->i", _inner(first, shift), centre) for shift in _SHIFTS], axis=0)
    difference: NDArray[np.float64] = np.round(np.maximum(0, 1 - best.astype(np.float64)), _DECIMALS)
    return difference


def _described(first: SplitName, second: SplitName, close: "pd.DataFrame", data: Dataset) -> "pd.DataFrame":
    """The pairs with what a reader needs to find them."""
    splits = data.splits()
    one, other = (_places(splits[name], close[row], data) for name, row in ((first, "row"), (second, "other_row")))
    close = close.assign(split=first, source_index=one[0], class_name=one[1])
    return close.assign(other_split=second, other_source_index=other[0], other_class_name=other[1])[list(COLUMNS)]


def _places(split: Split, rows: "pd.Series[int]", data: Dataset) -> tuple[NDArray[np.int32], list[str]]:
    names = dict(enumerate(data.description.class_names))
    return split.source_index[rows], [names.get(int(label), "") for label in split.labels[rows]]
