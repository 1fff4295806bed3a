"""Registry stages and history: places that disagree, interrupted moves, moves without a record, a history that was changed."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.doctor.finding import Checked, Finding, Registry, counted
from pipeline.errors import RegistryError, TrackingError
from pipeline.promotion import ledger, transitions
from pipeline.promotion.record import Entry
from pipeline.promotion.transitions import CurrentStages
from pipeline.promotion.writer import Writer
from pipeline.tracking import Source
from pipeline.tracking.lock import Lock


def check(registry: Registry) -> Checked:
    """Check stages and history; a version whose stage a problem of the history explains is not reported again."""
    if not registry.client.search_registered_models(f"name = '{registry.model}'"):
        return Checked("no version yet")
    now = transitions.current_stages(registry.client, registry.model)
    what = f"the stages of {counted(len(now.tags), 'version')}"
    try:
        entries, problems = ledger.check(registry.client, registry.project.workspace, registry.model)
    except (RegistryError, TrackingError) as error:
        meaning = (
            "the version in production is known, but not since when and why; no registry stage can change until this is fixed"
        )
        unreadable = Finding(f"the history cannot be read: {error}", meaning, "no automatic fix: do what the problem says")
        return Checked(what, [unreadable, *_disagreements(registry, now, ())])
    interrupted = [entry for entry in entries if entry.state == "intent"]
    explained = {version for entry in interrupted for version in (entry.record.version, entry.record.replaced)}
    findings = [_interrupted(registry, entry, now) for entry in interrupted]
    if move := _unrecorded(entries, now):
        explained |= {move.version, move.replaced}
        findings.append(_moved_outside(registry, move, now))
    findings += _disagreements(registry, now, explained)
    if problems:
        meaning = "somebody deleted or altered records: `history` and `rollback`, which rely on them, may be wrong"
        remedy = "no automatic fix: the missing records cannot be reconstructed; restore deleted ones in the MLflow UI"
        findings.append(Finding(f"the history was changed: {'; '.join(problems)}", meaning, remedy))
    return Checked(f"{what}, {counted(len(entries), 'record')} of the history", findings)


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


@dataclass(frozen=True)
class Unrecorded:
    """A change of production without a record."""

    version: str
    source: str
    target: str
    replaced: str | None


def _unrecorded(entries: Sequence[Entry], now: CurrentStages) -> Unrecorded | None:
    """Return what brought production where it is, if no record did, once interrupted moves are completed or reverted."""
    settled = [
        replace(entry, state=transitions.outcome(entry.record, now)) if entry.state == "intent" else entry for entry in entries
    ]
    recorded, actual = ledger.in_production(settled)[-1], now.aliases.get("production")
    if actual and actual != recorded:
        tag = now.tags.get(actual, "none")  # it may say production by now too
        return Unrecorded(actual, tag if tag in ("staging", "archived") else "none", "production", recorded)
    if recorded and not actual:
        stage = now.stage_of(recorded)
        target = "none" if recorded not in now.tags else "staging" if stage == "staging" else "archived"
        return Unrecorded(recorded, "production", target, None)
    return None


def _moved_outside(registry: Registry, move: Unrecorded, now: CurrentStages) -> Finding:
    """Report that production is not what the history says.

    The alias is what users get, so it stays where it is, and the history gets a record, because `history --at` and `rollback`
    rely on it. The record is of kind "force", because no gate was passed.
    """
    recorded = move.replaced if move.target == "production" else move.version
    actual = f"version {move.version}" if move.target == "production" else "empty"
    deleted = ", which was deleted" if recorded and recorded not in now.tags else ""
    known = [f"version {version}" for version in (move.version, move.replaced) if version in now.tags]
    follow = f"; aligns tag and stage field of {' and '.join(known)}" if known else ""
    return Finding(
        f"production is {actual}; according to the history it is {f'version {recorded}' if recorded else 'empty'}{deleted}",
        "it was changed without promote: no gate was passed, and who did it and why is unknown",
        f"leaves production as it is and records the change as a force found by doctor{follow}; `rollback` goes back instead",
        lambda lock: _record(registry, lock, move),
    )


def _record(registry: Registry, held: Lock, move: Unrecorded) -> None:
    client, model = registry.client, registry.model
    now = transitions.current_stages(client, model)
    writer = Writer(client, registry.project, held, ledger.read(client, model), now)
    exists = move.version in now.tags
    run_id = client.get_model_version(model, move.version).run_id if exists else ""
    reason = f"found by doctor: {'moved without promote' if exists else 'the version was deleted'}"
    record = writer.record("force", Source("", run_id, model, move.version), move.target, reason)
    record = replace(record, source=move.source, replaced=move.replaced)
    if exists:
        writer.move(record)
    else:
        writer.note(replace(record, evidence=""))


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
