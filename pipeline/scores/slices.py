"""Slices of a test split, which show where a model fails.

A slice is a part of the test split with similar values of one feature. A model that is good on average can fail on all the
dark images; a mean over the test split hides that.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.scores.intervals import Interval, proportion
from pipeline.scores.metrics import Floats

_FEWEST = 10  # images of a slice


@dataclass(frozen=True)
class Slice:
    """The test images whose `feature` lies in `low` … `high`, both ends included."""

    feature: str
    low: float
    high: float
    images: int
    accuracy: float
    interval: Interval
    rows: NDArray[np.int64] = field(repr=False, compare=False)  # (images,), in the test split

    def __str__(self) -> str:
        return f"{self.feature} {self.range}"

    @property
    def range(self) -> str:
        """From the lowest to the highest value, as `0.464 – 0.574`."""
        return f"{self.low:.3g}" if self.low == self.high else f"{self.low:.3g} – {self.high:.3g}"


def cut(features: Mapping[str, Floats], correct: NDArray[np.bool_], bins: int) -> list[Slice]:
    """Cut each feature into at most `bins` slices of about equally many images, and return all, the lowest accuracy first.

    A feature of at most `bins` values has a slice for each. Equal values share a slice; a feature that is the same everywhere,
    or known of no image, has none. Fewer than ten images are no slice: one mistake would move its accuracy by a tenth.
    """
    found = [each for name, values in features.items() for each in _slices(name, values, correct, bins)]
    return sorted(found, key=lambda each: each.accuracy)


def _slices(name: str, values: Floats, correct: NDArray[np.bool_], bins: int) -> Iterator[Slice]:
    known = np.flatnonzero(np.isfinite(values))
    ordered = np.sort(values[known])
    edges = np.unique(ordered)
    if len(edges) > bins:
        edges = np.unique(ordered[[place * len(ordered) // bins for place in range(bins)]])
    if len(edges) < 2:
        return
    place = np.searchsorted(edges, values[known], side="right")
    for each in range(1, len(edges) + 1):
        rows = known[place == each]
        if len(rows) >= _FEWEST:
            low, high = proportion(np.array([correct[rows].sum()]), np.array([len(rows)]))
            bounds = float(values[rows].min()), float(values[rows].max())
            yield Slice(name, *bounds, len(rows), float(correct[rows].mean()), Interval(float(low[0]), float(high[0])), rows)
