"""An evaluation: predictions on the test split, their scores, and slices by the features of the validate stage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline import environment
from pipeline.baseline import Baseline
from pipeline.dataset import Dataset
from pipeline.errors import EvaluationError
from pipeline.predictions import Predictions
from pipeline.provenance import TrainingRecord
from pipeline.restore import way_back
from pipeline.scores.intervals import Interval
from pipeline.scores.metrics import Floats, Scores
from pipeline.scores.slices import Slice

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
    seen: int = 0  # test images that the model, or a version it started from, was trained on, pixel for pixel

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
        reason = environment.message(error, 120)
        raise EvaluationError(f"{path} is not what validate writes ({reason}): {way_back(path, 'validate')}") from None
    if not np.array_equal(found["label"], labels):
        raise EvaluationError(f"{path} belongs to a different test split: run `dvc repro -s -f validate`")
    return {name: found[name] for name in names}
