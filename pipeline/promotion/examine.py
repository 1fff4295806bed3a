"""What a version has to show on its way to a stage: it is loaded and asked in a fresh process, judged, and compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import dataset, tracking
from pipeline.compare import command, comparison, models
from pipeline.compare.models import Evaluated, Pair
from pipeline.errors import RefusedError, RegistryError
from pipeline.project import Project
from pipeline.promotion import rules
from pipeline.promotion.record import Row
from pipeline.promotion.rules import LOADS, Cost, Shown
from pipeline.register import evidence
from pipeline.register.smoke import PICTURES, SmokeTest
from pipeline.tracking import Source
from pipeline.tracking.manifest import MANIFEST

_SLICES = "evaluation/slices.csv"


@dataclass(frozen=True)
class Examined:
    """The rows of the gate, and the page that shows a comparison."""

    rows: Sequence[Row]
    page: Path | None  # None where there was nothing to compare with


def examine(client: Any, fresh: SmokeTest, source: Source, target: str, production: str | None, project: Project) -> Examined:
    """Asks the gate of the stage `target`.

    Args:
        client: As `tracking.connect` gives it.
        fresh: The process that loads the model.
        source: The version that is to move.
        target: `staging` or `production`.
        production: The version in production now, if any.
        project: Its data/dataset holds the pictures, its params.yaml the limits.

    Raises:
        PipelineError: the version has no evaluation, or cannot be judged on the data here; see `models`.
    """
    settings = project.params
    pair = _pair(client, source, target, production, project)
    new = pair.b if pair else models.of(client, source, project)
    _check_owner(source, new)
    images = np.asarray(dataset.read(project.workspace.dataset).test.images[:PICTURES])
    row, cost = loads(client, fresh, source, new.record.weights_digest, images, new.probabilities[:PICTURES])
    shown = _shown(client, new)
    rows = [row, *rules.limits(settings.register, shown)]
    if target == "production":
        rows += rules.against(settings.promote, shown, _shown(client, pair.a) if pair else None)
        rows += rules.costs(settings.promote, cost) if cost else []
    return Examined(rows, _write_comparison(client, pair, project) if pair else None)


def _write_comparison(client: Any, pair: Pair, project: Project) -> Path:
    data = comparison.data_drift(client, pair.a.source, pair.b.source)
    return command.write(comparison.compare(pair, data), project)


def loads(
    client: Any,
    fresh: SmokeTest,
    source: Source,
    weights_digest: str,
    images: NDArray[np.uint8],
    expected: NDArray[np.float32] | None,
) -> tuple[Row, Cost | None]:
    """The first row of each gate: the registry's own files, loaded and asked in a fresh process."""
    manifest = client.get_model_version(source.model_name, source.version).tags.get(MANIFEST, "")
    try:
        found = fresh.check(f"models:/{source.model_name}/{source.version}", manifest, weights_digest, images, expected)
    except RegistryError as error:
        return Row(rule=LOADS, verdict="failed", detail=str(error)), None
    told = "in a fresh process; digests right" + ("" if expected is None else f", {len(images)} answers as evaluated")
    return Row(rule=LOADS, verdict="passed", detail=told), Cost(found.milliseconds, found.bytes)


def _pair(client: Any, source: Source, target: str, production: str | None, project: Project) -> Pair | None:
    if target != "production" or production in (None, source.version):
        return None
    project.workspace.need(project.workspace.dataset, "ingest")
    return models.pair(client, str(production), str(source.version), project)


def _check_owner(source: Source, new: Evaluated) -> None:
    """A version can be copied between registered models in the UI; a model of other data is no candidate here."""
    if new.record.model_name != source.model_name:
        raise RefusedError(
            f"{source.name} of {source.model_name} was trained on {new.record.dataset_name}: "
            f"it belongs to {new.record.model_name}"
        )


def _shown(client: Any, of: Evaluated) -> Shown:
    return Shown(
        name=of.source.name,
        labels=of.labels,
        right=of.correct,
        class_names=of.class_names,
        recalls=dict(zip(of.class_names, of.scores.per_class.recall.tolist(), strict=True)),
        calibration_error=of.scores.calibration.error,
        slices=_slices(client, of) if of.data_digest == of.record.dataset_digest else {},
    )


def _slices(client: Any, of: Evaluated) -> dict[str, float]:
    with tracking.artifact(client, of.source, _SLICES) as path:
        try:
            return evidence.read_slices(path) if path else {}
        except (ValueError, KeyError, TypeError) as error:
            raise RegistryError(
                f"{_SLICES} of {of.source.name} is not what evaluate writes ({error!r}): `dvc repro -s -f evaluate` where it "
                "was trained stores it again"
            ) from None
