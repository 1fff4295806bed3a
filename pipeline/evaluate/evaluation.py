"""An evaluation: predictions on the test split, their scores, and slices that show where the model fails.

A slice is a part of the test split with similar values of one feature of the validate stage. A model that is good on average
can fail on all the dark images; a mean over the test split hides that.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.baseline import Baseline
from pipeline.dataset import Dataset
from pipeline.errors import EvaluationError
from pipeline.predictions import Predictions
from pipeline.provenance import TrainingRecord
from pipeline.scores.intervals import Interval, proportion
from pipeline.scores.metrics import Floats, Scores

_FEWEST = 10  # images of a slice
MEANING = {
    "pixel_mean": "brightness, 0 – 255",
    "contrast": "standard deviation of the pixels",
    "foreground_fraction": "share of the image that is not background",
    "contrast_ratio": "contrast as a multiple of the median of its class",
    "class_similarity": "correlation with the mean image of its class",
    "blank_band_share": "share of the image in one blank stretch, beyond the median of its class",
    "label_probability": "out-of-fold probability of the given label, 0 – 1",
    "near_duplicate_of_train": "1 where the training split holds the same image or a near-duplicate, else 0",
}
"""What each feature of the validate stage measures."""


@dataclass(frozen=True)
class Slice:
    """The test images whose `feature` lies in `low` … `high`, both ends included."""

    feature: str
    low: float
    high: float
    images: int
    accuracy: float
    interval: Interval

    def __str__(self) -> str:
        return f"{self.feature} {self.range}"

    @property
    def range(self) -> str:
        """From the lowest to the highest value, as `0.464 – 0.574`."""
        return f"{self.low:.3g}" if self.low == self.high else f"{self.low:.3g} – {self.high:.3g}"


@dataclass(frozen=True)
class Evaluation:
    """What every table, plot and page of this stage is made from."""

    data: Dataset
    training: TrainingRecord
    predictions: Predictions  # of the test split
    baseline: Baseline  # on the same images
    images_per_second: float  # of the prediction alone
    scores: Scores
    intervals: Mapping[str, Interval]  # by the name of the score, as in metrics.json
    slices: Sequence[Slice]  # lowest accuracy first

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, by label."""
        return self.data.description.class_names


def read_features(path: Path, names: Sequence[str], labels: NDArray[np.int32]) -> dict[str, Floats]:
    """Return the value of each feature for each test image, `(n,)`, from features.parquet; NaN where validate has none.

    `labels` are those of the test split, to check that the file belongs to it.

    Raises:
        EvaluationError: the file is not what validate writes for this test split.
    """
    import pyarrow
    from pyarrow import parquet

    columns = list(dict.fromkeys(["row", "label", *names]))
    try:
        table = parquet.read_table(path, columns=columns, filters=[("split", "=", "test")]).sort_by("row")
        found = {name: table[name].to_numpy().astype(np.float64) for name in columns}
    except (pyarrow.ArrowException, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise EvaluationError(f"{path} is not what validate writes ({reason}): run `dvc repro -s -f validate`") from None
    if not np.array_equal(found["label"], labels):
        raise EvaluationError(f"{path} belongs to a different test split: run `dvc repro -s -f validate`")
    return {name: found[name] for name in names}


def slices(features: Mapping[str, Floats], correct: NDArray[np.bool_], bins: int) -> list[Slice]:
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
            yield Slice(name, *bounds, len(rows), float(correct[rows].mean()), Interval(float(low[0]), float(high[0])))
