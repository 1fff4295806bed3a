"""Every move between stages and every refusal, as a record: one run each in the experiment `<model>-promotions`.

The run's tags hold the record as canonical JSON, in parts, because MLflow cuts a longer tag; they come with the run, in one
write. Each record holds the digest of the one before it, and the registered model the digest of the last, so that an altered
and a missing record are found. Whether a move was carried out is no part of the record: it is the tag `state`.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from pipeline.errors import RegistryError

Kind = Literal["promote", "rollback", "archive", "refusal", "force"]
State = Literal["intent", "done", "undone"]
HEAD = "promotions"  # the tag of the registered model: number and digest of the last record
_PART = 4000  # characters; a run's tag holds 8,000, in older stores 5,000


@dataclass(frozen=True, kw_only=True)
class Row:
    """One rule of a gate, as it was judged."""

    rule: str
    verdict: Literal["passed", "failed", "no rule", "nothing to compare"]
    value: float | None = None
    comparison: Literal["≥", "≤", ""] = ""
    limit: float | None = None
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What happened, once and for all."""

    number: int = 0  # 1, 2, …
    previous: str = ""  # digest of the record before; empty for the first
    kind: Kind
    who: str
    when: str  # ISO 8601, UTC
    model: str
    version: str
    source: str  # the stage it came from
    target: str  # the stage it went to, or would have
    before: str | None  # the version that was in `target`
    reason: str
    rows: tuple[Row, ...]
    git_commit: str | None
    evidence: str  # the page on the version's run that shows how good it is

    def text(self) -> str:
        """Canonical JSON: equal records are equal texts."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False, separators=(",", ":"))

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON."""
        return hashlib.sha256(self.text().encode()).hexdigest()


@dataclass(frozen=True)
class Entry:
    """A record where it is kept."""

    record: Record
    state: State
    run_id: str


def experiment_name(model: str) -> str:
    """The experiment that holds the records of the registered model `model`."""
    return f"{model}-promotions"


def read(client: Any, model: str) -> Sequence[Entry]:
    """The records of `model`, oldest first; none where there was no promotion yet.

    Raises:
        RegistryError: a run of the experiment is no record.
    """
    experiment = client.get_experiment_by_name(experiment_name(model))
    if experiment is None:
        return []
    entries: list[Entry] = []
    token = None
    while token is None or token:
        page = client.search_runs([experiment.experiment_id], "tags.`record.1` != ''", max_results=1000, page_token=token)
        entries += [_entry(run) for run in page]
        token = page.token or ""
    return sorted(entries, key=lambda entry: entry.record.number)


def _entry(run: Any) -> Entry:
    tags, text, part = run.data.tags, "", 1
    while piece := tags.get(f"record.{part}"):
        text, part = text + piece, part + 1
    try:
        content = json.loads(text)
        rows = tuple(Row(**row) for row in content.pop("rows"))
        return Entry(Record(rows=rows, **content), tags["state"], run.info.run_id)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RegistryError(
            f"the run {run.info.run_id} is not a record of a promotion ({error!r}): somebody altered it; delete the run "
            "in the MLflow UI, and `history` tells which record is missing"
        ) from None


def append(client: Any, experiment: str, known: Sequence[Entry], record: Record, state: State) -> Entry:
    """Writes `record` after the `known` ones; call it under the lock.

    Args:
        client: As `tracking.connect` gives it.
        experiment: The id of the experiment `experiment_name(record.model)`.
        known: As `read` gave them under this lock.
        record: Number and previous digest are filled in here.
        state: "intent" for a move that is yet to be carried out.
    """
    last = known[-1].record if known else None
    linked = replace(record, number=last.number + 1 if last else 1, previous=last.digest if last else "")
    text = linked.text()
    parts = {f"record.{part + 1}": text[part * _PART : (part + 1) * _PART] for part in range(-(-len(text) // _PART))}
    shown = {"state": state, "kind": linked.kind, "version": linked.version, "from": linked.source, "to": linked.target}
    run = client.create_run(
        experiment,
        start_time=int(datetime.fromisoformat(linked.when).timestamp() * 1000),
        tags={**parts, **shown, "mlflow.user": linked.who, "mlflow.note.content": in_words(linked)},
        run_name=f"{linked.number} {linked.kind} {linked.version} → {linked.target}",
    )
    if state != "intent":
        client.set_terminated(run.info.run_id, "FINISHED")
    _set_head(client, linked)
    return Entry(linked, state, run.info.run_id)


def mark(client: Any, entry: Entry, state: State) -> Entry:
    """Says of a move that was intended how it ended."""
    client.set_tag(entry.run_id, "state", state)
    client.set_terminated(entry.run_id, "FINISHED" if state == "done" else "KILLED")
    _set_head(client, entry.record)
    return replace(entry, state=state)


def _set_head(client: Any, record: Record) -> None:
    client.set_registered_model_tag(record.model, HEAD, f"{record.number} {record.digest}")


def in_words(record: Record) -> str:
    """The record as Markdown, as the UI shows it on the run."""
    lines = [f"**{record.kind}**: version {record.version} of {record.model}, {record.source} → {record.target}"]
    lines += [f"Before it: {'version ' + record.before if record.before else 'none'}. By {record.who}, {record.when}."]
    lines += [f"Reason: {record.reason}"] if record.reason else []
    if record.rows:
        table = [f"| {row.rule} | {said(row)} | {row.verdict} | {row.detail} |" for row in record.rows]
        lines.append("\n".join(["| rule | value | verdict | |", "|---|---|---|---|", *table]))
    return "\n\n".join(lines)


def said(row: Row) -> str:
    """Value and limit of a row: "0.9312 ≥ 0.9"; what is missing is left out."""
    value = "" if row.value is None else f"{row.value:.4g}"
    return value if row.limit is None else f"{value or '–'} (must be {row.comparison} {row.limit:g})"


def breaks(entries: Sequence[Entry], head: str | None) -> list[str]:
    """What is wrong with the chain, a sentence each; nothing where every record is there as it was written.

    Args:
        entries: All records, oldest first.
        head: The tag `HEAD` of the registered model; None where it has none.
    """
    found, digest, number = [], "", 0
    for record in (entry.record for entry in entries):
        if record.number == number:
            found.append(f"there are two records {number}")
        elif record.number > number + 1:
            missing = ", ".join(map(str, range(number + 1, record.number)))
            found.append(f"record {missing} is missing")
        elif record.previous != digest:
            found.append(f"record {number} was altered: record {record.number} holds another digest of it")
        digest, number = record.digest, record.number
    return found + _head_breaks(entries, head)


def _head_breaks(entries: Sequence[Entry], head: str | None) -> list[str]:
    """The last record has none after it; the registered model holds its digest. One record beyond is a writer cut short."""
    number, _, digest = (head or "0 ").partition(" ")
    last = int(number) if number.isdecimal() else 0
    by_number = {entry.record.number: entry.record for entry in entries}
    if last and last not in by_number:
        return [f"record {last}, the last that was written, is missing"]
    if last and by_number[last].digest != digest:
        return [f"record {last} was altered: {HEAD} on the registered model holds another digest of it"]
    if by_number and max(by_number) > last + 1:
        return [f"the tag {HEAD} of the registered model says that {last} records were written, there are {max(by_number)}"]
    return []


def in_production(entries: Sequence[Entry], until: datetime | None = None) -> list[str | None]:
    """The versions that were in production one after the other, by the records up to `until`; the last is the present one.

    None stands for a time without one. A rollback takes away what it went back from, so that the next goes further back.
    """
    line: list[str | None] = [None]
    for entry in entries:
        record = entry.record
        if entry.state != "done" or record.kind == "refusal" or (until and datetime.fromisoformat(record.when) > until):
            continue
        if record.kind == "rollback":
            while line[-1] != record.version and len(line) > 1:
                line.pop()
            line += [record.version] if line[-1] != record.version else []
        elif record.target == "production":
            line.append(record.version)
        elif record.source == "production" and line[-1] == record.version:
            line.append(None)
    return line


def now() -> str:
    """The time as records hold it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
