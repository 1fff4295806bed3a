"""rollback: the version that was in production before, by the history, goes back there."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import dataset, tracking
from pipeline.commands import examination, moving, predictions
from pipeline.commands.moving import Writer
from pipeline.errors import RefusedError
from pipeline.provenance import TrainingRecord
from pipeline.register import history
from pipeline.register.history import Entry
from pipeline.register.smoke import PICTURES, SmokeTest
from pipeline.tracking import Source
from pipeline.workspace import Workspace


def run(reason: str, workspace: Workspace) -> None:
    """Rolls back; the version was judged when it was promoted, so only its files are checked, and that it loads and answers.

    Args:
        reason: Goes into the record.
        workspace: Names the model.

    Raises:
        RefusedError: there is no version to go back to, or it does not load and answer.
        PipelineError: another process changes the stages, or the store is lost.
    """
    with SmokeTest() as fresh, tracking.answering(workspace):
        client, model = tracking.connect(workspace), moving.model_name(workspace)
        with moving.writer(client, model, workspace) as writer:
            entry = _roll_back(writer, fresh, reason)
    moving.notify(entry, workspace)


def _roll_back(writer: Writer, fresh: SmokeTest, reason: str) -> Entry:
    current = writer.standing.aliases.get("production")
    source = tracking.find_version(writer.client, writer.model, _before(writer, current))
    training = tracking.training_record(writer.client, source)
    images, expected = _question(writer.client, source, training, writer.workspace)
    row, _ = examination.loads(writer.client, fresh, source, training.weights_digest, images, expected)
    moving.show([row])
    record = writer.record("rollback", source, "production", reason, [row])
    if row.verdict == "failed":
        writer.refuse(record)
        raise RefusedError(f"no rollback to version {source.version}: {row.detail}; `promote` another version")
    entry = writer.move(record)
    replaced = f"version {current} is archived; " if current else ""
    print(f"version {source.version} of {writer.model} is in production again: {replaced}record {entry.record.number}")
    return entry


def _before(writer: Writer, current: str | None) -> str:
    line = history.in_production(writer.entries)
    earlier = [version for version in line if version and version != current]
    if not earlier:
        raise RefusedError(
            f"no version of {writer.model} was in production before {f'version {current}' if current else 'now'}: "
            "`python -m pipeline history` shows what was"
        )
    return earlier[-1]


def _question(
    client: Any, source: Source, training: TrainingRecord, workspace: Workspace
) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
    """Pictures and the answers to expect; where the data is not here, a blank one, to which any probabilities will do.

    A rollback must work on a machine that has nothing but the registry.
    """
    if not workspace.dataset.exists() or dataset.read(workspace.dataset).description.digest != training.dataset_digest:
        return np.zeros((1, *training.image_shape), np.uint8), None
    stored = predictions.of(client, source, workspace)
    return np.asarray(dataset.read(workspace.dataset).test.images[:PICTURES]), stored.probabilities[:PICTURES]
