"""The history of a model in the store: one run per record in the experiment `<model>-promotions`.

The run's tags hold the record as canonical JSON, in parts because MLflow cuts long tags; they come with the run, in one write.
Each record holds digest and outcome of the one before it, and the registered model those of the last (tag `HEAD`): `chain`
checks them. Other tags, note and name of the run repeat what the record says, for people.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from pydantic import TypeAdapter

from pipeline import environment, signing
from pipeline.promotion.record import Entry, Record, Row, State

HEAD = "promotions"  # the tag of the registered model: number, digest and outcome of the last record
SIGNATURE, OUTCOME_SIGNATURE = "signature", "signature.outcome"  # tags of a record's run
_FIRST_YEAR = 2000  # of a record
_PART = 4000  # characters; a run's tag holds 8,000, in older stores 5,000
_FORM = TypeAdapter(Record)
ENDS: Mapping[str, State] = {"FINISHED": "done", "KILLED": "undone"}  # status of a record's run → its state
_NOTE, _USER, _NAME = "mlflow.note.content", "mlflow.user", "mlflow.runName"


@dataclass(frozen=True)
class Seal:
    """Digest and outcome of a record, as the next one or the registered model holds them."""

    number: int
    digest: str
    state: str  # "" in older ones

    @classmethod
    def parse(cls, number: int, text: str) -> "Seal":
        """Return the seal of record `number` that `text` holds."""
        digest, _, state = text.partition(" ")
        return cls(number, digest, state)


@dataclass(frozen=True)
class Unreadable:
    """A run of the experiment that is no valid record."""

    run_id: str
    number: int | None  # as its tag says
    reason: str
    digest: str  # of what it holds


@dataclass(frozen=True)
class Stored:
    """What the store holds of a history."""

    entries: Sequence[Entry] = ()  # oldest first, each once
    twins: Sequence[Entry] = ()  # equal to one of them: MLflow repeats a request whose answer was lost
    unreadable: Sequence[Unreadable] = ()


def experiment_name(model: str) -> str:
    """Return the name of the experiment that holds the records of the registered model `model`."""
    return f"{model}-promotions"


def now() -> str:
    """Return the time as records hold it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def read(client: Any, model: str) -> Stored:
    """Return the records of `model`; none before the first promotion."""
    experiment = client.get_experiment_by_name(experiment_name(model))
    if experiment is None:
        return Stored()
    return assemble(_runs(client, experiment.experiment_id), head(client, model))


def assemble(runs: Iterable[Any], last: Seal) -> Stored:
    """Return what the runs of the experiment and the seal of the last record amount to."""
    parsed = [_parse(run) for run in runs]
    found = sorted((each for each in parsed if isinstance(each, Entry)), key=lambda each: (each.record.number, each.digest))
    sealed = {(seal.number, seal.digest): seal.state for seal in [last, *map(seal_before, found)]}
    entries, twins = [], []
    for _, equal in groupby(found, lambda each: each.digest):
        kept, *rest = sorted(equal, key=lambda each: (ENDS.get(each.status) != each.state, each.run_id))
        entries.append(_with_outcome(kept, sealed.get((kept.record.number, kept.digest), "")))
        twins += rest
    return Stored(entries, twins, [each for each in parsed if isinstance(each, Unreadable)])


def seal_before(entry: Entry) -> Seal:
    """Return what the record holds of the one before it."""
    return Seal.parse(entry.record.number - 1, entry.record.previous)


def _with_outcome(entry: Entry, sealed: str) -> Entry:
    """Return the entry with the outcome that is part of the chain, or else with what its run's status says."""
    states: Mapping[str, State] = {"done": "done", "undone": "undone"}
    return replace(entry, state=states.get(sealed) or ENDS.get(entry.status) or entry.state, sealed=sealed)


def _runs(client: Any, experiment: str) -> Iterator[Any]:
    token = None
    while token is None or token:
        page = client.search_runs([experiment], "tags.`record.1` != ''", max_results=1000, page_token=token)
        yield from page
        token = page.token or ""


def _parse(run: Any) -> Entry | Unreadable:
    tags, text, part = run.data.tags, "", 1
    while piece := tags.get(f"record.{part}"):
        text, part = text + piece, part + 1
    try:
        record, info = parse(text), run.info
        return Entry(record, tags["state"], info.run_id, info.status, info.run_name or "", tags, text)
    except (ValueError, KeyError) as error:
        digest = hashlib.sha256(text.encode()).hexdigest()
        return Unreadable(run.info.run_id, _number(tags.get("number", "")), environment.message(error, 150), digest)


def parse(text: str) -> Record:
    """Return the record that `text` holds; ValueError where it holds none."""
    try:
        _FORM.validate_json(text, strict=True)  # builds no record itself: it would make 1.0 of 1, and so another digest
        content = json.loads(text)
        record = Record(**{**content, "rows": tuple(Row(**row) for row in content["rows"])})
        time = datetime.fromisoformat(record.when)
        if time.tzinfo is None or time.astimezone(UTC).year < _FIRST_YEAR or record.number < 1:
            raise ValueError(
                f"its time {record.when} has no time zone or cannot be, or its number {record.number} is not positive"
            )
    except (TypeError, KeyError, OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from None
    return record


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[1-9][0-9]{0,14}", text) else None


def append(client: Any, experiment: str, known: Sequence[Entry], record: Record, state: State) -> Entry:
    """Write `record` after the last that was written, even if that was deleted or altered since; needs the lock.

    Args:
        client: As `tracking.connect` gives it.
        experiment: The id of the experiment `experiment_name(record.model)`.
        known: As `read` returned them under this lock.
        record: Its number and previous digest are set here.
        state: "intent" for a move that is yet to be made.

    Raises:
        SigningError: there is a key, which cannot sign.
    """
    last = head(client, record.model)
    number, previous = last.number, f"{last.digest} {last.state}".strip()
    if known and known[-1].record.number >= number:  # its outcome is newer where a writer was killed before it set the head
        whole = known[-1].record.number > number or known[-1].digest == last.digest
        number, previous = (known[-1].record.number, known[-1].seal) if whole else (number, previous)
    linked = replace(record, number=number + 1, previous=previous)
    text = linked.text()
    entry = Entry(linked, state, "", text=text)
    signatures = _signed(SIGNATURE, text, signing.RECORD) | _outcome(entry)
    entry = create(client, experiment, entry, signatures)
    if state != "intent":
        client.set_terminated(entry.run_id, "FINISHED")
    _set_head(client, entry)
    return entry


def create(client: Any, experiment: str, entry: Entry, signatures: Mapping[str, str]) -> Entry:
    """Create the run of a record, which stays in state RUNNING; `signatures` are tags."""
    text = entry.text
    tags = {f"record.{part + 1}": text[part * _PART : (part + 1) * _PART] for part in range(-(-len(text) // _PART))}
    tags |= {name: value for name, value in mirrors(entry).items() if value and name != _NAME} | {**signatures}
    start = int(datetime.fromisoformat(entry.record.when).timestamp() * 1000)
    run = client.create_run(experiment, start_time=start, tags=tags, run_name=mirrors(entry)[_NAME])
    return replace(entry, run_id=run.info.run_id)


def mark(client: Any, entry: Entry, state: State) -> Entry:
    """Record how an intended move ended."""
    from mlflow.entities import RunTag

    ended = replace(entry, state=state)
    tags = {"state": state, **_outcome(ended)}
    client.log_batch(entry.run_id, tags=[RunTag(name, value) for name, value in tags.items()])  # in one write
    client.set_terminated(entry.run_id, "FINISHED" if state == "done" else "KILLED")
    if head(client, entry.record.model).number <= entry.record.number:  # never back, where a later record was written
        _set_head(client, ended)
    return ended


def _outcome(entry: Entry) -> dict[str, str]:
    return {} if entry.state == "intent" else _signed(OUTCOME_SIGNATURE, entry.seal, signing.OUTCOME)


def _signed(tag: str, text: str, namespace: str) -> dict[str, str]:
    signature = signing.sign(text, namespace)
    return {tag: signature} if signature else {}


def mirrors(entry: Entry) -> dict[str, str]:
    """Return what the UI shows of a record, as tags of its run; empty ones are left out there."""
    record = entry.record
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
        "state": entry.state,
        _USER: record.who,
        _NOTE: record.markdown(),
        _NAME: " ".join(
            filter(None, [str(record.number), record.kind, record.version and f"{record.version} → {record.target}"])
        ),
    }
    return {name: value[:_PART] for name, value in shown.items()}


def altered_mirrors(entry: Entry) -> dict[str, str]:
    """Return the tags, note, user and name of the record's run that do not say what the record says, as they should be."""
    found = {**entry.tags, _NAME: entry.name}
    wanted = mirrors(entry)
    if not entry.record.run_id:  # an older record, whose note was worded by an older version of this code
        wanted.pop(_NOTE)
    if ENDS.get(entry.status, entry.state) != entry.state:  # chain and run contradict each other: not for us to decide
        wanted.pop("state")
    return {name: value for name, value in wanted.items() if found.get(name, "") != value}


def repair(client: Any, entry: Entry) -> None:
    """Set tags, note, user and name of the record's run to what the record says."""
    for name, value in altered_mirrors(entry).items():
        if name == _NAME:
            client.update_run(entry.run_id, name=value)
        else:
            client.set_tag(entry.run_id, name, value)


def head(client: Any, model: str) -> Seal:
    """Return the seal of the last record, as the registered model holds it; of number 0 where it does not."""
    models = client.search_registered_models(f"name = '{model}'")
    number, _, seal = next((m.tags.get(HEAD, "") for m in models), "").partition(" ")
    return Seal.parse(_number(number) or 0, seal if _number(number) else "")


def _set_head(client: Any, entry: Entry) -> None:
    client.set_registered_model_tag(entry.record.model, HEAD, f"{entry.record.number} {entry.seal}")
