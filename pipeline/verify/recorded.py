"""What the registry recorded of a version: everything it is rebuilt from and compared with. All of it may be forged."""

import csv
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import dataset, predictions, tracking
from pipeline.dataset import Description
from pipeline.errors import EvaluationError
from pipeline.page import printable
from pipeline.predictions import Predictions
from pipeline.provenance import TrainingRecord
from pipeline.tracking import Source
from pipeline.verify import verdict
from pipeline.verify.verdict import Difference

_PARAMS, _LOCK, _DATA, _SCORES, _PREDICTIONS = (
    "provenance/params.yaml",
    "provenance/dvc.lock",
    "data/dataset.json",
    "evaluation/intervals.csv",
    "evaluation/predictions.parquet",
)
_MAX_TEXT, _MAX_SCORE = 10_000_000, 1e6  # bytes; larger than any score


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The registry entry of a version."""

    source: Source
    record: TrainingRecord
    params: str  # params.yaml
    dvc_lock: str  # dvc.lock; "" if it was trained without DVC
    data: Description
    scores: Mapping[str, tuple[float, float, float]]  # name → value, low and high end of its 95% interval
    contradictions: list[Difference]
    folder: Path  # the version's files, as its manifest says
    predictions: Predictions  # of the test images

    @property
    def name(self) -> str:
        """The version's full name, such as "digits-classifier version 3 (production)"."""
        return f"{self.source.model_name} {self.source.name}"


@contextmanager
def opened(client: Any, wanted: str, model: str) -> Iterator[Entry]:
    """Yield the entry of the version `wanted` (a number or an alias) of `model`, its files checked against the manifest.

    Raises:
        RegistryError: there is no such version, or its files were altered.
        EvaluationError: it was not evaluated, or its run lacks a file that the rebuild needs.
    """
    source = tracking.find_version(client, model, wanted)
    record = tracking.training_record(client, source)
    tags = client.get_model_version(model, source.version).tags
    logged = client.get_run(source.run_id).data.params
    with ExitStack() as stack:
        folder = stack.enter_context(tracking.model_folder(client, source))
        paths = (_PARAMS, _DATA, _SCORES, _PREDICTIONS, _LOCK)
        files = {path: found for path in paths if (found := stack.enter_context(tracking.artifact(client, source, path)))}
        missing = [path for path in paths[:4] if path not in files]
        if missing:
            raise EvaluationError(
                f"{model} {source.name} cannot be rebuilt: its run {source.run_id} has no {missing[0]}; "
                "`python -m pipeline sync`, where it was trained, publishes it"
            )
        yield Entry(
            source=source,
            record=record,
            params=text(files[_PARAMS]),
            dvc_lock=text(files[_LOCK]) if _LOCK in files else "",
            data=dataset.describe(files[_DATA].parent),
            scores=intervals(files[_SCORES]),
            contradictions=verdict.contradictions(record, tags, logged),
            folder=folder,
            predictions=predictions.read(files[_PREDICTIONS], record.class_names, f"{_PREDICTIONS} of {model} {source.name}"),
        )


def text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        EvaluationError: it is no text, or too much.
    """
    try:
        if path.stat().st_size > _MAX_TEXT:
            raise ValueError(f"it has more than {_MAX_TEXT:,} bytes")
        return path.read_text(encoding="utf-8")
    except ValueError as error:
        raise EvaluationError(f"provenance/{path.name} on the run is not what train wrote ({error}): it was altered") from None


def intervals(path: Path) -> Mapping[str, tuple[float, float, float]]:
    """Return the scores in intervals.csv, name → value, low and high end of the 95% interval; accuracy comes first.

    Raises:
        EvaluationError: the file is not what evaluate writes.
    """
    try:
        if path.stat().st_size > _MAX_TEXT:
            raise ValueError("too large")
        with path.open(encoding="utf-8", newline="") as file:
            rows = {
                printable(row["score"])[:60]: (float(row["value"]), float(row["low"]), float(row["high"]))
                for row in csv.DictReader(file)
            }
        if any(abs(value) > _MAX_SCORE for values in rows.values() for value in values):  # NaN is not
            raise ValueError("a value out of range")
        return {"accuracy": rows["accuracy"], **rows}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        way_out = "`python -m pipeline sync`, where it was trained, publishes it again"
        raise EvaluationError(f"{path.name} is not what evaluate writes ({error!r}): {way_out}") from None
