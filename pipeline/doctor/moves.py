"""The stages of all versions and the history, which explain each other."""

from pipeline.doctor import records, standings
from pipeline.doctor.finding import Examined, Registry, counted
from pipeline.errors import RegistryError, TrackingError
from pipeline.promotion import chain, transitions


def examine(registry: Registry) -> Examined:
    """Looks at stages and history; a version that a finding on the history explains has none of its own."""
    if not registry.client.search_registered_models(f"name = '{registry.model}'"):
        return Examined("no version yet")
    now = transitions.standing(registry.client, registry.model)
    what = f"the stages of {counted(len(now.tags), 'version')}"
    try:
        entries, breaks = chain.examined(registry.client, registry.project.workspace, registry.model)
    except (RegistryError, TrackingError) as error:
        return Examined(what, [records.unreadable(error), *standings.disagreements(registry, now, ())])
    cut = [entry for entry in entries if entry.state == "intent"]
    move = records.unrecorded(entries, now)
    explained: set[str | None] = {version for entry in cut for version in (entry.record.version, entry.record.before)}
    findings = [records.cut_short(registry, entry, now) for entry in cut]
    if move:
        explained |= {move.version, move.before}
        findings.append(records.moved_outside(registry, move, now))
    findings += standings.disagreements(registry, now, explained)
    findings += [records.broken(breaks)] if breaks else []
    return Examined(f"{what}, {counted(len(entries), 'record')} of the history", findings)
