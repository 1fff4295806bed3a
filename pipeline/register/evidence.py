"""What a gate judges by: the test split of data/dataset, and what is computed from it and from a model's predictions.

Nothing here reads reports/ or a file on a run, which anybody can edit: the labels and images are those of data/dataset, whose
arrays are checked against their digest; the baseline is fitted again; slices are cut by features that are computed again.
"""

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pipeline import baseline, dataset, environment, features
from pipeline.baseline import Baseline
from pipeline.dataset import Dataset
from pipeline.errors import EvaluationError
from pipeline.params import EvaluateParams
from pipeline.register.gate import Performance
from pipeline.scores import metrics, slices
from pipeline.scores.metrics import Floats
from pipeline.workspace import Workspace

_DEAR = ("label_probability", "near_duplicate_of_train")  # cost more than all the rest: they are evaluate's to show


class HeldOut:
    """The test split of a data set, and all that is computed from the data set alone, each when it is first asked for."""

    def __init__(self, data: Dataset, params: EvaluateParams) -> None:
        self.data = data
        self._params = params

    @cached_property
    def digest(self) -> str:
        """What identifies it: see `dataset.test_digest`."""
        return dataset.test_digest(self.data)

    @cached_property
    def _small(self) -> NDArray[np.uint8]:
        return np.concatenate([features.shrink(split.images) for split in self.data.splits().values()])

    @cached_property
    def baseline(self) -> Baseline:
        """What the simple classifier predicts."""
        return baseline.fit(self.data, self._small)

    @cached_property
    def _features(self) -> Mapping[str, Floats]:
        """The features of `evaluate.slices` that are judged, each `(n,)`; those within a class refer to all three splits."""
        frame = features.table(self.data, self._small).iloc[-len(self.data.test) :]
        return {name: frame[name].to_numpy(np.float64) for name in self._params.slices if name not in _DEAR}

    def prepare(self) -> None:
        """Compute everything, while the fresh process loads TensorFlow beside this one."""
        with environment.half_of_the_cores():
            _ = self.digest, self.baseline, self._features, self.data.test.digests, dataset.trained_on(self.data)

    def unseen(self, trained_on: NDArray[np.uint64] | None) -> NDArray[np.bool_]:
        """Return the images that a model trained on `trained_on` (digests) has not seen, `(n,)`; all where None."""
        if trained_on is None:
            return np.ones(len(self.data.test), bool)
        return dataset.unseen(self.data, trained_on)

    def measure(
        self, probabilities: NDArray[np.float32], trained_on: NDArray[np.uint64] | None, rows: NDArray[np.bool_] | None = None
    ) -> Performance:
        """Return the performance of a model.

        Args:
            probabilities: That it predicts, `(n, classes)`.
            trained_on: The digests of its training images; None where they are not known.
            rows: The images to judge it by, `(n,)`; all by default.
        """
        chosen = np.ones(len(self.data.test), bool) if rows is None else rows
        labels, params = np.asarray(self.data.test.labels)[chosen], self._params
        scores = metrics.score(labels, probabilities[chosen], params.calibration_bins)
        correct: NDArray[np.bool_] = probabilities[chosen].argmax(axis=1) == labels
        cut = slices.cut({name: values[chosen] for name, values in self._features.items()}, correct, params.slice_bins)
        cut.reverse()  # of equal names the one of lowest accuracy counts
        simple = Baseline(name=self.baseline.name, labels=labels, predicted=self.baseline.predicted[chosen])
        return Performance(
            labels=labels,
            correct=correct,
            recalls=dict(zip(self.data.description.class_names, scores.per_class.recall.tolist(), strict=True)),
            calibration_error=scores.calibration.error,
            slices={str(each): each.accuracy for each in cut},
            slice_rows={str(each): np.isin(np.arange(len(labels)), each.rows) for each in cut},
            baseline=simple,
            seen=None if trained_on is None else int(np.count_nonzero(~self.unseen(trained_on)[chosen])),
        )


def read_test(workspace: Workspace, params: EvaluateParams) -> HeldOut:
    """Return the test split of data/dataset.

    Raises:
        MissingInputError: there is no data set.
        DatasetError: its arrays are not those that ingest wrote.
        EvaluationError: there are no test images.
    """
    data = dataset.read_checked(workspace.need(workspace.dataset, "ingest"))
    if not len(data.test):
        raise EvaluationError("the test split is empty: raise ingest.test_fraction in params.yaml, then `dvc repro`")
    return HeldOut(data, params)
