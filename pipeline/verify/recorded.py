"""The registry entry of a version: all that verify derives it from."""

import csv
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import dataset, tracking
from pipeline.dataset import Description
from pipeline.errors import EvaluationError
from pipeline.project import Project
from pipeline.provenance import TrainingRecord
from pipeline.tracking import Source
from pipeline.verify import verdict
from pipeline.verify.verdict import Difference


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What the registry knows of a version."""

    source: Source
    record: TrainingRecord
    params: str  # params.yaml
    data: Description
    scores: Mapping[str, tuple[float, float, float]]  # name → value, and the ends of its 95 % bootstrap interval
    contradictions: list[Difference]


def read(client: Any, wanted: str, project: Project) -> Entry:
    """What the registry says of the version `wanted`, a number or an alias; its files are the ones that were registered.

    Raises:
        RegistryError: there is no such version, or its files are others.
        EvaluationError: it has no evaluation, or its run lacks what it was made of.
    """
    model = project.model
    source = tracking.find_version(client, model, wanted)
    record = tracking.training_record(client, source)
    tags = client.get_model_version(model, source.version).tags
    logged = client.get_run(source.run_id).data.params
    with ExitStack() as stack:
        stack.enter_context(tracking.model_folder(client, source))
        files = {
            path: stack.enter_context(tracking.artifact(client, source, path))
            for path in ("provenance/params.yaml", "data/dataset.json", "evaluation/intervals.csv")
        }
        missing = [path for path, file in files.items() if file is None]
        if missing:
            raise EvaluationError(
                f"{model} {source.name} cannot be derived again: its run {source.run_id} holds no {missing[0]}; "
                "`dvc repro -s -f evaluate register` where it was trained adds it"
            )
        recorded, description, intervals = (file for file in files.values() if file)
        return Entry(
            source=source,
            record=record,
            params=recorded.read_text(encoding="utf-8"),
            data=dataset.describe(description.parent),
            scores=intervals_in(intervals),
            contradictions=verdict.contradictions(record, tags, logged),
        )


def intervals_in(path: Path) -> Mapping[str, tuple[float, float, float]]:
    """Name of a score → its value, and the ends of its 95 % interval, as evaluate wrote them.

    Raises:
        EvaluationError: the file is another.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        found = {row["score"]: (float(row["value"]), float(row["low"]), float(row["high"])) for row in rows}
        return {"accuracy": found["accuracy"], **found}
    except (ValueError, KeyError, TypeError) as error:
        raise EvaluationError(f"{path.name} is not what evaluate writes ({error!r}): run `dvc repro -s -f evaluate`") from None
