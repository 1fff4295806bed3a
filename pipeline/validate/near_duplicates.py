"""Near-duplicates: pairs of images that differ by no more than a shift of one pixel, brightness, contrast or compression.

Two steps. Candidates: the inner part of every image, normalised, as a point in a few principal directions; each image, shifted
by up to one pixel, is looked up in a k-d tree (Bentley 1975, https://doi.org/10.1145/361002.361007), so that the cost grows as
n log n. Then every candidate pair is measured on all its pixels. Measured on Fashion-MNIST: docs/validation.md.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.features import unit

if TYPE_CHECKING:
    import pandas as pd

_DIRECTIONS = 12  # 64 % of Fashion-MNIST's variance; more make the tree slower, fewer the candidates more
_RADIUS = 0.06  # between points; of 2,000 images at JPEG quality 85 or × 1.1 brightness, 99.8 % stay within 0.044
_NEIGHBOURS = 8  # per image and shift: bounds the pairs where a thousand images are alike
_SAMPLE = 8_000  # images that the principal directions are computed from
_CHUNK = 2_048  # images
_MIN_CONTRAST = 2.0  # grey levels; the inner part of a blanker image is noise, made large by normalising
_DECIMALS = 5
_HALF = ((0, 0), (0, 1), (1, -1), (1, 0), (1, 1))  # where a shifted looks like b, b shifted back looks like a
_SHIFTS = (*_HALF, (0, -1), (-1, 1), (-1, 0), (-1, -1))
Pairs = NDArray[np.int64]


def find(images: NDArray[np.uint8], limit: float) -> "pd.DataFrame":
    """Return all pairs of near-duplicates and exact duplicates among images, uint8 `(n, h, w, c)`, the closest first.

    Returns:
        A frame with `first` and `second`, indices of images (`first` is the larger one), and `difference`, at most `limit`.
    """
    import pandas as pd

    pairs = _candidates(images)
    difference = np.empty(len(pairs))
    for start in range(0, len(pairs), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        difference[chunk] = differences(images[pairs[chunk, 0]], images[pairs[chunk, 1]])
    frame = pd.DataFrame({"first": pairs[:, 1], "second": pairs[:, 0], "difference": difference})
    return frame[difference <= limit].sort_values("difference", kind="stable", ignore_index=True)


def describe(found: "pd.DataFrame", features: "pd.DataFrame") -> "pd.DataFrame":
    """Return the pairs with what a reader needs to find them.

    Returns:
        A frame with the columns split, row, source_index, file and class_name of the first image, the same with the prefix
        `other_` of the second one, difference, and `exact`: whether all pixels are equal.
    """
    import pandas as pd

    columns = ["split", "row", "source_index", "file", "class_name"]
    first, second = (features.iloc[found[side]].reset_index(drop=True) for side in ("first", "second"))
    pairs = pd.concat([first[columns], second[columns].add_prefix("other_"), found["difference"]], axis=1)
    return pairs.assign(exact=first["digest"] == second["digest"])


def differences(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return 1 - correlation of each pair of images, uint8 `(n, h, w, c)`, at the best of the shifts by up to one pixel.

    Returns:
        float64 `(n,)`, 0 (the same up to shift, brightness and contrast) … 2, rounded
    """
    centre = _inner(second, (0, 0))
    best = np.max([(_inner(first, shift) * centre).sum(axis=1) for shift in _SHIFTS], axis=0)
    difference: NDArray[np.float64] = np.round(np.maximum(0, 1 - best.astype(np.float64)), _DECIMALS)
    return difference


def _candidates(images: NDArray[np.uint8]) -> Pairs:
    """Return pairs of rows that may be near-duplicates, `(k, 2)`, each once, the smaller row first."""
    from scipy.spatial import KDTree

    points = _points(images)
    rows = np.flatnonzero(points[0].any(axis=1)) if len(points) else np.empty(0, np.int64)
    if not len(rows):
        return np.empty((0, 2), np.int64)
    tree, found = KDTree(points[0][rows]), []
    for shifted in points:
        _, near = tree.query(shifted[rows], k=_NEIGHBOURS + 1, distance_upper_bound=_RADIUS, workers=-1)
        place, rank = np.nonzero(near < len(rows))
        found.append(np.stack([rows[place], rows[near[place, rank]]], axis=1))
    pairs = np.sort(np.concatenate(found), axis=1)
    return np.unique(pairs[pairs[:, 0] < pairs[:, 1]], axis=0)


def _points(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return where images lie in the first principal directions, for each of `_HALF` the shifts, float32 `(shifts, n, d)`."""
    from scipy.linalg import eigh

    if min(images.shape[1:3]) < 4:
        return np.empty((0, len(images), 0), np.float32)  # nothing would be left inside
    sample = _inner(images[:: -(-len(images) // _SAMPLE)], (0, 0))
    pixels = sample.shape[1]
    _, directions = eigh(sample.T @ sample, subset_by_index=(max(0, pixels - _DIRECTIONS), pixels - 1))
    chunks = [images[start : start + _CHUNK] for start in range(0, len(images), _CHUNK)]
    return np.stack([np.concatenate([_inner(chunk, shift) @ directions for chunk in chunks]) for shift in _HALF])


def _inner(images: NDArray[np.uint8], shift: tuple[int, int]) -> NDArray[np.float32]:
    """Return images less a border of one pixel, moved by `shift`, with mean 0 and length 1; 0 where almost blank.

    Returns:
        float32 `(n, (h - 2) * (w - 2) * c)`
    """
    height, width = images.shape[1:3]
    down, right = shift
    inner = images[:, 1 + down : height - 1 + down, 1 + right : width - 1 + right]
    return unit(inner, _MIN_CONTRAST)
