"""What the registry recorded of a version: everything it is rebuilt from and compared with."""

import csv
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import dataset, tracking
from pipeline.dataset import Description
from pipeline.errors import EvaluationError
from pipeline.provenance import TrainingRecord
from pipeline.tracking import Source
from pipeline.verify import verdict
from pipeline.verify.verdict import Difference

_PARAMS, _LOCK, _DATA, _SCORES = (
    "provenance/params.yaml",
    "provenance/dvc.lock",
    "data/dataset.json",
    "evaluation/intervals.csv",
)


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

    @property
    def name(self) -> str:
        """The version's full name, such as "digits-classifier version 3 (production)"."""
        return f"{self.source.model_name} {self.source.name}"


def read(client: Any, wanted: str, model: str) -> Entry:
    """Return the entry of the version `wanted` (a number or an alias) of `model`, its files checked against the manifest.

    Raises:
        RegistryError: there is no such version, or its files were altered.
        EvaluationError: it was not evaluated, or its run lacks a file that the rebuild needs.
    """
    source = tracking.find_version(client, model, wanted)
    record = tracking.training_record(client, source)
    tags = client.get_model_version(model, source.version).tags
    logged = client.get_run(source.run_id).data.params
    with ExitStack() as stack:
        stack.enter_context(tracking.model_folder(client, source))
        paths = (_PARAMS, _DATA, _SCORES, _LOCK)
        files = {path: found for path in paths if (found := stack.enter_context(tracking.artifact(client, source, path)))}
        missing = [path for path in paths[:3] if path not in files]
        if missing:
            raise EvaluationError(
                f"{model} {source.name} cannot be rebuilt: its run {source.run_id} has no {missing[0]}; "
                "run `dvc repro -s -f evaluate register` where it was trained"
            )
        return Entry(
            source=source,
            record=record,
            params=files[_PARAMS].read_text(encoding="utf-8"),
            dvc_lock=files[_LOCK].read_text(encoding="utf-8") if _LOCK in files else "",
            data=dataset.describe(files[_DATA].parent),
            scores=intervals(files[_SCORES]),
            contradictions=verdict.contradictions(record, tags, logged),
        )


def intervals(path: Path) -> Mapping[str, tuple[float, float, float]]:
    """Return the scores in intervals.csv, name → value, low and high end of the 95% interval; accuracy comes first.

    Raises:
        EvaluationError: the file is not what evaluate writes.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            found = {row["score"]: (float(row["value"]), float(row["low"]), float(row["high"])) for row in csv.DictReader(file)}
        return {"accuracy": found["accuracy"], **found}
    except (ValueError, KeyError, TypeError) as error:
        raise EvaluationError(f"{path.name} is not what evaluate writes ({error!r}): run `dvc repro -s -f evaluate`") from None
