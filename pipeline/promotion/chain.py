"""Whether the history of promotions is whole: every record there, as it was written, and no other.

Each record holds the digest of the one before it, and the registered model the digest of the last: `ledger.HEAD`.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from pipeline import tracking
from pipeline.promotion import ledger
from pipeline.promotion.ledger import HEAD
from pipeline.promotion.record import Entry
from pipeline.workspace import Workspace

_ENDS = {"FINISHED": "done", "KILLED": "undone"}  # status of a record's run, which the UI cannot change → its state


def examined(client: Any, workspace: Workspace, model: str) -> tuple[Sequence[Entry], list[str]]:
    """Return the records of `model`, oldest first, and what is wrong with them, a sentence each; needs no lock.

    Raises:
        RegistryError: a run of the experiment is no record.
        TrackingError: the experiment was deleted.
    """
    experiment = client.get_experiment_by_name(ledger.experiment_name(model))
    if experiment and experiment.lifecycle_stage == "deleted":
        tracking.experiment_id(client, workspace, experiment.name, tracking.PROMOTIONS)  # raises
    head, entries = ledger.head(client, model), ledger.read(client, model)
    while head != (later := ledger.head(client, model)):  # a record was written meanwhile
        head, entries = later, ledger.read(client, model)
    found = breaks(entries, head)
    return entries, found + list(_restorable(client, model, entries)) if found else []


def breaks(entries: Sequence[Entry], head: tuple[int, str]) -> list[str]:
    """What is wrong with the chain, a sentence each; nothing where every record is there as it was written.

    Args:
        entries: All records, oldest first.
        head: Number and digest of the last that was written, as `ledger.head` gives them.
    """
    tests = (_twice(entries), _missing(entries, head[0]), _altered(entries, head), _beyond(entries, head))
    return [sentence for test in tests for sentence in test] + list(_mislabelled(entries))


def _twice(entries: Sequence[Entry]) -> Iterator[str]:
    for before, after in pairwise(entries):
        if before.record.number == after.record.number:
            yield f"there are two records {after.record.number}, the runs {before.run_id} and {after.run_id}"


def _missing(entries: Sequence[Entry], last: int) -> Iterator[str]:
    numbers = {0, *(entry.record.number for entry in entries)}
    for before, after in pairwise(sorted(numbers | {max(last, *numbers) + 1})):
        if after == before + 2:
            yield f"record {before + 1} is missing"
        elif after > before + 2:
            yield f"records {before + 1} to {after - 1} are missing"


def _altered(entries: Sequence[Entry], head: tuple[int, str]) -> Iterator[str]:
    tag = f"the tag {HEAD} of the registered model"
    held: dict[int, dict[str, str]] = {head[0]: {head[1]: tag}}  # number → digests that are held of this record, and where
    for entry in entries:
        held.setdefault(entry.record.number - 1, {}).setdefault(entry.record.previous, f"record {entry.record.number}")
    records = [entry.record for entry in entries]
    wrong = [each.number for each in records if each.number in held and each.digest not in held[each.number]]
    for number in wrong:
        holder = " and ".join(held[number].values())
        if number + 1 in wrong or number == head[0]:
            yield f"record {number} was altered, or {holder}, which holds another digest of it"
        else:
            yield f"record {number} was altered: {holder} holds another digest of it"


def _beyond(entries: Sequence[Entry], head: tuple[int, str]) -> Iterator[str]:
    """One record beyond the head is no fault: its writer was cut short, before it carried out any move."""
    later = [entry for entry in entries if entry.record.number > head[0]]
    if not later or (len(later) == 1 and _is_cut_short(later[0], head)):
        return
    if head[0]:
        added = ", ".join(str(entry.record.number) for entry in later)
        yield f"record {added} was added by hand, or the tag {HEAD} of the registered model altered (it counts {head[0]})"
    else:
        yield f"the registered model has lost its tag {HEAD}, which holds number and digest of the last record"


def _is_cut_short(entry: Entry, head: tuple[int, str]) -> bool:
    follows = (entry.record.number, entry.record.previous) == (head[0] + 1, head[1])
    return follows and (entry.state == "intent" or entry.record.kind == "refusal")


def _mislabelled(entries: Sequence[Entry]) -> Iterator[str]:
    for entry in entries:
        wrong = [name for name, value in ledger.labels(entry.record).items() if entry.tags.get(name, "") != value]
        wrong += ["state"] * (_ENDS.get(entry.status, entry.state) != entry.state)
        if wrong:
            yield f"record {entry.record.number} has a label that was altered: its run's tag {', '.join(wrong)}"


def _restorable(client: Any, model: str, entries: Sequence[Entry]) -> Iterator[str]:
    from mlflow.entities import ViewType

    experiment = client.get_experiment_by_name(ledger.experiment_name(model))
    deleted = client.search_runs([experiment.experiment_id], run_view_type=ViewType.DELETED_ONLY) if experiment else ()
    there = {str(entry.record.number) for entry in entries}
    if missing := {run.data.tags.get("number", "") for run in deleted} - there:
        numbers = ", ".join(sorted(missing, key=lambda number: (len(number), number)))
        yield f"the MLflow UI can restore record {numbers} (experiment {experiment.name}, State: Deleted)"
