"""What a model predicted for each test image, and predictions.parquet: written by evaluate, read by register and compare.

The file has the int32 columns source_index, label and predicted, then a float32 probability per class, by label.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import PREDICTION_COLUMNS
from pipeline.errors import EvaluationError


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """A row per test image."""

    source_index: NDArray[np.int32]  # (n,), row in the source of the data
    labels: NDArray[np.int32]  # (n,), true classes, 0 … classes - 1
    probabilities: NDArray[np.float32]  # (n, classes), each row sums to one

    @cached_property
    def predicted(self) -> NDArray[np.int32]:
        """The most probable class of each image, `(n,)`; of equals the first."""
        predicted: NDArray[np.int32] = self.probabilities.argmax(axis=1).astype(np.int32)
        return predicted

    @cached_property
    def confidence(self) -> NDArray[np.float32]:
        """The probability of the predicted class, `(n,)`, 0-1."""
        confidence: NDArray[np.float32] = self.probabilities.max(axis=1)
        return confidence

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the predicted class is the true one, `(n,)`."""
        correct: NDArray[np.bool_] = self.predicted == self.labels
        return correct


def write(predictions: Predictions, class_names: tuple[str, ...], path: Path) -> None:
    """Write the file `path`; equal predictions give equal bytes."""
    import pyarrow
    from pyarrow import parquet

    known = (predictions.source_index, predictions.labels, predictions.predicted)
    columns = dict(zip(PREDICTION_COLUMNS, map(np.asarray, known), strict=True))
    columns |= dict(zip(class_names, predictions.probabilities.T, strict=True))
    parquet.write_table(pyarrow.table(columns), path, compression="zstd")


def read(path: Path, class_names: tuple[str, ...], name: str) -> Predictions:
    """Return the predictions in `path`; errors call the file `name`.

    Raises:
        EvaluationError: the file is not what `write` makes for these classes.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
        index, labels = (table[column].to_numpy().astype(np.int32) for column in PREDICTION_COLUMNS[:2])
        probabilities = np.stack([table[column].to_numpy().astype(np.float32) for column in class_names], axis=1)
        problem = (
            "no rows" if not len(table) else "" if np.isfinite(probabilities).all() else "probabilities that are no numbers"
        )
    except (pyarrow.ArrowException, KeyError, ValueError, OSError) as error:
        problem = " ".join(str(error).split())[:120]
    if problem:
        raise EvaluationError(
            f"{name} is not what evaluate writes ({problem}): `dvc repro -s -f evaluate`, where the model was trained, "
            "writes it again"
        )
    return Predictions(source_index=index, labels=labels, probabilities=probabilities)
