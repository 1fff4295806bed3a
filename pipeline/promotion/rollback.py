"""rollback: the version that was in production before, by the history, goes back there."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import dataset, tracking
from pipeline.compare import models
from pipeline.errors import RefusedError
from pipeline.project import Project
from pipeline.promotion import examine, ledger
from pipeline.promotion.record import Entry
from pipeline.promotion.writer import Writer, notify, open_writer, print_rows
from pipeline.provenance import TrainingRecord
from pipeline.register.smoke import PICTURES, SmokeTest
from pipeline.tracking import Source


def run(reason: str, project: Project) -> None:
    """Rolls back; the version was judged when it was promoted, so only its files are checked, and that it loads and answers.

    Args:
        reason: Goes into the record.
        project: Names the model.

    Raises:
        RefusedError: there is no version to go back to, or it does not load and answer.
        PipelineError: another process changes the stages, or the store is lost.
    """
    with SmokeTest() as fresh, tracking.store_guard(project.workspace):
        client, model = tracking.connect(project.workspace), project.model
        with open_writer(client, model, project) as writer:
            entry = _roll_back(writer, fresh, reason)
    notify(entry, project)


def _roll_back(writer: Writer, fresh: SmokeTest, reason: str) -> Entry:
    current = writer.standing.aliases.get("production")
    source = tracking.find_version(writer.client, writer.model, _before(writer, current))
    training = tracking.training_record(writer.client, source)
    images, expected = _question(writer.client, source, training, writer.project)
    row, _ = examine.loads(writer.client, fresh, source, training.weights_digest, images, expected)
    print_rows([row])
    record = writer.record("rollback", source, "production", reason, [row])
    if row.verdict == "failed":
        writer.refuse(record)
        raise RefusedError(f"no rollback to version {source.version}: {row.detail}; `promote` another version")
    entry = writer.move(record)
    replaced = f"version {current} is archived; " if current else ""
    print(f"version {source.version} of {writer.model} is in production again: {replaced}record {entry.record.number}")
    return entry


def _before(writer: Writer, current: str | None) -> str:
    line = ledger.in_production(writer.entries)
    earlier = [version for version in line if version and version != current]
    if not earlier:
        raise RefusedError(
            f"no version of {writer.model} was in production before {f'version {current}' if current else 'now'}: "
            "`python -m pipeline history` shows what was"
        )
    return earlier[-1]


def _question(
    client: Any, source: Source, training: TrainingRecord, project: Project
) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
    """Pictures and the answers to expect; where the data is not here, a blank one, to which any probabilities will do.

    A rollback must work on a machine that has nothing but the registry.
    """
    folder = project.workspace.dataset
    if not folder.exists() or dataset.read(folder).description.digest != training.dataset_digest:
        return np.zeros((1, *training.image_shape), np.uint8), None
    stored = models.of(client, source, project)
    return np.asarray(dataset.read(folder).test.images[:PICTURES]), stored.probabilities[:PICTURES]
