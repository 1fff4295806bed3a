"""The check of a history: what was changed in it, what of that somebody acknowledged, and who signed its records.

Unsigned, the chain finds accidents and edits in the UI; whoever can write to the store can compute it again. A signature cannot
be made without the key. That the newest records are there at all, only a place outside the store can tell: each checkout keeps
the last record it has seen (`.cache/promotions.json`).
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from pipeline import tracking
from pipeline.page import printable
from pipeline.promotion import ledger
from pipeline.promotion.ledger import HEAD, Seal, Stored, Unreadable
from pipeline.promotion.record import Entry, Problem, Row
from pipeline.promotion.signatures import Signatures
from pipeline.tracking import place
from pipeline.workspace import Workspace, write_text

GAP = "gap"  # how the rule of an accepted row begins


@dataclass(frozen=True)
class History:
    """The records of a model, and what the check of them found."""

    entries: Sequence[Entry]  # oldest first
    problems: Sequence[Problem] = ()
    acknowledged: Sequence[str] = ()  # what was changed once, with the record that says so
    notes: Sequence[str] = ()  # what is no problem
    restorable: str = ""  # how to get deleted records back
    signers: Mapping[int, str] = field(default_factory=dict)  # number → who signed the record

    @property
    def gaps(self) -> Sequence[Problem]:
        """The problems that nothing can be written again for."""
        return [problem for problem in self.problems if not problem.repairs]


def check(client: Any, workspace: Workspace, model: str, require_signature: bool = False) -> History:
    """Return the records of `model` and what was changed in them; needs no lock.

    Raises:
        SigningError: there are signatures, and no ssh-keygen to check them with.
        TrackingError: the experiment was deleted.
    """
    experiment = client.get_experiment_by_name(ledger.experiment_name(model))
    if experiment and experiment.lifecycle_stage == "deleted":
        tracking.experiment_id(client, workspace, experiment.name, tracking.PROMOTIONS)  # raises
    last, stored = ledger.head(client, model), ledger.read(client, model)
    while last != (later := ledger.head(client, model)):  # a record was written meanwhile
        last, stored = later, ledger.read(client, model)
    exists = stored.entries or client.search_registered_models(f"name = '{model}'")
    seen = Seen.of(workspace, model) if exists else None
    history = examine(stored, last, Signatures.of(stored.entries, workspace, require_signature), seen)
    if stored.entries:
        remember(workspace, history, stored.entries[-1])
    return replace(history, restorable=_restorable(client, experiment, stored)) if history.problems else history


def examine(stored: Stored, last: Seal, checked: Signatures, seen: "Seen | None" = None) -> History:
    """Return the records in `stored` and what was changed in them.

    Args:
        stored: As `ledger.read` returns it.
        last: The seal of the last record, as the registered model holds it.
        checked: Their signatures.
        seen: What this checkout has seen of them.
    """
    entries = stored.entries
    altered = [*_duplicated(entries), *_altered(entries, last)]
    tests = (
        _unreadable(stored.unreadable),
        _missing(stored, last.number),
        altered,
        _added(entries, last),
        seen.problems(entries) if seen else (),
        checked.problems(),
        _outcomes(entries),
        _mirrors(entry for entry in entries if not any(entry.digest in problem.key for problem in altered)),
    )
    accepted = _accepted(entries, checked)
    return History(
        entries,
        [problem for test in tests for problem in test if problem.key not in accepted],
        list(accepted.values()),
        [f"record {twin.record.number} is stored twice: its equal, run {twin.run_id}, is ignored" for twin in stored.twins],
        signers=checked.signers,
    )


def remember(workspace: Workspace, history: History, last: Entry) -> None:
    """Keep the last record as seen by this checkout, unless the history has gaps that nobody acknowledged."""
    if not history.gaps:
        Seen.of(workspace, last.record.model).remember(last)


def acknowledgement(problems: Sequence[Problem]) -> tuple[Row, ...]:
    """Return the rows of a record that acknowledges `problems`."""
    return tuple(Row(rule=f"{GAP} {each.key}", verdict="accepted", detail=each.text) for each in problems)


def _accepted(entries: Sequence[Entry], checked: Signatures) -> Mapping[str, str]:
    """Return the keys of the acknowledged problems, each with the problem and the record that acknowledges it, as text."""
    return {
        row.rule.removeprefix(f"{GAP} "): printable(
            f"{row.detail} (accepted by record {each.record.number}: {each.record.reason})"
        )
        for each in entries
        if each.record.kind == "accept" and (each.record.number in checked.signers or not checked.required)
        for row in each.record.rows
    }


def _unreadable(unreadable: Sequence[Unreadable]) -> Iterator[Problem]:
    for each in unreadable:
        number = f"record {each.number}" if each.number else "a record"
        yield Problem(
            f"{number} cannot be read: run {each.run_id} is not a valid promotion record ({each.reason}), somebody edited it",
            f"unreadable {each.run_id} {each.digest}",
        )


def _duplicated(entries: Sequence[Entry]) -> Iterator[Problem]:
    for before, after in pairwise(entries):
        if before.record.number == after.record.number:
            runs = f"the runs {before.run_id} and {after.run_id}"
            text = f"two records have the number {after.record.number}: {runs}"
            yield Problem(text, f"duplicate {after.record.number} {before.digest} {after.digest}")


def _missing(stored: Stored, last: int) -> Iterator[Problem]:
    there = {0, *(entry.record.number for entry in stored.entries)}
    end = max(last, *there) + 1
    there |= {each.number for each in stored.unreadable if each.number and each.number < end}
    for before, after in pairwise(sorted(there | {end})):
        key = f"missing {before + 1}-{after - 1}"
        if after == before + 2:
            yield Problem(f"record {before + 1} is missing", key)
        elif after > before + 2:
            yield Problem(f"records {before + 1} to {after - 1} are missing", key)


def _altered(entries: Sequence[Entry], last: Seal) -> Iterator[Problem]:
    holders: dict[int, dict[str, str]] = {
        last.number: {last.digest: f"the tag {HEAD} of the registered model"}
    }  # number → digest → where
    for entry in entries:
        seal = ledger.seal_before(entry)
        holders.setdefault(seal.number, {}).setdefault(seal.digest, f"record {entry.record.number}")
    numbered = [(entry.record.number, entry.digest) for entry in entries]
    differing = {number: digest for number, digest in numbered if number in holders and digest not in holders[number]}
    for number, digest in differing.items():
        holder, key = " and ".join(holders[number].values()), f"altered {number} {digest}"
        if number + 1 in differing or number == last.number:
            yield Problem(f"record {number} was altered, or {holder}, which holds a different digest of it", key)
        else:
            yield Problem(f"record {number} was altered: {holder} holds a different digest of it", key)


def _added(entries: Sequence[Entry], last: Seal) -> Iterator[Problem]:
    """Find records after the head; a single one may be of a writer that was killed before it made any move."""
    later = [entry for entry in entries if entry.record.number > last.number]
    if not later or (len(later) == 1 and _is_interrupted(later[0], last)):
        return
    key = f"added {' '.join(entry.digest for entry in later)}"
    if last.number:
        added = ", ".join(str(entry.record.number) for entry in later)
        text = f"record {added} was added by hand, or the tag {HEAD} of the registered model was altered"
        yield Problem(f"{text} (it counts {last.number})", key)
    else:
        text = f"the registered model has lost its tag {HEAD}, which holds number and digest of the last record"
        yield Problem(text, key)


def _is_interrupted(entry: Entry, last: Seal) -> bool:
    before = ledger.seal_before(entry)
    follows = (before.number, before.digest) == (last.number, last.digest)
    return follows and (entry.state == "intent" or entry.record.kind in ("refusal", "accept"))


def _outcomes(entries: Sequence[Entry]) -> Iterator[Problem]:
    for entry in entries:
        number, ended = entry.record.number, ledger.ENDS.get(entry.status)
        if ended and entry.sealed in ("done", "undone") and ended != entry.sealed:
            text = f"record {number} is {ended} according to its run, {entry.sealed} according to the chain: one was altered"
            yield Problem(text, f"outcome {number} {entry.seal} {ended}")


def _mirrors(entries: Iterable[Entry]) -> Iterator[Problem]:
    for entry in entries:
        if altered := [name.removeprefix("mlflow.") for name in ledger.altered_mirrors(entry)]:
            text = f"record {entry.record.number} has an altered tag on its run: {', '.join(altered)}"
            yield Problem(text, f"mirror {entry.record.number}", repairs=entry.record.number)


def _restorable(client: Any, experiment: Any, stored: Stored) -> str:
    from mlflow.entities import ViewType

    deleted = client.search_runs([experiment.experiment_id], run_view_type=ViewType.DELETED_ONLY) if experiment else ()
    numbers = {run.data.tags.get("number", "") for run in deleted} - {str(each.record.number) for each in stored.entries}
    listed = ", ".join(sorted(map(printable, numbers - {""}), key=lambda number: (len(number), number)))
    return f"restore record {listed} in the MLflow UI (experiment {experiment.name}, State: Deleted)" if listed else ""


@dataclass(frozen=True)
class Seen:
    """The last record that this checkout has seen in a history without problems."""

    workspace: Workspace
    name: str  # of store and model
    content: Mapping[str, Any]  # of all histories

    @classmethod
    def of(cls, workspace: Workspace, model: str) -> "Seen":
        """Read it; a file that is missing or damaged is none."""
        try:
            content = json.loads(workspace.promotions_seen.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            content = {}
        uri = tracking.tracking_uri(workspace).replace(place.quoted(workspace.home), "")
        where = hashlib.sha256(uri.encode()).hexdigest()[:16]  # it may hold a password
        return cls(workspace, f"{model} in {where}", content if isinstance(content, dict) else {})

    def problems(self, entries: Sequence[Entry]) -> Iterator[Problem]:
        """Find that the record is not there any more, as it was seen."""
        number, seal = self._last()
        now = {entry.record.number: entry for entry in entries}.get(number)
        if number and (now is None or seal not in (now.seal, f"{now.digest} intent")):
            file = self.workspace.shown(self.workspace.promotions_seen)
            text = f"record {number} is missing or not the one that this checkout has seen ({file})"
            yield Problem(text, f"seen {number} {seal}")

    def _last(self) -> tuple[int, str]:
        try:
            number, _, seal = str(self.content.get(self.name, "")).partition(" ")
            return int(number), seal
        except ValueError:
            return 0, ""

    def remember(self, last: Entry) -> None:
        """Keep the last record, where the checkout can be written to."""
        text = f"{last.record.number} {last.seal}"
        if self.content.get(self.name) != text:
            try:
                write_text(self.workspace.promotions_seen, json.dumps({**self.content, self.name: text}, indent=2) + "\n")
            except OSError:
                return
