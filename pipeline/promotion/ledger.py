"""The history of a model: one run per record in the experiment `<model>-promotions`, and the check that none was changed.

The run's tags hold the record as canonical JSON, in parts because MLflow cuts long tags; they come with the run, in one write.
Each record holds the digest of the one before it, and the registered model the digest of the last (tag `HEAD`), so that altered
and missing records are found. Whether a move was made is not part of the record: it is the tag `state`.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from pydantic import TypeAdapter

from pipeline import tracking
from pipeline.errors import RegistryError
from pipeline.promotion.record import Entry, Record, Row, State
from pipeline.workspace import Workspace

HEAD = "promotions"  # the tag of the registered model: number and digest of the last record
_PART = 4000  # characters; a run's tag holds 8,000, in older stores 5,000
_FORM = TypeAdapter(Record)
_ENDS = {"FINISHED": "done", "KILLED": "undone"}  # status of a record's run, which the UI cannot change → its state


def experiment_name(model: str) -> str:
    """Return the name of the experiment that holds the records of the registered model `model`."""
    return f"{model}-promotions"


def now() -> str:
    """Return the time as records hold it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def read(client: Any, model: str) -> Sequence[Entry]:
    """Return the records of `model`, oldest first; none before the first promotion.

    Raises:
        RegistryError: a run of the experiment is not a valid record.
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
        _FORM.validate_json(text, strict=True)  # builds no record itself: it would make 1.0 of 1, and so another digest
        content = json.loads(text)
        record = Record(**{**content, "rows": tuple(Row(**row) for row in content["rows"])})
        if datetime.fromisoformat(record.when).tzinfo is None:
            raise ValueError(f"{record.when} has no time zone")
        return Entry(record, tags["state"], run.info.run_id, run.info.status, tags, text)
    except (ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())[:150]
        raise RegistryError(
            f"run {run.info.run_id} is not a valid promotion record ({reason}): somebody edited it; delete the run in the "
            "MLflow UI, then `history` names the missing record"
        ) from None


def append(client: Any, experiment: str, known: Sequence[Entry], record: Record, state: State) -> Entry:
    """Write `record` after the last that was written, even if that was deleted or altered since; needs the lock.

    Args:
        client: As `tracking.connect` gives it.
        experiment: The id of the experiment `experiment_name(record.model)`.
        known: As `read` returned them under this lock.
        record: Its number and previous digest are set here.
        state: "intent" for a move that is yet to be made.
    """
    number, digest = head(client, record.model)
    if known and known[-1].record.number > number:  # a writer was killed before it set the head
        number, digest = known[-1].record.number, known[-1].digest
    linked = replace(record, number=number + 1, previous=digest)
    text = linked.text()
    tags = {f"record.{part + 1}": text[part * _PART : (part + 1) * _PART] for part in range(-(-len(text) // _PART))}
    tags |= {name: value for name, value in labels(linked).items() if value}
    tags |= {"mlflow.user": linked.who, "mlflow.note.content": linked.markdown()[:_PART], "state": state}
    start = int(datetime.fromisoformat(linked.when).timestamp() * 1000)
    name = f"{linked.number} {linked.kind} {linked.version} → {linked.target}"
    run = client.create_run(experiment, start_time=start, tags=tags, run_name=name)
    if state != "intent":
        client.set_terminated(run.info.run_id, "FINISHED")
    entry = Entry(linked, state, run.info.run_id, text=text)
    _set_head(client, entry)
    return entry


def mark(client: Any, entry: Entry, state: State) -> Entry:
    """Record how an intended move ended."""
    client.set_tag(entry.run_id, "state", state)
    client.set_terminated(entry.run_id, "FINISHED" if state == "done" else "KILLED")
    if head(client, entry.record.model)[0] < entry.record.number:  # never back, where a later record was written
        _set_head(client, entry)
    return replace(entry, state=state)


def labels(record: Record) -> dict[str, str]:
    """Return what the UI shows of a record, as tags of its run; empty ones are left out there."""
    shown = {
        "number": str(record.number),
        "kind": record.kind,
        "version": record.version,
        "from": record.source,
        "to": record.target,
        "replaced": record.replaced or "none",
        "reason": record.reason,
        "failed": ", ".join(row.rule for row in record.rows if row.verdict == "failed"),
        "git_commit": record.git_commit or "unknown",
    }
    return {name: value[:_PART] for name, value in shown.items()}


def head(client: Any, model: str) -> tuple[int, str]:
    """Return number and digest of the last record, as the registered model holds them; (0, "") where it does not."""
    models = client.search_registered_models(f"name = '{model}'")
    number, _, digest = next((m.tags.get(HEAD, "") for m in models), "").partition(" ")
    return (int(number), digest) if number.isdecimal() else (0, "")


def _set_head(client: Any, entry: Entry) -> None:
    client.set_registered_model_tag(entry.record.model, HEAD, f"{entry.record.number} {entry.digest}")


def moves(entries: Sequence[Entry], until: datetime | None = None) -> list[Record]:
    """Return the records of moves that were made, up to the last one at `until` or before.

    Their numbers give the order: they come from several machines, whose clocks may differ.
    """
    within = [
        place for place, entry in enumerate(entries, 1) if not until or datetime.fromisoformat(entry.record.when) <= until
    ]
    reached = entries[: max(within, default=0)]
    return [entry.record for entry in reached if entry.state == "done" and entry.record.kind != "refusal"]


def in_production(entries: Sequence[Entry], until: datetime | None = None) -> list[str | None]:
    """Return the versions that were in production one after the other, according to the records up to `until`.

    None stands for a time without one. A rollback removes the version it left, so that the next one goes further back.
    """
    line: list[str | None] = [None]
    for record in moves(entries, until):
        if record.kind == "rollback":
            while line[-1] != record.version and len(line) > 1:
                line.pop()
            line += [record.version] if line[-1] != record.version else []
        elif record.target == "production":
            line.append(record.version)
        elif record.source == "production" and line[-1] == record.version:
            line.append(None)
    return line


def check(client: Any, workspace: Workspace, model: str) -> tuple[Sequence[Entry], list[str]]:
    """Return the records of `model`, oldest first, and what was changed in them, a sentence each; needs no lock.

    Raises:
        RegistryError: a run of the experiment is not a valid record.
        TrackingError: the experiment was deleted.
    """
    experiment = client.get_experiment_by_name(experiment_name(model))
    if experiment and experiment.lifecycle_stage == "deleted":
        tracking.experiment_id(client, workspace, experiment.name, tracking.PROMOTIONS)  # raises
    last, entries = head(client, model), read(client, model)
    while last != (later := head(client, model)):  # a record was written meanwhile
        last, entries = later, read(client, model)
    tests = (
        _duplicated(entries),
        _missing(entries, last[0]),
        _altered(entries, last),
        _added(entries, last),
        _labelled(entries),
    )
    found = [sentence for test in tests for sentence in test]
    return entries, found + list(_restorable(client, experiment, entries)) if found else []


def _duplicated(entries: Sequence[Entry]) -> Iterator[str]:
    for before, after in pairwise(entries):
        if before.record.number == after.record.number:
            yield f"two records have the number {after.record.number}: the runs {before.run_id} and {after.run_id}"


def _missing(entries: Sequence[Entry], last: int) -> Iterator[str]:
    numbers = {0, *(entry.record.number for entry in entries)}
    for before, after in pairwise(sorted(numbers | {max(last, *numbers) + 1})):
        if after == before + 2:
            yield f"record {before + 1} is missing"
        elif after > before + 2:
            yield f"records {before + 1} to {after - 1} are missing"


def _altered(entries: Sequence[Entry], last: tuple[int, str]) -> Iterator[str]:
    holders: dict[int, dict[str, str]] = {
        last[0]: {last[1]: f"the tag {HEAD} of the registered model"}
    }  # number → digest → where
    for entry in entries:
        holders.setdefault(entry.record.number - 1, {}).setdefault(entry.record.previous, f"record {entry.record.number}")
    numbered = [(entry.record.number, entry.digest) for entry in entries]
    differing = [number for number, digest in numbered if number in holders and digest not in holders[number]]
    for number in differing:
        holder = " and ".join(holders[number].values())
        if number + 1 in differing or number == last[0]:
            yield f"record {number} was altered, or {holder}, which holds a different digest of it"
        else:
            yield f"record {number} was altered: {holder} holds a different digest of it"


def _added(entries: Sequence[Entry], last: tuple[int, str]) -> Iterator[str]:
    """Find records after the head; a single one may be of a writer that was killed before it made any move."""
    later = [entry for entry in entries if entry.record.number > last[0]]
    if not later or (len(later) == 1 and _is_interrupted(later[0], last)):
        return
    if last[0]:
        added = ", ".join(str(entry.record.number) for entry in later)
        yield f"record {added} was added by hand, or the tag {HEAD} of the registered model was altered (it counts {last[0]})"
    else:
        yield f"the registered model has lost its tag {HEAD}, which holds number and digest of the last record"


def _is_interrupted(entry: Entry, last: tuple[int, str]) -> bool:
    follows = (entry.record.number, entry.record.previous) == (last[0] + 1, last[1])
    return follows and (entry.state == "intent" or entry.record.kind == "refusal")


def _labelled(entries: Sequence[Entry]) -> Iterator[str]:
    for entry in entries:
        altered = [name for name, value in labels(entry.record).items() if entry.tags.get(name, "") != value]
        if _ENDS.get(entry.status, entry.state) != entry.state:
            altered.append("state")
        if altered:
            yield f"record {entry.record.number} has an altered tag on its run: {', '.join(altered)}"


def _restorable(client: Any, experiment: Any, entries: Sequence[Entry]) -> Iterator[str]:
    from mlflow.entities import ViewType

    deleted = client.search_runs([experiment.experiment_id], run_view_type=ViewType.DELETED_ONLY) if experiment else ()
    numbers = {run.data.tags.get("number", "") for run in deleted} - {str(entry.record.number) for entry in entries}
    if numbers:
        listed = ", ".join(sorted(numbers, key=lambda number: (len(number), number)))
        yield f"restore record {listed} in the MLflow UI (experiment {experiment.name}, State: Deleted)"
