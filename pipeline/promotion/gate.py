"""The gate of a promotion: load the version in a fresh process, check its predictions, judge it, compare it with production."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import baseline, dataset, tracking
from pipeline.baseline import Baseline
from pipeline.compare import command, comparison, models
from pipeline.compare.models import Evaluated, Pair
from pipeline.dataset import Dataset
from pipeline.errors import RefusedError, RegistryError
from pipeline.project import Project
from pipeline.promotion import rules
from pipeline.promotion.record import Row
from pipeline.promotion.rules import LOADS, Performance
from pipeline.register.gate import read_slices
from pipeline.register.smoke import IMAGES, Loaded, SmokeTest
from pipeline.tracking import Source
from pipeline.tracking.manifest import MANIFEST

_SLICES, _BASELINE = "evaluation/slices.csv", "evaluation/baseline.parquet"


@dataclass(frozen=True)
class Judgement:
    """The rows of the gate, and the page with the comparison."""

    rows: Sequence[Row]
    page: Path | None  # None where there was nothing to compare with

    @property
    def failed(self) -> list[Row]:
        """The rules that failed."""
        return [row for row in self.rows if row.verdict == "failed"]

    def refuses(self, force: bool) -> bool:
        """Return whether the gate stays shut; `force` overrides every rule but one."""
        return any(not force or row.rule == LOADS for row in self.failed)


def judge(client: Any, smoke: SmokeTest, source: Source, target: str, production: str | None, project: Project) -> Judgement:
    """Judge the version `source` by the gate of the registry stage `target`.

    Args:
        client: As `tracking.connect` gives it.
        smoke: The process that loads the model.
        source: The version that is to move.
        target: `staging` or `production`.
        production: The version in production now, if any.
        project: Its data/dataset holds the test images, its params.yaml the limits.

    Raises:
        PipelineError: the version has no evaluation, or cannot be judged on the data here; see `compare.models`.
    """
    params = project.params
    pair = _pair(client, source, target, production, project)
    new = pair.b if pair else models.of(client, source, project)
    if new.record.model_name != source.model_name:  # versions can be copied between registered models in the UI
        trained_on = f"{source.name} of {source.model_name} was trained on {new.record.dataset_name}"
        raise RefusedError(f"{trained_on}: it belongs to {new.record.model_name}")
    data = dataset.read(project.workspace.dataset)
    row, cost = load(client, smoke, source, new.record.weights_digest, data.test.images[:IMAGES], new.probabilities[:IMAGES])
    performance = _performance(client, new, _baseline(client, new, data))
    rows = [row, *rules.limits(params.register, performance)]
    found = comparison.compare(pair, comparison.data_drift(client, pair.a.source, pair.b.source)) if pair else None
    if target == "production":
        old = _performance(client, pair.a) if pair else None
        rows += rules.against(params.promote, performance, old, found.data if found else None)
        rows += rules.costs(params.promote, cost) if cost else []
    return Judgement(rows, command.write(found, project) if found else None)


def load(
    client: Any,
    smoke: SmokeTest,
    source: Source,
    weights_digest: str,
    images: NDArray[np.uint8],
    expected: NDArray[np.float32] | None,
) -> tuple[Row, Loaded | None]:
    """Return the first row of each gate: the registry's own files load, and predict what was evaluated, in a fresh process."""
    manifest = client.get_model_version(source.model_name, source.version).tags.get(MANIFEST, "")
    try:
        loaded = smoke.check(f"models:/{source.model_name}/{source.version}", manifest, weights_digest, images, expected)
    except RegistryError as error:
        return Row(rule=LOADS, verdict="failed", detail=str(error)), None
    compared = "" if expected is None else f", {len(images)} predictions as evaluated"
    return Row(rule=LOADS, verdict="passed", detail=f"in a fresh process; digests match{compared}"), loaded


def _pair(client: Any, source: Source, target: str, production: str | None, project: Project) -> Pair | None:
    if target != "production" or production in (None, source.version):
        return None
    project.workspace.need(project.workspace.dataset, "ingest")
    return models.pair(client, str(production), str(source.version), project)


def _performance(client: Any, of: Evaluated, simple: Baseline | None = None) -> Performance:
    return Performance(
        name=of.source.name,
        labels=of.labels,
        correct=of.correct,
        recalls=dict(zip(of.class_names, of.scores.per_class.recall.tolist(), strict=True)),
        calibration_error=of.scores.calibration.error,
        slices=_slices(client, of) if _evaluated_here(of) else {},
        baseline=simple,
    )


def _evaluated_here(of: Evaluated) -> bool:
    """Return whether what its evaluation stored is of the data in data/dataset."""
    return of.data_digest == of.record.dataset_digest


def _baseline(client: Any, of: Evaluated, data: Dataset) -> Baseline | None:
    if not _evaluated_here(of):
        return None
    with tracking.artifact(client, of.source, _BASELINE) as path:
        return baseline.read(path, data, f"{_BASELINE} of {of.source.name}") if path else None


def _slices(client: Any, of: Evaluated) -> dict[str, float]:
    with tracking.artifact(client, of.source, _SLICES) as path:
        try:
            return read_slices(path) if path else {}
        except (ValueError, KeyError, TypeError) as error:
            raise RegistryError(
                f"{_SLICES} of {of.source.name} is not what evaluate writes ({error!r}): `dvc repro -s -f evaluate` where it "
                "was trained stores it again"
            ) from None
