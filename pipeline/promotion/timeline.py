"""What was in production, and when, according to the records; and whether that is what is there now."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pipeline.promotion import transitions
from pipeline.promotion.record import Entry, Record, Version
from pipeline.promotion.transitions import CurrentStages

_NO_MOVES = ("refusal", "accept")


@dataclass(frozen=True)
class Unrecorded:
    """A change of production without a record."""

    version: Version
    source: str
    target: str
    replaced: Version | None


def moves(entries: Sequence[Entry], until: datetime | None = None) -> list[Record]:
    """Return the records of moves that were made, up to the last one at `until` or before.

    Their numbers give the order: they come from several machines, whose clocks may differ.
    """
    within = [
        place for place, entry in enumerate(entries, 1) if not until or datetime.fromisoformat(entry.record.when) <= until
    ]
    reached = entries[: max(within, default=0)]
    return [entry.record for entry in reached if entry.state == "done" and entry.record.kind not in _NO_MOVES]


def production(entries: Sequence[Entry], until: datetime | None = None) -> list[Version | None]:
    """Return the versions that were in production one after the other, according to the records up to `until`.

    None stands for a time without one. A rollback removes the version it left, so that the next one goes further back.
    """
    found: list[Version | None] = [None]
    for record in moves(entries, until):
        version = record.subject
        if record.kind == "rollback":
            while not version.is_same(found[-1]) and len(found) > 1:
                found.pop()
            found += [] if version.is_same(found[-1]) else [version]
        elif record.target == "production":
            found.append(version)
        elif record.source == "production" and version.is_same(found[-1]):
            found.append(None)
    return found


def unrecorded(entries: Sequence[Entry], now: CurrentStages) -> Unrecorded | None:
    """Return what brought production where it is, if no record did, once interrupted moves are completed or reverted."""
    settled = [
        replace(entry, state=transitions.outcome(entry.record, now)) if entry.state == "intent" else entry for entry in entries
    ]
    recorded, actual = production(settled)[-1], now.production
    if actual and not actual.is_same(recorded):
        tag = now.tags.get(actual.number, "none")  # it may say production by now too
        return Unrecorded(actual, tag if tag in ("staging", "archived") else "none", "production", recorded)
    if recorded and not actual:
        stage = now.stage_of(recorded.number)
        target = "none" if not now.has(recorded) else "staging" if stage == "staging" else "archived"
        return Unrecorded(recorded, "production", target, None)
    return None


def describe_difference(move: Unrecorded, now: CurrentStages) -> str:
    """Return how production differs from what the records say."""
    actual, recorded = (move.version, move.replaced) if move.target == "production" else (None, move.version)
    found = f"production is {f'version {actual.number}' if actual else 'empty'}"
    says = f"according to the history it is {f'version {recorded.number}' if recorded else 'empty'}"
    if recorded is None or now.has(recorded):
        return f"{found}; {says}"
    if recorded.number in now.tags:
        return f"{found}; {says}, another model than today's version {recorded.number}: that one was deleted"
    return f"{found}; {says}, which was deleted"
