"""The right to change the registry stages of one model: the lock, recovery after a crash, the record, the notification."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from pipeline import provenance, signing, tracking
from pipeline.errors import RefusedError, RegistryError
from pipeline.page import printable
from pipeline.project import Project
from pipeline.promotion import backup, chain, ledger, transitions
from pipeline.promotion.chain import History
from pipeline.promotion.record import Entry, Kind, Record, Row, Version
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
    history: History
    stages: CurrentStages

    @property
    def entries(self) -> Sequence[Entry]:
        """The records."""
        return self.history.entries

    def move(self, record: Record) -> Entry:
        """Record the intent, move the version, and record that it is done."""
        return self._seen(transitions.move(self.client, self.lock, self._experiment(), self.entries, record))

    def note(self, record: Record) -> Entry:
        """Record what moves no version now, such as a refusal."""
        self.lock.keep()
        return self._seen(ledger.append(self.client, self._experiment(), self.entries, record, "done"))

    def check_history(self) -> None:
        """Warn of what was changed in the history, or refuse where signatures are required: moves go by it.

        Raises:
            RefusedError: as above.
        """
        check_history(self.history, self.project)

    def _seen(self, entry: Entry) -> Entry:
        chain.remember(self.project.workspace, self.history, entry)
        backup.save(self.client, self.project.workspace, self.project.model)
        return entry

    def record(
        self, kind: Kind, source: Source, target: str, reason: str, rows: Sequence[Row] = (), evidence: str = ""
    ) -> Record:
        """Return the record of what is about to happen to `source`."""
        version = str(source.version)
        named = self.stages.versions.get(version, Version(version))
        git = provenance.git_state(self.project.workspace.root)
        return Record(
            kind=kind,
            who=printable(provenance.user()),
            when=ledger.now(),
            model=self.project.model,
            version=version,
            source=self.stages.stage_of(version),
            target=target,
            replaced=self.stages.aliases.get(target),
            reason=printable(reason),
            rows=tuple(rows),
            git_commit=f"{git.commit} with changes" if git.dirty else git.commit,
            evidence=evidence or f"runs:/{source.run_id}/evaluation/report.html",
            weights_digest=named.weights_digest,
            run_id=named.run_id or source.run_id,
        )

    def _experiment(self) -> str:
        name = ledger.experiment_name(self.project.model)
        return tracking.experiment_id(self.client, self.project.workspace, name, tracking.PROMOTIONS)


def check_history(history: History, project: Project) -> None:
    """Do as `Writer.check_history` without the lock."""
    if history.gaps and project.params.promote.require_signature:
        raise RefusedError(
            f"the history was changed, and promote.require_signature is true: {history.gaps[0].text}; "
            "`python -m pipeline history` says more"
        )
    for problem in history.gaps:
        tracking.warn(f"the history was changed: {problem.text}; `python -m pipeline history` says more")


def checked(client: Any, project: Project) -> History:
    """Return the history of the project's model, checked as its params say."""
    return chain.check(client, project.workspace, project.model, project.params.promote.require_signature)


@contextmanager
def open_writer(client: Any, project: Project) -> Iterator[Writer]:
    """Take the lock of the project's model, and complete or revert what a killed command left.

    Raises:
        RegistryError: the model does not exist yet, or a record of an earlier move cannot be read.
        LockedError: another process changes the model's stages.
        SigningError: records could not be signed, or would not count.
    """
    model = project.model
    signing.check_ready(project.workspace.allowed_signers, project.params.promote.require_signature)
    if not client.search_registered_models(f"name = '{model}'"):
        raise RegistryError(f"{model} has no versions yet: `python -m pipeline run` trains and registers one")
    with lock.held(client, model) as held:
        known = ledger.read(client, model).entries
        recovered = transitions.recover(client, held, known)
        for entry in recovered:
            how = {"done": "completed", "undone": "reverted"}[entry.state]
            print(f"{how} the interrupted {entry.record.kind} of version {entry.record.version} (record {entry.record.number})")
        yield Writer(client, project, held, checked(client, project), transitions.current_stages(client, model))


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
