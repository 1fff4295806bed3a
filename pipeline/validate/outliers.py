"""How each picture stands against its class: far too little contrast, the class's look inverted, a stretch of one level.

Each figure is relative to the class, because what is usual differs: above and below most sneakers there are eight empty rows,
above a coat none. A picture without any contrast has none of these figures: it is blank, which has its own expectation.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import Dataset
from pipeline.validate.near_duplicates import small

if TYPE_CHECKING:
    import pandas as pd

COMMON_LOOK = 0.5
"""A class has a look of its own from this median correlation with its mean picture on; below it, inverted says nothing."""
_CHUNK = 2_048  # pictures


def columns(data: Dataset, features: "pd.DataFrame") -> "dict[str, pd.Series[float]]":
    """Return three columns, missing where an image is blank or its label is no class.

    Args:
        data: the pictures.
        features: their frame so far, with `label` and `contrast`.

    Returns:
        contrast_ratio    contrast / the median of the class
        class_similarity  correlation with the mean image of the class, -1 … 1; missing where the class has no common look
        blank_band_share  share of the image in the longest stretch of rows or columns of one level, less the class's median
    """
    known = features["label"].between(0, data.description.classes - 1) & (features["contrast"] > 0)
    labels = features["label"].where(known)
    contrast = features["contrast"].where(known)
    class_similarity = _round(np.concatenate(_likenesses(data)), features).where(known)
    band = _round(np.concatenate([_bands(split.images) for split in data.splits().values()]), features).where(known)
    common = class_similarity.groupby(labels).transform("median") >= COMMON_LOOK
    return {
        "contrast_ratio": contrast / contrast.groupby(labels).transform("median"),
        "class_similarity": class_similarity.where(common),
        "blank_band_share": band - band.groupby(labels).transform("median"),
    }


def _round(values: NDArray[np.floating], features: "pd.DataFrame") -> "pd.Series[float]":
    """Five digits: float32 sums differ in the seventh between machines."""
    import pandas as pd

    return pd.Series(np.round(values.astype(np.float64), 5), index=features.index)


def _likenesses(data: Dataset) -> list[NDArray[np.float32]]:
    """Per split: each picture's correlation with its class's mean over all splits, float32 `(n,)`."""
    splits = [(small(split.images), split.labels.clip(0, data.description.classes - 1)) for split in data.splits().values()]
    pixels = int(np.prod(splits[0][0].shape[1:]))
    totals = np.zeros((data.description.classes, pixels), np.float32)
    for images, labels in splits:
        for start in range(0, len(images), _CHUNK):
            members = np.eye(len(totals), dtype=np.float32)[labels[start : start + _CHUNK]]
            totals += members.T @ _normal(images[start : start + _CHUNK])
    means = _unit(totals)
    return [
        np.concatenate([_with_mean(images, labels, means, at) for at in range(0, len(images), _CHUNK)])
        for images, labels in splits
    ]


def _with_mean(
    images: NDArray[np.uint8], labels: NDArray[np.int32], means: NDArray[np.float32], start: int
) -> NDArray[np.float32]:
    chunk = slice(start, start + _CHUNK)
    every = _normal(images[chunk]) @ means.T
    class_similarity: NDArray[np.float32] = every[np.arange(len(every)), labels[chunk]]
    return class_similarity


def _normal(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pictures as rows with mean 0 and length 1, float32 `(n, pixels)`."""
    return _unit(images.reshape(len(images), -1).astype(np.float32))


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    rows = rows - rows.mean(axis=1, keepdims=True)
    length = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    rows /= np.maximum(length, np.float32(1e-6))[:, None]
    return rows


def _bands(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Per picture, the larger of the shares of rows and of columns in the longest stretch of one level, `(n,)`."""
    parts = [np.empty(0)]
    for start in range(0, len(images), _CHUNK):
        chunk = np.ascontiguousarray(images[start : start + _CHUNK])
        parts.append(np.maximum(_longest(chunk), _longest(np.ascontiguousarray(chunk.swapaxes(1, 2)))))
    return np.concatenate(parts)


def _longest(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Share of rows in the longest stretch of rows that all have one colour, for uint8 `(n, h, w, c)`."""
    flat = (images == images[:, :, :1]).all(axis=(2, 3))
    follows = (images[:, 1:, 0] == images[:, :-1, 0]).all(axis=2)
    run = flat[:, 0].astype(np.int32)
    longest = run
    for row in range(1, images.shape[1]):
        run = np.where(flat[:, row], np.where(follows[:, row - 1], run, 0) + 1, 0)
        longest = np.maximum(longest, run)
    share: NDArray[np.float64] = longest / images.shape[1]
    return share
