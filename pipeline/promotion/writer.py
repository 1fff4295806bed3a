"""The right to change the registry stages of one model: the lock, recovery after a crash, the record, the notification."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from pipeline import provenance, tracking
from pipeline.errors import RegistryError
from pipeline.project import Project
from pipeline.promotion import ledger, transitions
from pipeline.promotion.record import Entry, Kind, Record, Row
from pipeline.promotion.transitions import CurrentStages
from pipeline.tracking import Source, lock
from pipeline.tracking.lock import Lock

_TIMEOUT = 60  # seconds, of promote.on_promotion


@dataclass(frozen=True)
class Writer:
    """The lock of a model, and its records and stages as they are under it."""

    client: Any
    project: Project
    lock: Lock
    entries: Sequence[Entry]
    stages: CurrentStages

    def move(self, record: Record) -> Entry:
        """Record the intent, move the version, and record that it is done."""
        return transitions.move(self.client, self.lock, self._experiment(), self.entries, record)

    def note(self, record: Record) -> Entry:
        """Record what moves no version now, such as a refusal."""
        self.lock.keep()
        return ledger.append(self.client, self._experiment(), self.entries, record, "done")

    def record(
        self, kind: Kind, source: Source, target: str, reason: str, rows: Sequence[Row] = (), evidence: str = ""
    ) -> Record:
        """Return the record of what is about to happen to `source`."""
        version = str(source.version)
        git = provenance.git_state(self.project.workspace.root)
        return Record(
            kind=kind,
            who=provenance.user(),
            when=ledger.now(),
            model=self.project.model,
            version=version,
            source=self.stages.stage_of(version),
            target=target,
            replaced=self.stages.aliases.get(target),
            reason=reason,
            rows=tuple(rows),
            git_commit=f"{git.commit} with changes" if git.dirty else git.commit,
            evidence=evidence or f"runs:/{source.run_id}/evaluation/report.html",
            weights_digest=self.stages.weights.get(version, ""),
            run_id=source.run_id,
        )

    def _experiment(self) -> str:
        name = ledger.experiment_name(self.project.model)
        return tracking.experiment_id(self.client, self.project.workspace, name, tracking.PROMOTIONS)


@contextmanager
def open_writer(client: Any, project: Project) -> Iterator[Writer]:
    """Take the lock of the project's model, and complete or revert what a killed command left.

    Raises:
        RegistryError: the model does not exist yet, or a record of an earlier move cannot be read.
        LockedError: another process changes the model's stages.
    """
    model = project.model
    if not client.search_registered_models(f"name = '{model}'"):
        raise RegistryError(f"{model} has no versions yet: `python -m pipeline run` trains and registers one")
    with lock.held(client, model) as held:
        known = ledger.read(client, model)
        recovered = transitions.recover(client, held, known)
        for entry in recovered:
            how = {"done": "completed", "undone": "reverted"}[entry.state]
            print(f"{how} the interrupted {entry.record.kind} of version {entry.record.version} (record {entry.record.number})")
        entries = ledger.read(client, model) if recovered else known
        yield Writer(client, project, held, entries, transitions.current_stages(client, model))


def notify(entry: Entry, project: Project) -> None:
    """Run `promote.on_promotion` with the record as JSON on stdin; warn if it fails."""
    command = project.params.promote.command
    if not command:
        return
    content = {**asdict(entry.record), "digest": entry.digest, "record_run_id": entry.run_id}
    text = json.dumps(content, ensure_ascii=False)
    try:
        done = subprocess.run(
            command, input=text, cwd=project.workspace.root, capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
        lines = done.stderr.strip().splitlines()
        problem = f"exit code {done.returncode}: {lines[-1] if lines else 'no reason given'}" if done.returncode else ""
    except subprocess.TimeoutExpired:
        problem = f"timed out after {_TIMEOUT} s"
    except OSError as error:
        problem = error.strerror or str(error)
    if problem:
        tracking.warn(
            f"promote.on_promotion = {' '.join(command)!r} failed ({problem}); the registry stages are changed anyway"
        )
