"""Where the model fails: accuracy within parts of the test split that have a figure of the validate stage in common.

A model that is right on average can be wrong on all the dark pictures; a mean over the test split hides that.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import EvaluationError
from pipeline.scores.intervals import Interval, wilson
from pipeline.scores.metrics import Floats

_FEWEST = 10  # pictures of a slice
MEANING = {
    "pixel_mean": "brightness, 0 – 255",
    "contrast": "standard deviation of the pixels",
    "foreground_fraction": "share of the picture that is not background",
    "contrast_ratio": "contrast as a multiple of what is usual in its class",
    "class_similarity": "correlation with the mean picture of its class",
    "blank_band_share": "share of the picture in one blank stretch, beyond what is usual in its class",
    "label_probability": "how plausible validate finds the label, 0 – 1",
    "near_duplicate_of_train": "1 where training saw the same image or a near-duplicate, else 0",
}
"""What each figure of the validate stage says, for people."""


@dataclass(frozen=True)
class Slice:
    """The test pictures whose `feature` lies in `low` … `high`, both ends included."""

    feature: str
    low: float
    high: float
    pictures: int
    accuracy: float
    interval: Interval

    def __str__(self) -> str:
        return f"{self.feature} {self.range}"

    @property
    def range(self) -> str:
        """From the lowest to the highest value, as `0.464 – 0.574`."""
        return f"{self.low:.3g}" if self.low == self.high else f"{self.low:.3g} – {self.high:.3g}"


def read(features: Path, names: Sequence[str], labels: NDArray[np.int32]) -> dict[str, Floats]:
    """Feature → its value for each test picture, `(n,)`; NaN where validate had none.

    Args:
        features: reports/features.parquet.
        names: Which features.
        labels: Of the test split, to see that the file speaks of it.

    Raises:
        EvaluationError: the file is not what validate writes for this test split.
    """
    import pyarrow
    from pyarrow import parquet

    columns = list(dict.fromkeys(["row", "label", *names]))
    try:
        table = parquet.read_table(features, columns=columns, filters=[("split", "=", "test")]).sort_by("row")
        found = {name: table[name].to_numpy().astype(np.float64) for name in columns}
    except (pyarrow.ArrowException, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise EvaluationError(f"{features} is not what validate writes ({reason}): run `dvc repro -s -f validate`") from None
    if not np.array_equal(found["label"], labels):
        raise EvaluationError(f"{features} speaks of another test split: run `dvc repro -s -f validate`")
    return {name: found[name] for name in names}


def cut(features: dict[str, Floats], right: NDArray[np.bool_], bins: int) -> list[Slice]:
    """Each feature's slices of about equally many pictures, the lowest accuracy first.

    A feature of at most `bins` values has a slice for each. Equal values share a slice; a feature that is the same everywhere,
    or known of no picture, has none. Fewer than ten pictures are no slice: one mistake would move its accuracy by a tenth.

    Args:
        features: Name → value per picture.
        right: Whether the model is, per picture.
        bins: Slices per feature, at most.
    """
    found = [each for name, values in features.items() for each in _of_feature(name, values, right, bins)]
    return sorted(found, key=lambda each: each.accuracy)


def _of_feature(name: str, values: Floats, right: NDArray[np.bool_], bins: int) -> Iterator[Slice]:
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
        if len(rows) < _FEWEST:
            continue
        low, high = wilson(np.array([right[rows].sum()]), np.array([len(rows)]))
        bounds = float(values[rows].min()), float(values[rows].max())
        yield Slice(name, *bounds, len(rows), float(right[rows].mean()), Interval(float(low[0]), float(high[0])))
