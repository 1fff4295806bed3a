"""What a model predicted for each test image, and predictions.parquet: written by evaluate, read by register and compare.

The file has the int32 columns source_index, label and predicted; file, where the images came as files; then a float32
probability per class, by label, under the name of the class (see `class_columns`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import environment
from pipeline.errors import EvaluationError

_INDEX, _LABEL, _PREDICTED, _FILE = COLUMNS = ("source_index", "label", "predicted", "file")
CONFUSION_COLUMN = "true"  # of confusion_matrix.csv, beside one per class


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """A row per test image."""

    source_index: NDArray[np.int32]  # (n,), row in the source of the data
    labels: NDArray[np.int32]  # (n,), true classes, 0 … classes - 1
    probabilities: NDArray[np.float32]  # (n, classes), each row sums to one
    files: Sequence[str] | None = None  # (n,), names in the source; None where the images did not come as files

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

    def origin(self, row: int) -> str:
        """Where the image of `row` came from: its file, or its row in the source."""
        return self.files[row] if self.files is not None else f"source {self.source_index[row]}"


def class_columns(class_names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the column of each class in tables that have one: its name.

    A class that is called as another column of such a table gets `class_` in front, as often as that makes it a new name.
    """
    taken = {*COLUMNS, CONFUSION_COLUMN}
    columns = []
    for name in class_names:
        column = name
        while column in taken or (column != name and column in class_names):
            column = f"class_{column}"
        columns.append(column)
    return tuple(columns)


def write(predictions: Predictions, class_names: tuple[str, ...], path: Path) -> None:
    """Write the file `path`; equal predictions give equal bytes."""
    import pyarrow
    from pyarrow import parquet

    known = {_INDEX: predictions.source_index, _LABEL: predictions.labels, _PREDICTED: predictions.predicted}
    columns: dict[str, NDArray[Any] | Sequence[str]] = {name: np.asarray(values) for name, values in known.items()}
    if predictions.files is not None:
        columns[_FILE] = predictions.files
    columns |= dict(zip(class_columns(class_names), predictions.probabilities.T, strict=True))
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
        index, labels = (table[column].to_numpy().astype(np.int32) for column in (_INDEX, _LABEL))
        files = table[_FILE].to_pylist() if _FILE in table.column_names else None
        columns = class_columns(class_names)
        probabilities = np.stack([table[column].to_numpy().astype(np.float32) for column in columns], axis=1)
        problem = (
            "no rows" if not len(table) else "" if np.isfinite(probabilities).all() else "probabilities that are no numbers"
        )
    except (pyarrow.ArrowException, KeyError, ValueError, OSError) as error:
        problem = environment.message(error, 120)
    if problem:
        raise EvaluationError(
            f"{name} is not what evaluate writes ({problem}): `dvc repro -s -f evaluate`, where the model was trained, "
            "writes it again"
        )
    return Predictions(source_index=index, labels=labels, probabilities=probabilities, files=files)
