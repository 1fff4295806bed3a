"""Registry stages and history: places that disagree, interrupted moves, moves without a record, a history that was changed."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

from pipeline.doctor.finding import Checked, Finding, Registry, counted
from pipeline.errors import SigningError, TrackingError
from pipeline.promotion import chain, ledger, timeline, transitions
from pipeline.promotion.chain import History
from pipeline.promotion.record import Entry
from pipeline.promotion.timeline import Unrecorded
from pipeline.promotion.transitions import CurrentStages
from pipeline.promotion.writer import Writer, checked
from pipeline.tracking import Source
from pipeline.tracking.lock import Lock


def check(registry: Registry) -> Checked:
    """Check stages and history; a version whose stage a problem of the history explains is not reported again."""
    if not registry.client.search_registered_models(f"name = '{registry.model}'"):
        return Checked("no version yet")
    now = transitions.current_stages(registry.client, registry.model)
    what = f"the stages of {counted(len(now.tags), 'version')}"
    try:
        history = checked(registry.client, registry.project)
    except (SigningError, TrackingError) as error:
        meaning = (
            "the version in production is known, but not since when and why; no registry stage can change until this is fixed"
        )
        unreadable = Finding(f"the history cannot be read: {error}", meaning, "no automatic fix: do what the problem says")
        return Checked(what, [unreadable, *_disagreements(registry, now, ())])
    interrupted = [entry for entry in history.entries if entry.state == "intent"]
    explained = {version for entry in interrupted for version in (entry.record.version, entry.record.replaced)}
    findings = [_interrupted(registry, entry, now) for entry in interrupted]
    if move := timeline.unrecorded(history.entries, now):
        explained |= {version.number for version in (move.version, move.replaced) if version and now.has(version)}
        findings.append(_moved_outside(registry, move, now))
    findings += [*_disagreements(registry, now, explained), *_changed(registry, history)]
    return Checked(f"{what}, {counted(len(history.entries), 'record')} of the history", findings)


def _changed(registry: Registry, history: History) -> Iterator[Finding]:
    whole = {entry.record.number: entry for entry in history.entries}
    for problem in (each for each in history.problems if each.repairs):
        meaning = "the record itself is whole; its run in the MLflow UI misleads whoever reads it"
        yield Finding(problem.text, meaning, "writes them again, as the record says", _repair(registry, whole[problem.repairs]))
    if history.gaps:
        meaning = "somebody deleted or altered records: `history` and `rollback`, which rely on them, may be wrong"
        way = (
            "restore deleted ones in the MLflow UI or, where registry/ has them, by `python -m pipeline sync`; or acknowledge "
            'it for ever: `python -m pipeline doctor --accept "why"`'
        )
        found = "; ".join(filter(None, [*(problem.text for problem in history.gaps), history.restorable]))
        remedy = f"no automatic fix: missing records cannot be reconstructed; {way}"
        yield Finding(f"the history was changed: {found}", meaning, remedy)


def _repair(registry: Registry, entry: Entry) -> Callable[[Lock], None]:
    def fix(lock: Lock) -> None:
        lock.keep()
        ledger.repair(registry.client, entry)

    return fix


def accept(registry: Registry, held: Lock, reason: str) -> None:
    """Write a record that acknowledges what cannot be fixed in the history; say so where there is nothing."""
    if not registry.client.search_registered_models(f"name = '{registry.model}'"):
        print("nothing to acknowledge: there is no version yet")
        return
    transitions.recover(registry.client, held, ledger.read(registry.client, registry.model).entries)
    writer = _writer(registry, held)
    if not (gaps := writer.history.gaps):
        print("nothing to acknowledge: no record is missing or altered")
        return
    record = writer.record("accept", Source("", "", registry.model, ""), "", reason, chain.acknowledgement(gaps))
    number = writer.note(replace(record, source="", replaced=None, evidence="")).record.number
    print(f"record {number} acknowledges {counted(len(gaps), 'change')}: `history` goes on showing what was changed")


def _interrupted(registry: Registry, entry: Entry, now: CurrentStages) -> Finding:
    record = entry.record
    meaning, remedy = {
        "done": ("after the alias was set", "completes it: tag, stage field, the replaced version"),
        "undone": ("before the alias was set", "reverts it: tag and stage field as they were, and the record says so"),
    }[transitions.outcome(record, now)]

    def fix(lock: Lock) -> None:
        transitions.recover(registry.client, lock, [entry])

    problem = f"record {record.number}: the {record.kind} of version {record.version} to {record.target} was interrupted"
    return Finding(problem, f"its process was killed {meaning}", remedy, fix)


def _moved_outside(registry: Registry, move: Unrecorded, now: CurrentStages) -> Finding:
    """Report that production is not what the history says.

    The alias is what users get, so it stays where it is, and the history gets a record, because `history --at` and `rollback`
    rely on it. The record is of kind "force", because no gate was passed.
    """
    known = [f"version {each.number}" for each in (move.version, move.replaced) if each and now.has(each)]
    follow = f"; aligns tag and stage field of {' and '.join(known)}" if known else ""
    return Finding(
        timeline.describe_difference(move, now),
        "it was changed without promote: no gate was passed, and who did it and why is unknown",
        f"leaves production as it is and records the change as a force found by doctor{follow}; `rollback` goes back instead",
        lambda lock: _record(registry, lock, move),
    )


def _writer(registry: Registry, held: Lock) -> Writer:
    client, project = registry.client, registry.project
    now = transitions.current_stages(client, registry.model)
    return Writer(client, project, held, checked(client, project), now)


def _record(registry: Registry, held: Lock, move: Unrecorded) -> None:
    writer = _writer(registry, held)
    exists = writer.stages.has(move.version)
    reason = f"found by doctor: {'moved without promote' if exists else 'the version was deleted'}"
    source = Source("", move.version.run_id, registry.model, move.version.number)
    record = writer.record("force", source, move.target, reason)
    there = move.replaced and writer.stages.has(move.replaced)
    record = replace(record, source=move.source, replaced=move.replaced.number if move.replaced and there else None)
    if exists:
        writer.move(record)
    else:
        gone = move.version
        writer.note(replace(record, evidence="", weights_digest=gone.weights_digest, run_id=gone.run_id))


def _disagreements(registry: Registry, now: CurrentStages, but: Collection[str | None]) -> Sequence[Finding]:
    """Find versions, except `but`, whose alias, tag and stage field disagree."""
    entries = registry.client.search_model_versions(f"name = '{registry.model}'")
    found = [_disagreement(registry, entry, now) for entry in sorted(entries, key=lambda each: int(each.version))]
    return [finding for version, finding in found if finding and version not in but]


def _disagreement(registry: Registry, entry: Any, now: CurrentStages) -> tuple[str, Finding | None]:
    client, version, tag = registry.client, str(entry.version), entry.tags.get("stage", "none")
    stage = now.stage_of(version)
    aliases = [alias for alias in transitions.ALIASES if now.aliases.get(alias) == version]
    field = entry.current_stage.lower() if hasattr(client, "transition_model_version_stage") else tag
    if len(aliases) < 2 and tag == field == stage:
        return version, None

    def fix(lock: Lock) -> None:
        lock.keep()
        for alias in aliases[1:]:
            client.delete_registered_model_alias(registry.model, alias)
        transitions.align(client, registry.model, [version])

    shown_field = f", MLflow's stage field {field}" if hasattr(client, "transition_model_version_stage") else ""
    means = f"it is in {stage} by its alias" if aliases else "it has no stage, because it has no alias"
    means = "it is archived by its tag, because it has no alias" if stage == "archived" else means
    drops = f"deletes the alias {aliases[1]}; " if aliases[1:] else ""
    return version, Finding(
        f"version {version}: alias {' and '.join(aliases) or 'none'}, tag `stage` {tag}{shown_field}",
        f"{means}; the rest was changed without promote and misleads whoever reads it",
        f"{drops}sets tag and stage field to {stage}",
        fix,
    )
