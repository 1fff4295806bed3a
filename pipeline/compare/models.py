"""The models that are compared, with their predictions on the same test images, as their evaluations stored them.

Stored predictions compare only where both are of the data in data/dataset. For other data the model is loaded, its weights
digest checked, and it predicts the test split of data/dataset again; images that one of the two was trained on are left out.
`promote` believes no stored predictions: it makes a pair of those that it has just made itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import dataset, model_file, predictions, provenance, tracking
from pipeline.dataset import Dataset
from pipeline.errors import EvaluationError, MissingInputError, RegistryError
from pipeline.params import EvaluateParams
from pipeline.predictions import Predictions
from pipeline.project import Project
from pipeline.provenance import TrainingRecord
from pipeline.scores import metrics
from pipeline.scores.metrics import Scores
from pipeline.tracking import Source, entry

STORED = "evaluation/predictions.parquet"


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

    def on(self, rows: NDArray[np.bool_]) -> "Evaluated":
        """Return it on the test images `rows`, `(n,)`."""
        labels, probabilities = self.labels[rows], self.probabilities[rows]
        scores = metrics.score(labels, probabilities, len(self.scores.calibration.images))
        return replace(
            self, source_index=self.source_index[rows], labels=labels, probabilities=probabilities, files=None, scores=scores
        )


@dataclass(frozen=True)
class Pair:
    """Two models on the same images, row for row."""

    a: Evaluated
    b: Evaluated
    images: NDArray[np.uint8] | None  # (n, height, width, channels), 0-255; None where data/dataset does not exist
    files: Sequence[str] | None  # (n,), their names in the source; None where they are not known
    scored_again: str  # which of them, on what and why; "" where all predictions are the stored ones

    def on(self, rows: NDArray[np.bool_]) -> "Pair":
        """Return the pair on the test images `rows`, `(n,)`, with a note that says on how many."""
        if rows.all():
            return self
        note = f"compared on the {rows.sum():,} of {len(rows):,} test images that neither was trained on"
        return Pair(
            self.a.on(rows),
            self.b.on(rows),
            None if self.images is None else self.images[rows],
            None if self.files is None else [self.files[row] for row in np.flatnonzero(rows).tolist()],
            "; ".join(filter(None, [self.scored_again, note])),
        )

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
    again = _scored_again(both)
    found = paired(both[0], both[1], data, project, again)
    return found.on(_unseen(client, sources, data)) if data and again else found


def paired(a: Evaluated, b: Evaluated, data: Dataset | None, project: Project, note: str = "") -> Pair:
    """Return both with the test images of `data`, the content of data/dataset."""
    files = dataset.file_names(project.workspace.dataset) if data else None
    return Pair(a, b, data.test.images if data else None, files["test"] if files else None, note)


def _unseen(client: Any, sources: Sequence[Source], data: Dataset) -> NDArray[np.bool_]:
    """Return the test images that none of the models was trained on, `(n,)`; of one that does not say, all are left."""
    unseen = np.ones(len(data.test), bool)
    for source in sources:
        with tracking.model_folder(client, source) as folder:
            if (trained := entry.training_images(folder, source.name)) is not None:
                unseen &= dataset.unseen(data, trained)
    if not unseen.any():
        names = " and ".join(source.name for source in sources)
        raise EvaluationError(f"{names} cannot be compared: every test image of data/dataset was used to train one of them")
    return unseen


def stored(client: Any, source: Source, record: TrainingRecord) -> Predictions:
    """Return the predictions that the evaluation of `source` stored on its run.

    Raises:
        EvaluationError: there are none, or the file is not what evaluate writes.
        RegistryError: the run's files cannot be fetched.
    """
    with tracking.artifact(client, source, STORED) as path:
        if path is None:
            raise EvaluationError(
                f"{source.name} has no evaluation: its run {source.run_id} holds no {STORED}; `dvc repro -s -f evaluate` "
                "where it was trained adds it"
            )
        return predictions.read(path, record.class_names, f"{STORED} of {source.name}")


def _evaluated(client: Any, source: Source, record: TrainingRecord, data: Dataset | None, params: EvaluateParams) -> Evaluated:
    if data is None or record.dataset_digest == data.description.digest:
        found, digest = stored(client, source, record), record.dataset_digest
    else:
        found, digest = _predict_again(client, source, record, data, params.batch_size), data.description.digest
    return evaluated(found, source, record, digest, params)


def evaluated(found: Predictions, source: Source, record: TrainingRecord, digest: str, params: EvaluateParams) -> Evaluated:
    """Return the model with what it predicted for the test split of the data with the digest `digest`."""
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
    check_task(source, record, data)
    with tracking.model_folder(client, source) as folder:
        model = model_file.load(folder / entry.MODEL, data.description)
    if provenance.weights_digest(model) != record.weights_digest:
        raise RegistryError(f"{source.name} has a model file that is not the one that was trained: do not use it")
    return Predictions(
        source_index=np.asarray(data.test.source_index),
        labels=np.asarray(data.test.labels),
        probabilities=model_file.predict(model, data.test.images, batch_size)[0],
    )


def check_task(source: Source, record: TrainingRecord, data: Dataset) -> None:
    """Raise EvaluationError unless the model was made for such images and classes as `data` has."""
    if (record.class_names, record.image_shape) != (data.description.class_names, data.description.image_shape):
        raise EvaluationError(
            f"{source.name} was trained on {_data(record)}, and data/dataset holds {data.description.name} with other classes "
            "or images of another size: `dvc repro ingest` with the params of the model"
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
    return f"{trained}; {subject} scored again on the test split of data/dataset ({both[0].data_digest[:12]})"


def _data(record: TrainingRecord) -> str:
    return f"{record.dataset_name} {record.dataset_digest[:12]}"
