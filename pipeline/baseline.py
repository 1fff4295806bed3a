"""The baseline of a model: what a simple classifier, fitted on the training split, predicts for the same test images.

Ridge regression on an approximate kernel map (Williams, Seeger 2001, "Using the Nyström Method to Speed Up Kernel Machines").
validate writes it to baseline.parquet, and evaluate shows it beside the model: the int32 columns source_index, label and
predicted, a row per test image, and in the schema the classifier and the data. The gates of register and promote, which
require a better model, fit it again, because a file can be altered.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import environment
from pipeline.dataset import Dataset
from pipeline.errors import EvaluationError
from pipeline.features import shrink
from pipeline.restore import way_back

CLASSIFIER = "kernel ridge (Nystroem)"
"""What people read as the name of the classifier."""
SIDE = 16  # pixels; at 28, Fashion-MNIST is not classified better, and the features cost four times as much
BLOCK = 40_000  # images fitted, or predicted, together at most, so that memory stays flat
RIDGE = 0.3
SEED = 0
_FEATURES = 500  # 86 % of Fashion-MNIST correct out of fold; 1,000 give 87 % at three times the cost
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


def fit(data: Dataset, small: NDArray[np.uint8]) -> Baseline:
    """Return what the classifier, fitted on the training split, predicts for the test split.

    `small` holds the images of all three splits, in their order, as `features.shrink` returns them.
    """
    tiny = shrink(small, SIDE)
    train, test = tiny[: len(data.train)], tiny[len(tiny) - len(data.test) :]
    known = (data.train.labels >= 0) & (data.train.labels < data.description.classes)
    predicted = _predict(train[known], data.train.labels[known], test)
    return Baseline(name=CLASSIFIER, labels=data.test.labels, predicted=predicted)


def _predict(images: NDArray[np.uint8], labels: NDArray[np.int32], test: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Return the class of each image in `test`, `(n,)`; of more than `BLOCK` images to fit, so many at random are used."""
    from sklearn.linear_model import Ridge

    rows = np.random.default_rng(SEED).permutation(len(images))[:BLOCK]
    values, classes = pixels(images[rows]), np.unique(labels[rows])
    mapped = kernel(values)
    targets = (labels[rows, None] == classes).astype(np.float32)
    ridge = Ridge(RIDGE, copy_X=False).fit(mapped.fit_transform(values), targets)
    blocks = np.array_split(test, max(1, -(-len(test) // BLOCK)))
    scores = [ridge.predict(mapped.transform(pixels(block))).reshape(len(block), -1) for block in blocks]
    predicted: NDArray[np.int32] = classes[np.concatenate(scores).argmax(axis=1)].astype(np.int32)
    return predicted


def pixels(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return images as rows of values, 0-1."""
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)


def kernel(values: NDArray[np.float32]) -> Any:
    """Return the kernel map for images like the rows `values`, still to be fitted."""
    from sklearn.kernel_approximation import Nystroem

    spread = values.var(axis=0).sum()  # the mean squared distance from the mean image
    return Nystroem(gamma=1 / (spread or 1), n_components=min(_FEATURES, len(values)), random_state=SEED)


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
        problem = environment.message(error, 120)
    if problem:
        raise EvaluationError(f"{shown} is not what validate writes ({problem}): {way_back(path, 'validate')}")
    rows = np.array_equal(index, data.test.source_index) and np.array_equal(labels, data.test.labels)
    if not rows or digest != data.description.digest:
        raise EvaluationError(f"{shown} belongs to a different test split: run `dvc repro -s -f validate`")
    return Baseline(name=name, labels=labels, predicted=predicted)
