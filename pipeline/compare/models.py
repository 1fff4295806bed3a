"""The models that are compared, with their predictions on the same test images, as their evaluations stored them.

Stored predictions compare only where both are of the data in data/dataset. For other data the model is loaded, its weights
digest checked, and it predicts the test split of data/dataset again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import dataset, predictions, provenance, tracking
from pipeline.dataset import Dataset
from pipeline.errors import EvaluationError, MissingInputError, RegistryError
from pipeline.evaluate import predict
from pipeline.params import EvaluateParams
from pipeline.predictions import Predictions
from pipeline.project import Project
from pipeline.provenance import TrainingRecord
from pipeline.scores import metrics
from pipeline.scores.metrics import Scores
from pipeline.tracking import Source

_STORED = "evaluation/predictions.parquet"


@dataclass(frozen=True, kw_only=True)
class Evaluated(Predictions):
    """A model and its predictions on a test split."""

    source: Source
    record: TrainingRecord  # params, commit and environment of the training; its data digest is of the training data
    data_digest: str  # of the data set whose test split was predicted
    scores: Scores  # of these predictions

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, by label."""
        return self.record.class_names


@dataclass(frozen=True)
class Pair:
    """Two models on the same images, row for row."""

    a: Evaluated
    b: Evaluated
    images: NDArray[np.uint8] | None  # (n, height, width, channels), 0-255; None where data/dataset does not exist
    files: Sequence[str] | None  # (n,), their names in the source; None where they are not known
    scored_again: str  # which of them, on what and why; "" where all predictions are the stored ones

    @property
    def same_model(self) -> bool:
        """Whether both are the same weights."""
        return self.a.record.weights_digest == self.b.record.weights_digest


def pair(client: Any, a: str, b: str, project: Project) -> Pair:
    """Return two models, each a version, an alias, or a run's id or its beginning, on the same images.

    Raises:
        RegistryError: there is no such version or run, its files cannot be fetched, or its model is not the one trained.
        EvaluationError: one has no evaluation, or they have different classes or image shapes.
        MissingInputError: they were evaluated on different data, and there is no data/dataset to score both on.
    """
    sources = [tracking.find(client, project.model, wanted) for wanted in (a, b)]
    records = [tracking.training_record(client, source) for source in sources]
    _check_alike(sources, records)
    data = dataset.read(project.workspace.dataset) if project.workspace.dataset.exists() else None
    if data is None and records[0].dataset_digest != records[1].dataset_digest:
        raise MissingInputError(
            f"{sources[0].name} and {sources[1].name} were evaluated on different data, and data/dataset, which both could be "
            "scored on, does not exist yet: `dvc repro ingest` makes it"
        )
    both = [_evaluated(client, *each, data, project.params.evaluate) for each in zip(sources, records, strict=True)]
    if not np.array_equal(both[0].source_index, both[1].source_index) or not np.array_equal(both[0].labels, both[1].labels):
        raise EvaluationError(
            f"{sources[0].name} and {sources[1].name} hold predictions for different images of the same data: "
            "`dvc repro -s -f evaluate` where they were trained stores them again"
        )
    files = dataset.file_names(project.workspace.dataset) if data else None
    images = data.test.images if data else None
    return Pair(both[0], both[1], images, files["test"] if files else None, _scored_again(both))


def of(client: Any, source: Source, project: Project) -> Evaluated:
    """Return one model on the test split of data/dataset; arguments and errors as of `pair`."""
    data = dataset.read(project.workspace.need(project.workspace.dataset, "ingest"))
    return _evaluated(client, source, tracking.training_record(client, source), data, project.params.evaluate)


def stored(client: Any, source: Source, record: TrainingRecord) -> Predictions:
    """Return the predictions that the evaluation of `source` stored on its run.

    Raises:
        EvaluationError: there are none, or the file is not what evaluate writes.
        RegistryError: the run's files cannot be fetched.
    """
    with tracking.artifact(client, source, _STORED) as path:
        if path is None:
            raise EvaluationError(
                f"{source.name} has no evaluation: its run {source.run_id} holds no {_STORED}; `dvc repro -s -f evaluate` "
                "where it was trained adds it"
            )
        return predictions.read(path, record.class_names, f"{_STORED} of {source.name}")


def _evaluated(client: Any, source: Source, record: TrainingRecord, data: Dataset | None, params: EvaluateParams) -> Evaluated:
    if data is None or record.dataset_digest == data.description.digest:
        found, digest = stored(client, source, record), record.dataset_digest
    else:
        found, digest = _predict_again(client, source, record, data, params.batch_size), data.description.digest
    return Evaluated(
        source_index=found.source_index,
        labels=found.labels,
        probabilities=found.probabilities,
        source=source,
        record=record,
        data_digest=digest,
        scores=metrics.score(found.labels, found.probabilities, params.calibration_bins),
    )


def _predict_again(client: Any, source: Source, record: TrainingRecord, data: Dataset, batch_size: int) -> Predictions:
    if (record.class_names, record.image_shape) != (data.description.class_names, data.description.image_shape):
        raise EvaluationError(
            f"{source.name} was trained on {_data(record)}, and data/dataset holds {data.description.name} with other classes "
            "or images of another size: `dvc repro ingest` with the params of the model"
        )
    with tracking.model_file(client, source) as path:
        model = predict.load(path, data.description)
    if provenance.weights_digest(model) != record.weights_digest:
        raise RegistryError(f"{source.name} has a model file that is not the one that was trained: do not use it")
    return Predictions(
        source_index=np.asarray(data.test.source_index),
        labels=np.asarray(data.test.labels),
        probabilities=predict.predict(model, data.test.images, batch_size)[0],
    )


def _check_alike(sources: list[Source], records: list[TrainingRecord]) -> None:
    a, b = records
    difference = ""
    if a.class_names != b.class_names:
        other = sorted({*a.class_names} ^ {*b.class_names})
        difference = f"have different classes ({', '.join(other[:5])})" if other else "have their classes in a different order"
    elif a.image_shape != b.image_shape:
        shapes = ("×".join(map(str, record.image_shape)) for record in records)
        difference = f"take images of {' and of '.join(shapes)}"
    if difference:
        raise EvaluationError(
            f"{sources[0].name} and {sources[1].name} {difference}: only models of the same task can be compared"
        )


def _scored_again(both: list[Evaluated]) -> str:
    again = [each for each in both if each.data_digest != each.record.dataset_digest]
    if not again:
        return ""
    trained = "; ".join(f"{each.source.name} was trained and evaluated on {_data(each.record)}" for each in again)
    subject = "both were" if len(again) == 2 else "it was"
    return (
        f"{trained}; {subject} scored again on the test split of data/dataset ({both[0].data_digest[:12]}), "
        "some of which may have been training images then"
    )


def _data(record: TrainingRecord) -> str:
    return f"{record.dataset_name} {record.dataset_digest[:12]}"
