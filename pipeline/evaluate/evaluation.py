"""One evaluation: a model's answers on the test split, scored, with where model and data come from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import Dataset
from pipeline.evaluate.predict import Answers
from pipeline.evaluate.slices import Slice
from pipeline.provenance import TrainingRecord
from pipeline.scores.intervals import Interval
from pipeline.scores.metrics import Scores


@dataclass(frozen=True)
class Evaluation:
    """What every table, picture and page of this room is made from."""

    data: Dataset
    training: TrainingRecord
    answers: Answers
    scores: Scores
    intervals: Mapping[str, Interval]  # by the name of the score, as in metrics.json
    slices: Sequence[Slice]  # lowest accuracy first

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, by label."""
        return self.data.description.class_names

    @property
    def labels(self) -> NDArray[np.int32]:
        """The true class of each test picture, `(n,)`."""
        return self.data.test.labels

    @property
    def confidence(self) -> NDArray[np.float32]:
        """The probability of the most probable class of each test picture, `(n,)`, 0-1."""
        confidence: NDArray[np.float32] = self.answers.probabilities.max(axis=1)
        return confidence

    @property
    def predicted(self) -> NDArray[np.int32]:
        """The most probable class of each test picture, `(n,)`."""
        predicted: NDArray[np.int32] = self.answers.probabilities.argmax(axis=1).astype(np.int32)
        return predicted
