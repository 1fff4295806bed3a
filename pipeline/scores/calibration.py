"""Can the model's confidence be trusted: confidence against accuracy, in bins of equally many pictures.

The confidence of an answer is its largest probability. Bins of equal width, the older way, are nearly empty where a good
model seldom is, and their error depends on where the edges happen to lie; bins of equal mass weigh every gap by as many
pictures (Nguyen and O'Connor 2015, https://arxiv.org/abs/1508.05154; Roelofs et al. 2022, https://arxiv.org/abs/2012.08668).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Calibration:
    """One entry per bin, lowest confidence first; every bin holds a picture at least."""

    bins: Counts  # (n,): the bin of each picture
    pictures: Counts
    confidence: Floats  # mean in the bin, 0-1
    accuracy: Floats  # share that is right, 0-1

    @property
    def error(self) -> float:
        """Expected calibration error, 0-1: Σ over bins of (pictures in it / n) · |accuracy in it - mean confidence in it|."""
        return float((self.pictures * np.abs(self.accuracy - self.confidence)).sum() / self.pictures.sum())


def calibrate(confidence: Floats, right: NDArray[np.bool_], bins: int) -> Calibration:
    """Puts the answers in `bins` bins of equally many pictures.

    Equal confidences share a bin, so that the order of the pictures does not count; then there are fewer bins, of unequal size.

    Args:
        confidence: `(n,)`, 0-1.
        right: `(n,)`: whether the answer is.
        bins: At most so many.
    """
    ordered = np.sort(confidence)
    edges = np.unique(ordered[[place * len(ordered) // bins for place in range(bins)]])
    place = np.searchsorted(edges, confidence, side="right") - 1
    pictures = np.bincount(place, minlength=len(edges))
    return Calibration(
        place,
        pictures,
        np.bincount(place, weights=confidence, minlength=len(edges)) / pictures,
        np.bincount(place, weights=right, minlength=len(edges)) / pictures,
    )
