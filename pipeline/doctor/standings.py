"""Alias, tag `stage` and MLflow's stage field that disagree: somebody changed one of them outside of `promote`."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.doctor.finding import Finding, Registry
from pipeline.promotion import transitions
from pipeline.promotion.lock import Lock
from pipeline.promotion.transitions import Standing


@dataclass(frozen=True)
class Shown:
    """What the registry says of one version, in each of its places."""

    version: str
    stage: str  # by the alias, which is the truth; `archived` by the tag
    aliases: Sequence[str]  # of ours; the first counts
    tag: str
    field: str | None  # None where this MLflow has no such field any more

    def __str__(self) -> str:
        field = "" if self.field is None else f", MLflow's stage field {self.field}"
        return f"version {self.version}: alias {' and '.join(self.aliases) or 'none'}, tag `stage` {self.tag}{field}"

    @property
    def agrees(self) -> bool:
        """Whether all places say the same."""
        return len(self.aliases) < 2 and {self.tag, self.field or self.tag} == {self.stage}


def disagreements(registry: Registry, now: Standing, but: Collection[str | None]) -> Sequence[Finding]:
    """Versions whose alias, tag and stage field disagree, leaving out the versions `but`."""
    entries = registry.client.search_model_versions(f"name = '{registry.model}'")
    has_field = hasattr(registry.client, "transition_model_version_stage")
    shown = [_shown(entry, now, has_field) for entry in entries if str(entry.version) not in but]
    return [_finding(registry, each) for each in sorted(shown, key=lambda each: int(each.version)) if not each.agrees]


def _shown(entry: Any, now: Standing, has_field: bool) -> Shown:
    version = str(entry.version)
    aliases = [alias for alias in transitions.ALIASES if now.aliases.get(alias) == version]
    field = entry.current_stage.lower() if has_field else None
    return Shown(version, now.stage_of(version), aliases, entry.tags.get("stage", "none"), field)


def _finding(registry: Registry, shown: Shown) -> Finding:
    def mend(lock: Lock) -> None:
        lock.keep()
        for alias in shown.aliases[1:]:
            registry.client.delete_registered_model_alias(registry.model, alias)
        transitions.agree(registry.client, registry.model, [shown.version])

    means = {
        True: f"it is in {shown.stage}, because its alias counts",
        False: "it is in no stage, because only an alias puts a version into one",
    }[bool(shown.aliases)]
    if shown.stage == "archived":
        means = "it is archived, because without an alias the tag counts"
    drops = f"deletes the alias {shown.aliases[1]}; " if shown.aliases[1:] else ""
    return Finding(
        str(shown),
        f"{means}; the rest was changed outside of promote and misleads whoever goes by it",
        f"{drops}sets tag and stage field to {shown.stage}",
        mend,
    )
