"""One evaluation: a model's answers on the test split, scored, with where model and data come from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.dataset import Dataset
from pipeline.evaluate.slices import Slice
from pipeline.predictions import Predictions
from pipeline.provenance import TrainingRecord
from pipeline.scores.intervals import Interval
from pipeline.scores.metrics import Scores


@dataclass(frozen=True)
class Evaluation:
    """What every table, picture and page of this room is made from."""

    data: Dataset
    training: TrainingRecord
    predictions: Predictions  # of the test split
    images_per_second: float  # of the prediction alone
    scores: Scores
    intervals: Mapping[str, Interval]  # by the name of the score, as in metrics.json
    slices: Sequence[Slice]  # lowest accuracy first

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, by label."""
        return self.data.description.class_names
