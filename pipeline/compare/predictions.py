"""The answers of a version or a run on the test pictures, as its evaluation stored them; and those of two on the same ones.

Stored answers compare only where both are of the data in data/dataset. Of other data the model is loaded, its weights digest
checked, and it answers again on the test split of data/dataset.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import dataset, provenance, tracking
from pipeline.dataset import PREDICTION_COLUMNS, Dataset
from pipeline.errors import EvaluationError, MissingInputError, RegistryError
from pipeline.evaluate import predict, tables
from pipeline.params import EvaluateParams
from pipeline.project import Project
from pipeline.provenance import TrainingRecord
from pipeline.scores import metrics
from pipeline.scores.metrics import Scores
from pipeline.tracking import Source

_STORED = "evaluation/predictions.parquet"


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """The answers of one model, a row per test picture."""

    source: Source
    record: TrainingRecord  # params, commit and environment of the training; its data digest is of what it trained on
    data_digest: str  # of the data set whose test split was answered
    source_index: NDArray[np.int32]  # (n,), row in the source of the data
    labels: NDArray[np.int32]  # (n,), 0 … classes - 1
    probabilities: NDArray[np.float32]  # (n, classes), each row sums to one
    scores: Scores  # of these answers, whatever the run says

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, by label."""
        return self.record.class_names

    @property
    def params(self) -> Mapping[str, Mapping[str, provenance.Value]]:
        """Section → key → value, of every stage up to train."""
        return self.record.params

    @property
    def metrics(self) -> dict[str, float]:
        """The scores by the names of metrics.json."""
        return tables.figures(self.scores)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The most probable class of each picture, `(n,)`."""
        predicted: NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return predicted

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether the most probable class is the true one, `(n,)`."""
        right: NDArray[np.bool_] = self.predicted == self.labels
        return right


@dataclass(frozen=True)
class Pair:
    """Two models on the same pictures, row for row."""

    a: Predictions
    b: Predictions
    images: NDArray[np.uint8] | None  # (n, height, width, channels), 0-255; None where data/dataset is not here
    scored_again: str  # which of them, on what and why, as a sentence; "" where all answers are the stored ones

    @property
    def same_model(self) -> bool:
        """Whether both are the same weights."""
        return self.a.record.weights_digest == self.b.record.weights_digest


def pair(client: Any, a: str, b: str, project: Project) -> Pair:
    """The answers of two models on the same pictures.

    Args:
        client: As `tracking.connect` gives it.
        a: A version, an alias, or a run's id or its beginning.
        b: Likewise.
        project: Its params.yaml names the registered model; its data/dataset, if there is one, holds the pictures.

    Raises:
        ParamsError: params.yaml cannot be used.
        RegistryError: there is no such version or run, its files cannot be had, or its model is not the one that was trained.
        EvaluationError: one has no evaluation, or they know other classes or take other pictures.
        MissingInputError: they were evaluated on different data, and there is no data/dataset to score both on.
    """
    loaded = project.params
    sources = [tracking.find(client, provenance.model_name(loaded.ingest.dataset_name), wanted) for wanted in (a, b)]
    records = [tracking.training_record(client, source) for source in sources]
    _check_alike(sources, records)
    data = dataset.read(project.workspace.dataset) if project.workspace.dataset.exists() else None
    if data is None and records[0].dataset_digest != records[1].dataset_digest:
        raise MissingInputError(
            f"{sources[0].name} and {sources[1].name} were evaluated on different data, and data/dataset, which both could be "
            "scored on, does not exist yet: `dvc repro ingest` makes it"
        )
    both = [_answers(client, *each, data, loaded.evaluate) for each in zip(sources, records, strict=True)]
    if not np.array_equal(both[0].source_index, both[1].source_index) or not np.array_equal(both[0].labels, both[1].labels):
        raise EvaluationError(
            f"{sources[0].name} and {sources[1].name} hold answers to other pictures of the same data: "
            "`dvc repro -s -f evaluate` where they were trained stores them again"
        )
    return Pair(both[0], both[1], data.test.images if data else None, _scored_again(both))


def of(client: Any, source: Source, project: Project) -> Predictions:
    """The answers of one model on the test split of data/dataset; arguments and errors as of `pair`."""
    data = dataset.read(project.workspace.need(project.workspace.dataset, "ingest"))
    record = tracking.training_record(client, source)
    return _answers(client, source, record, data, project.params.evaluate)


def _answers(
    client: Any, source: Source, record: TrainingRecord, data: Dataset | None, settings: EvaluateParams
) -> Predictions:
    if data is None or record.dataset_digest == data.description.digest:
        return stored(client, source, record, settings.calibration_bins)
    return _score_again(client, source, record, data, settings)


def stored(client: Any, source: Source, record: TrainingRecord, bins: int) -> Predictions:
    """The answers that the evaluation of `source` stored on its run.

    Raises:
        EvaluationError: there are none, or the file is not what evaluate writes.
        RegistryError: the run's files cannot be had.
    """
    with tracking.artifact(client, source, _STORED) as path:
        if path is None:
            raise EvaluationError(
                f"{source.name} has no evaluation: its run {source.run_id} holds no {_STORED}; `dvc repro -s -f evaluate` "
                "where it was trained adds it"
            )
        index, labels, probabilities = _read(path, record.class_names, source)
    return Predictions(
        source=source,
        record=record,
        data_digest=record.dataset_digest,
        source_index=index,
        labels=labels,
        probabilities=probabilities,
        scores=metrics.score(labels, probabilities, bins),
    )


def _read(
    path: Path, class_names: tuple[str, ...], source: Source
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
    """The columns source_index and label, and the probabilities `(n, classes)`."""
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
        index, labels = (table[name].to_numpy().astype(np.int32) for name in PREDICTION_COLUMNS[:2])
        probabilities = np.stack([table[name].to_numpy().astype(np.float32) for name in class_names], axis=1)
        wrong = "no rows" if not len(table) else "answers that are no numbers" if not np.isfinite(probabilities).all() else ""
    except (pyarrow.ArrowException, KeyError, ValueError, OSError) as error:
        wrong = " ".join(str(error).split())[:120]
    if wrong:
        raise EvaluationError(
            f"{_STORED} of {source.name} is not what evaluate writes ({wrong}): `dvc repro -s -f evaluate` where it was "
            "trained stores it again"
        )
    return index, labels, probabilities


def _score_again(client: Any, source: Source, record: TrainingRecord, data: Dataset, settings: EvaluateParams) -> Predictions:
    if (record.class_names, record.image_shape) != (data.description.class_names, data.description.image_shape):
        raise EvaluationError(
            f"{source.name} was trained on {_data(record)}, and data/dataset holds {data.description.name} with other classes "
            "or pictures of another size: `dvc repro ingest` with the params of the model"
        )
    with tracking.model_file(client, source) as path:
        model = predict.load(path, data.description)
    if provenance.weights_digest(model) != record.weights_digest:
        raise RegistryError(f"{source.name} has a model file that is not the one that was trained: do not use it")
    probabilities = predict.predict(model, data.test.images, settings.batch_size).probabilities
    labels = np.asarray(data.test.labels)
    return Predictions(
        source=source,
        record=record,
        data_digest=data.description.digest,
        source_index=np.asarray(data.test.source_index),
        labels=labels,
        probabilities=probabilities,
        scores=metrics.score(labels, probabilities, settings.calibration_bins),
    )


def _check_alike(sources: list[Source], records: list[TrainingRecord]) -> None:
    a, b = records
    why = ""
    if a.class_names != b.class_names:
        other = sorted({*a.class_names} ^ {*b.class_names})
        why = f"know other classes ({', '.join(other[:5])})" if other else "have their classes in another order"
    elif a.image_shape != b.image_shape:
        why = f"take pictures of {_by(a.image_shape)} and of {_by(b.image_shape)}"
    if why:
        raise EvaluationError(f"{sources[0].name} and {sources[1].name} {why}: only models of the same task can be compared")


def _scored_again(both: list[Predictions]) -> str:
    again = [each for each in both if each.data_digest != each.record.dataset_digest]
    if not again:
        return ""
    trained = "; ".join(f"{each.source.name} was trained and evaluated on {_data(each.record)}" for each in again)
    who = "both were" if len(again) == 2 else "it was"
    return (
        f"{trained}; {who} scored again on the test split of data/dataset ({both[0].data_digest[:12]}), "
        "some of which may have been training pictures then"
    )


def _data(record: TrainingRecord) -> str:
    return f"{record.dataset_name} {record.dataset_digest[:12]}"


def _by(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
