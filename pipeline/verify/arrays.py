"""Two data sets, array by array: the first row in which they differ."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import Dataset

_BLOCK = 4096  # rows compared at once, so that memory holds no more


def first_difference(right: Dataset, other: Dataset) -> str:
    """The first row of `other` that is not as in `right`, in words; "" where all are.

    Args:
        right: What the data should be.
        other: Of the same shape.
    """
    for name, split in right.splits().items():
        for part in ("images", "labels", "source_index"):
            before, now = getattr(split, part), getattr(other.splits()[name], part)
            row = _first_row(before, now)
            if row is not None:
                return (
                    f"{name}/{part}.npy row {row} (row {split.source_index[row]} of the source) {_said(before[row], now[row])}"
                )
    return ""


def _first_row(a: NDArray[Any], b: NDArray[Any]) -> int | None:
    for start in range(0, len(a), _BLOCK):
        block = a[start : start + _BLOCK]
        rows = (block != b[start : start + _BLOCK]).reshape(len(block), -1).any(axis=1)
        if rows.any():
            return start + int(rows.argmax())
    return None


def _said(before: NDArray[Any], now: NDArray[Any]) -> str:
    """The first value that differs, and where it lies in the row."""
    places = np.argwhere(np.atleast_1d(before != now))
    place = tuple(int(index) for index in places[0])
    where = f" at {place}" if np.ndim(before) else ""
    more = f", and {len(places) - 1:,} more" if len(places) > 1 else ""
    return f"is {np.atleast_1d(now)[place]}{where}, not {np.atleast_1d(before)[place]}{more}"
