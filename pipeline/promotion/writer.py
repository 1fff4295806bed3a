"""What promote, rollback and archive share: one writer at a time, what was cut short mended first, the record, the notice."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from pipeline import provenance, tracking
from pipeline.errors import RegistryError
from pipeline.project import Project
from pipeline.promotion import ledger, lock, transitions, wording
from pipeline.promotion.lock import Lock
from pipeline.promotion.record import Entry, Kind, Record, Row
from pipeline.promotion.transitions import Standing
from pipeline.tracking import Source

_NOTICE_SECONDS = 60
_TONES = {"failed": "bold red", "nothing to compare": "yellow", "no rule": "dim"}


@dataclass(frozen=True)
class Writer:
    """The right to change the stages of one registered model, and what is known of them."""

    client: Any
    project: Project
    model: str
    lock: Lock
    entries: Sequence[Entry]
    standing: Standing

    def move(self, record: Record) -> Entry:
        """Records the intent, moves the version, and records that it is done."""
        return transitions.move(self.client, self.lock, self._experiment(), self.entries, record)

    def refuse(self, record: Record) -> Entry:
        """Records that the gate said no."""
        return self.note(replace(record, kind="refusal"))

    def note(self, record: Record) -> Entry:
        """Records what moves nothing now."""
        self.lock.keep()
        return ledger.append(self.client, self._experiment(), self.entries, record, "done")

    def record(
        self, kind: Kind, source: Source, target: str, reason: str, rows: Sequence[Row] = (), evidence: str = ""
    ) -> Record:
        """The record of what is about to happen to `source`."""
        version = str(source.version)
        git = provenance.git_state(self.project.workspace.root)
        return Record(
            kind=kind,
            who=provenance.user(),
            when=ledger.now(),
            model=self.model,
            version=version,
            source=self.standing.stage_of(version),
            target=target,
            before=self.standing.aliases.get(target),
            reason=reason,
            rows=tuple(rows),
            git_commit=f"{git.commit} with changes" if git.dirty else git.commit,
            evidence=evidence or f"runs:/{source.run_id}/evaluation/report.html",
        )

    def _experiment(self) -> str:
        name = ledger.experiment_name(self.model)
        return tracking.experiment_id(self.client, self.project.workspace, name, tracking.PROMOTIONS)


@contextmanager
def open_writer(client: Any, model: str, project: Project) -> Iterator[Writer]:
    """Takes the model's lock, and finishes or undoes what a killed command left.

    Args:
        client: As `tracking.connect` gives it.
        model: The registered model.
        project: The checkout whose commit the records name.

    Raises:
        RegistryError: there is no such model yet, or a record of an earlier move was altered beyond reading.
        LockedError: another process changes the model's stages.
    """
    if not client.search_registered_models(f"name = '{model}'"):
        raise RegistryError(f"{model} has no versions yet: `python -m pipeline run` trains and registers one")
    with lock.held(client, model) as held:
        known = ledger.read(client, model)
        mended = transitions.recover(client, held, known)
        for entry in mended:
            how = {"done": "finished now", "undone": "undone"}[entry.state]
            print(f"the {entry.record.kind} {entry.record.number} of version {entry.record.version} was cut short: {how}")
        entries = ledger.read(client, model) if mended else known
        yield Writer(client, project, model, held, entries, transitions.standing(client, model))


def model_name(project: Project) -> str:
    """The registered model of the data set that params.yaml names."""
    return project.model


def notify(entry: Entry, project: Project) -> None:
    """Calls `promote.on_promotion` with the record as JSON on stdin; what goes wrong there is a warning."""
    command = project.params.promote.command
    if not command:
        return
    text = json.dumps({**asdict(entry.record), "digest": entry.record.digest, "run_id": entry.run_id}, ensure_ascii=False)
    try:
        done = subprocess.run(
            command,
            input=text,
            cwd=project.workspace.root,
            capture_output=True,
            text=True,
            timeout=_NOTICE_SECONDS,
            check=False,
        )
        lines = done.stderr.strip().splitlines()
        wrong = f"it exited {done.returncode}: {lines[-1] if lines else 'no reason given'}" if done.returncode else ""
    except subprocess.TimeoutExpired:
        wrong = f"it did not end within {_NOTICE_SECONDS} s"
    except OSError as error:
        wrong = error.strerror or str(error)
    if wrong:
        tracking.warn(f"promote.on_promotion = {' '.join(command)!r} failed ({wrong}); the stages stay as they are now")


def print_rows(rows: Sequence[Row]) -> None:
    """Prints the gate's table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for column in ("verdict", "rule", "value"):
        table.add_column(column, no_wrap=column == "verdict")
    for row in rows:
        said = " · ".join(part for part in (wording.said(row), row.detail) if part)
        table.add_row(
            row.verdict.upper() if row.verdict == "failed" else row.verdict, row.rule, said, style=_TONES.get(row.verdict, "")
        )
    Console(highlight=False, markup=False, emoji=False).print(table)


def failed_rows(rows: Sequence[Row]) -> list[Row]:
    """Those that stand in the way."""
    return [row for row in rows if row.verdict == "failed"]
