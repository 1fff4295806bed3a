"""The history of a model: moves that were cut short, a production that no record speaks of, records missing or altered."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.doctor.finding import Finding, Registry
from pipeline.errors import RegistryError, TrackingError
from pipeline.promotion import ledger, transitions
from pipeline.promotion.lock import Lock
from pipeline.promotion.record import Entry, Record, State
from pipeline.promotion.transitions import Standing
from pipeline.promotion.writer import Writer
from pipeline.tracking import Source


@dataclass(frozen=True)
class Unrecorded:
    """What happened to production without a record."""

    version: str
    source: str
    target: str
    before: str | None


def unreadable(error: RegistryError | TrackingError) -> Finding:
    """The finding that `read` raised."""
    return Finding(
        f"the history cannot be read: {error}",
        "which version is in production can be told, not since when and why; no stage can change until it is mended",
        "nothing: what the line above says has to be done by hand",
    )


def cut_short(registry: Registry, entry: Entry, now: Standing) -> Finding:
    """The finding that a move was intended and never ended."""
    record = entry.record
    ends = {
        "done": ("when the version was there, and the rest not in step", "finishes it: tag, stage field, the version before"),
        "undone": ("before the version was there", "undoes it: tag and stage field as they were, and the record says so"),
    }
    means, fix = ends[_end(record, now)]

    def mend(lock: Lock) -> None:
        transitions.recover(registry.client, lock, [entry])

    return Finding(
        f"record {record.number}: the {record.kind} of version {record.version} to {record.target} was cut short",
        f"its process ended {means}",
        fix,
        mend,
    )


def _end(record: Record, now: Standing) -> State:
    """What `transitions.recover` makes of a move that was cut short."""
    arrived = record.version in now.tags and now.stage_of(record.version) == record.target
    return "done" if arrived else "undone"


def unrecorded(entries: Sequence[Entry], now: Standing) -> Unrecorded | None:
    """What brought production where it is, if no record did; as it will be when what was cut short is mended."""
    settled = [replace(entry, state=_end(entry.record, now)) if entry.state == "intent" else entry for entry in entries]
    recorded, actual = ledger.in_production(settled)[-1], now.aliases.get("production")
    if actual and actual != recorded:
        tag = now.tags.get(actual, "none")  # it may say production by now too
        return Unrecorded(actual, tag if tag in ("staging", "archived") else "none", "production", recorded)
    if recorded and not actual:
        stage = now.stage_of(recorded)
        target = "none" if recorded not in now.tags else "staging" if stage == "staging" else "archived"
        return Unrecorded(recorded, "production", target, None)
    return None


def moved_outside(registry: Registry, move: Unrecorded, now: Standing) -> Finding:
    """The finding that production is not what the history says.

    The alias is what users get, so it stays where it is, and the history learns of it: neither `history --at`, for a time
    from then on, nor `rollback` may be told what is not so. The record is of kind "force", because no gate was asked.
    """
    arrived = move.target == "production"
    recorded = move.before if arrived else move.version
    by_history = f"version {recorded}" if recorded else "empty"
    deleted = ", which was deleted" if recorded and recorded not in now.tags else ""
    in_step = f"; tag and stage field of {_versions(move, now)} follow" if _versions(move, now) else ""
    return Finding(
        f"production is {f'version {move.version}' if arrived else 'empty'}; by the history it is {by_history}{deleted}",
        "it was changed outside of promote: no gate was asked, nobody knows who and why, and `history` tells otherwise",
        f"leaves production as it is and records it, as a force found by doctor{in_step}; `rollback` goes back instead",
        lambda lock: _record(registry, lock, move),
    )


def _versions(move: Unrecorded, now: Standing) -> str:
    known = [version for version in (move.version, move.before) if version in now.tags]
    return " and ".join(f"version {version}" for version in known)


def _record(registry: Registry, held: Lock, move: Unrecorded) -> None:
    client, model = registry.client, registry.model
    now = transitions.standing(client, model)
    writer = Writer(client, registry.project, model, held, ledger.read(client, model), now)
    exists = move.version in now.tags
    run_id = client.get_model_version(model, move.version).run_id if exists else ""
    reason = f"found by doctor: {'moved outside of promote' if exists else 'the version was deleted'}"
    record = writer.record("force", Source("", run_id, model, move.version), move.target, reason)
    record = replace(record, source=move.source, before=move.before)
    if exists:
        writer.move(record)
    else:
        writer.note(replace(record, evidence=""))


def broken(breaks: Sequence[str]) -> Finding:
    """The finding that records are missing or altered."""
    return Finding(
        f"the history is not as it was written: {'; '.join(breaks)}",
        "somebody deleted or altered records: what `history` tells, and what `rollback` goes by, may be wrong",
        "nothing: what is gone cannot be made up; restore in the MLflow UI what its trash still has",
    )
