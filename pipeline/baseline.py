"""The baseline of a model: what a simple classifier predicts for the same test images, in baseline.parquet.

validate writes it; evaluate shows it beside the model; the gates of register and promote require a better model. The file has
the int32 columns source_index, label and predicted, a row per test image, and in its schema the classifier and the data.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset import Dataset
from pipeline.errors import EvaluationError

_COLUMNS = ("source_index", "label", "predicted")
_NAME, _DATA = b"classifier", b"dataset_digest"  # keys of the schema's metadata


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A row per test image, in the order of the test split."""

    name: str  # of the classifier, for people
    labels: NDArray[np.int32]  # (n,), true classes
    predicted: NDArray[np.int32]  # (n,), classes

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the predicted class is the true one, `(n,)`."""
        correct: NDArray[np.bool_] = self.predicted == self.labels
        return correct

    @property
    def accuracy(self) -> float:
        """Share of the test images that it predicts correctly, 0-1."""
        return float(self.correct.mean())


def write(baseline: Baseline, data: Dataset, path: Path) -> None:
    """Write the file `path`; an equal baseline for the test split of equal data gives equal bytes."""
    import pyarrow
    from pyarrow import parquet

    arrays = map(np.asarray, (data.test.source_index, baseline.labels, baseline.predicted))
    table = pyarrow.table(dict(zip(_COLUMNS, arrays, strict=True)))
    table = table.replace_schema_metadata({_NAME: baseline.name, _DATA: data.description.digest})
    parquet.write_table(table, path, compression="zstd")


def read(path: Path, data: Dataset, shown: str) -> Baseline:
    """Return the baseline in `path`; errors call the file `shown`.

    Raises:
        EvaluationError: the file is not what `write` makes for the test split of `data`.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
        metadata = table.schema.metadata or {}
        name, digest = metadata[_NAME].decode(), metadata[_DATA].decode()
        index, labels, predicted = (table[column].cast(pyarrow.int32()).to_numpy() for column in _COLUMNS)
        known: NDArray[np.bool_] = (predicted >= 0) & (predicted < data.description.classes)  # false where it is missing
        problem = "" if known.all() else "a class that does not exist"
    except (pyarrow.ArrowException, KeyError, ValueError, OSError) as error:
        problem = " ".join(str(error).split())[:120]
    if problem:
        raise EvaluationError(f"{shown} is not what validate writes ({problem}): run `dvc repro -s -f validate`")
    rows = np.array_equal(index, data.test.source_index) and np.array_equal(labels, data.test.labels)
    if not rows or digest != data.description.digest:
        raise EvaluationError(f"{shown} belongs to a different test split: run `dvc repro -s -f validate`")
    return Baseline(name=name, labels=labels, predicted=predicted)
