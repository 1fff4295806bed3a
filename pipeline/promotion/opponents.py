"""The versions that a candidate for production is compared with: the one there, and the best that ever was there.

Where nothing is in production, the last that was counts, so that archiving it first opens no way around the gate. The best is
chosen by what the records say of these test images, then predicted afresh by the gate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.promotion import timeline
from pipeline.promotion.record import Entry, Record
from pipeline.tracking import Source


@dataclass(frozen=True)
class Opponents:
    """What to compare with."""

    production: Source | None  # the version in production, or the last that was
    why_not: str  # why there is none; "" where there is one
    best: Sequence[Source]  # more accurate ones that were in production on these images, the best first
    among: int  # how many were in production on these images
    note: str  # of the best: why there is none, or which are missing


@dataclass(frozen=True)
class _Past:
    """A version that was in production, as its records name it."""

    version: str
    weights_digest: str  # "" in older records
    accuracy: float | None = None  # on these test images; None where no record says so


def choose(client: Any, candidate: Source, current: str | None, entries: Sequence[Entry], test_digest: str) -> Opponents:
    """Return what to compare `candidate` with.

    Args:
        client: As `tracking.connect` gives it.
        candidate: The version that is to go to production.
        current: The version in production, if any.
        entries: The records of the model, oldest first.
        test_digest: Of the test split that the candidate is judged on.
    """
    found = client.search_model_versions(f"name = '{candidate.model_name}'")
    registry = {str(each.version): each for each in found}
    production, why_not = _production(registry, candidate, current, entries)
    past = _past([entry.record for entry in entries], timeline.moves(entries), test_digest)
    scored = sorted((each for each in past if each.accuracy is not None), key=lambda each: -(each.accuracy or 0))
    there = {each.version: each for each in scored if _is_there(registry, each)}
    own = [there.get(str(each.version)) for each in (candidate, production) if each]
    reached = there[str(production.version)].accuracy if production and production.version in there else None
    better = [each for each in scored if each not in own and (reached is None or (each.accuracy or 0) > reached)]
    best = [source for each in better if (source := _source(registry, candidate, each, "was in production"))]
    gone = [f"version {each.version} ({each.accuracy:.4f}) was deleted" for each in better if not _is_there(registry, each)]
    note = "; ".join(gone) or ("" if best else _why_no_best(past, scored, production, candidate))
    return Opponents(production, why_not, best, max(len(scored), 1), note)


def _production(
    registry: Mapping[str, Any], candidate: Source, current: str | None, entries: Sequence[Entry]
) -> tuple[Source | None, str]:
    """Return the version in production, or the last that was and still exists; and why there is none."""
    if current is not None and current != candidate.version:
        source = _source(registry, candidate, _Past(current, ""), "production")
        return source, "" if source else f"version {current}, which is in production, was deleted"
    line = [version for version in reversed(timeline.production(entries)) if version]
    if not line:
        return None, "nothing was ever in production"
    for place, version in enumerate(line):
        source = _source(registry, candidate, _Past(version.number, version.weights_digest), "last in production")
        if source and source.version != candidate.version:
            return source, ""
        if source and place == 0:
            return None, f"version {candidate.version} itself was the last in production"
    return None, f"version {line[0].number}, the last in production, was deleted"


def _past(records: Sequence[Record], moves: Sequence[Record], test_digest: str) -> list[_Past]:
    """Return the versions that were in production, each with its accuracy on the test split `test_digest`."""
    scores = {
        (each.version, each.weights_digest): each.accuracy
        for each in records
        if test_digest and each.test_digest == test_digest and each.accuracy is not None and 0 <= each.accuracy <= 1
    }
    were = dict.fromkeys((each.version, each.weights_digest) for each in moves if each.target == "production")
    return [_Past(*each, scores.get(each)) for each in were]


def _is_there(registry: Mapping[str, Any], past: _Past) -> bool:
    """Return whether the registry still has this version: its number, with the weights that the record names."""
    entry = registry.get(past.version)
    known = entry.tags.get("weights_digest", "") if entry else ""
    return entry is not None and (not past.weights_digest or known in ("", past.weights_digest))


def _source(registry: Mapping[str, Any], candidate: Source, past: _Past, what: str) -> Source | None:
    if not _is_there(registry, past):
        return None
    name = f"version {past.version} ({what})"
    return Source(name, registry[past.version].run_id or "", candidate.model_name, past.version)


def _why_no_best(past: Sequence[_Past], scored: Sequence[_Past], production: Source | None, candidate: Source) -> str:
    if not past:
        return "nothing was ever in production"
    if not scored:
        return "no record says how a version in production did on these test images"
    best = production.name if production else f"version {candidate.version} itself"
    return f"{best} is the best of {len(scored)} that were in production on these images"
