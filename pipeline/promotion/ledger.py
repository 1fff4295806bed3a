"""Every move between stages and every refusal, as a record: one run each in the experiment `<model>-promotions`.

The run's tags hold the record as canonical JSON, in parts, because MLflow cuts a longer tag; they come with the run, in one
write. Each record holds the digest of the one before it, and the registered model the digest of the last, so that an altered
and a missing record are found. Whether a move was carried out is no part of the record: it is the tag `state`.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter

from pipeline.errors import RegistryError
from pipeline.promotion import wording
from pipeline.promotion.record import Entry, Record, Row, State

HEAD = "promotions"  # the tag of the registered model: number and digest of the last record
_PART = 4000  # characters; a run's tag holds 8,000, in older stores 5,000


_FORM = TypeAdapter(Record)


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
        _FORM.validate_json(text, strict=True)  # builds no record itself: it would make 1.0 of 1, and so another digest
        content = json.loads(text)
        record = Record(**{**content, "rows": tuple(Row(**row) for row in content["rows"])})
        if datetime.fromisoformat(record.when).tzinfo is None:
            raise ValueError(f"{record.when} without its zone")
        return Entry(record, tags["state"], run.info.run_id, run.info.status, tags)
    except (ValueError, TypeError, KeyError) as error:
        raise RegistryError(
            f"the run {run.info.run_id} is not a record of a promotion ({error!r}): somebody altered it; delete the run "
            "in the MLflow UI, and `history` tells which record is missing"
        ) from None


def append(client: Any, experiment: str, known: Sequence[Entry], record: Record, state: State) -> Entry:
    """Writes `record` after the last that was written, be that deleted or altered since; call it under the lock.

    Args:
        client: As `tracking.connect` gives it.
        experiment: The id of the experiment `experiment_name(record.model)`.
        known: As `read` gave them under this lock.
        record: Number and previous digest are filled in here.
        state: "intent" for a move that is yet to be carried out.
    """
    number, digest = head(client, record.model)
    if known and known[-1].record.number > number:  # a writer was cut short before it set the head
        number, digest = known[-1].record.number, known[-1].record.digest
    linked = replace(record, number=number + 1, previous=digest)
    text = linked.text()
    parts = {f"record.{part + 1}": text[part * _PART : (part + 1) * _PART] for part in range(-(-len(text) // _PART))}
    shown = {name: value for name, value in labels(linked).items() if value}
    shown |= {"mlflow.user": linked.who, "mlflow.note.content": wording.in_words(linked)[:_PART]}
    run = client.create_run(
        experiment,
        start_time=int(datetime.fromisoformat(linked.when).timestamp() * 1000),
        tags={**parts, **shown, "state": state},
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
    if head(client, entry.record.model)[0] < entry.record.number:  # never back, where a later record was written
        _set_head(client, entry.record)
    return replace(entry, state=state)


def labels(record: Record) -> dict[str, str]:
    """What the UI shows of a record, as tags of its run; one that is empty is left out there."""
    shown = {
        "number": str(record.number),
        "kind": record.kind,
        "version": record.version,
        "from": record.source,
        "to": record.target,
        "before": record.before or "none",
        "reason": record.reason,
        "failed": ", ".join(row.rule for row in record.rows if row.verdict == "failed"),
        "git_commit": record.git_commit or "unknown",
    }
    return {name: value[:_PART] for name, value in shown.items()}


def head(client: Any, model: str) -> tuple[int, str]:
    """Number and digest of the last record that was written, as the registered model holds them; (0, "") where it does not."""
    models = client.search_registered_models(f"name = '{model}'")
    number, _, digest = next((m.tags.get(HEAD, "") for m in models), "").partition(" ")
    return (int(number), digest) if number.isdecimal() else (0, "")


def _set_head(client: Any, record: Record) -> None:
    client.set_registered_model_tag(record.model, HEAD, f"{record.number} {record.digest}")


def in_production(entries: Sequence[Entry], until: datetime | None = None) -> list[str | None]:
    """The versions that were in production one after the other, by the records up to `until`; the last is the present one.

    None stands for a time without one. A rollback takes away what it went back from, so that the next goes further back.
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


def moves(entries: Sequence[Entry], until: datetime | None = None) -> list[Record]:
    """The records of what was carried out, up to the last one from `until` or before.

    Their numbers tell what came first: they come from several machines, whose clocks may differ.
    """
    within = [
        place for place, entry in enumerate(entries, 1) if not until or datetime.fromisoformat(entry.record.when) <= until
    ]
    reached = entries[: max(within, default=0)]
    return [entry.record for entry in reached if entry.state == "done" and entry.record.kind != "refusal"]


def now() -> str:
    """The time as records hold it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
