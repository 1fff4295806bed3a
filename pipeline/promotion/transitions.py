"""The registry stages of a model's versions, and the move from one to another, which can be killed at any point.

The alias is the truth: `staging` and `production` are the versions with these aliases. The version's tag `stage` says the same,
and is the truth for `archived`, which has no alias. MLflow's own stage field follows, for its older pages and URIs.

    lock → intent recorded → tag → alias → stage field → the replaced version → record done

The next writer completes a move whose alias was set, and reverts any other.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from pipeline.errors import RefusedError
from pipeline.promotion import ledger
from pipeline.promotion.record import Entry, Record, Version
from pipeline.tracking.lock import Lock
from pipeline.tracking.manifest import run_of

Stage = Literal["none", "staging", "production", "archived"]
STAGES: tuple[Stage, ...] = get_args(Stage)
ALIASES: tuple[Stage, ...] = ("production", "staging")  # of a version with both, the first counts
ALLOWED: Mapping[str, tuple[Stage, ...]] = {
    "none": ("staging", "archived"),
    "staging": ("production", "archived"),
    "production": ("archived",),
    "archived": ("staging",),
}
SKIPS = {("none", "production"), ("archived", "production")}  # with --force
_FIELD = {"none": "None", "staging": "Staging", "production": "Production", "archived": "Archived"}
_AFTER: Mapping[str, Stage] = {
    "staging": "none",
    "production": "archived",
}  # the next stage of a version that is replaced there


@dataclass(frozen=True)
class CurrentStages:
    """Which version is in which registry stage."""

    aliases: Mapping[str, str]  # alias → version
    tags: Mapping[str, str]  # version → its tag `stage`
    versions: Mapping[str, Version] = field(default_factory=dict)  # number → which one it is today

    @property
    def production(self) -> Version | None:
        """The version in production."""
        number = self.aliases.get("production")
        return self.versions.get(number, Version(number)) if number else None

    def has(self, version: Version) -> bool:
        """Return whether the version still exists; its number may be another one's by now."""
        return version.is_same(self.versions.get(version.number))

    def stage_of(self, version: str) -> str:
        """Return the stage of a version that exists."""
        for alias in ALIASES:
            if self.aliases.get(alias) == version:
                return alias
        return "archived" if self.tags.get(version) == "archived" else "none"


def current_stages(client: Any, model: str) -> CurrentStages:
    """Return the stages of all versions; MlflowException where there is no such model."""
    aliases = {alias: str(version) for alias, version in client.get_registered_model(model).aliases.items()}
    found = client.search_model_versions(f"name = '{model}'")
    versions = [Version(str(entry.version), entry.tags.get("weights_digest", ""), run_of(entry)) for entry in found]
    stages = {str(entry.version): entry.tags.get("stage", "none") for entry in found}
    return CurrentStages(aliases, stages, {version.number: version for version in versions})


def describe(version: str, stage: str) -> str:
    """Return where a version is, as in "version 2 has no stage yet"."""
    return f"version {version} " + {"none": "has no stage yet", "archived": "is archived"}.get(stage, f"is in {stage}")


def check_allowed(version: str, source: str, target: str, forced: bool) -> None:
    """Raise RefusedError, with the moves that are allowed, unless a version may go from stage `source` to `target`."""
    can_skip = (source, target) in SKIPS
    if target in ALLOWED[source] or (can_skip and forced):
        return
    ways = [f"promoted to {each}" if each in ALIASES else "archived" for each in ALLOWED[source]]
    force = "add --force --reason TEXT to skip a step" if can_skip else f"not promoted to {target}"
    raise RefusedError(f"{describe(version, source)}; it can be {' or '.join(ways)} ({force})")


def move(client: Any, lock: Lock, experiment: str, known: Sequence[Entry], record: Record) -> Entry:
    """Record the intent to make the checked move `record`, make it, and record that it is done."""
    lock.keep()
    return _complete(client, lock, ledger.append(client, experiment, known, record, "intent"))


def recover(client: Any, lock: Lock, known: Sequence[Entry]) -> Sequence[Entry]:
    """Complete each interrupted move whose alias was set, revert each other one; return them with their new state."""
    return [_recover(client, lock, entry) for entry in known if entry.state == "intent"]


def outcome(record: Record, now: CurrentStages) -> Literal["done", "undone"]:
    """Return what `recover` makes of an interrupted move."""
    return "done" if now.has(record.subject) and now.stage_of(record.version) == record.target else "undone"


def _recover(client: Any, lock: Lock, entry: Entry) -> Entry:
    record = entry.record
    if outcome(record, current_stages(client, record.model)) == "done":
        return _complete(client, lock, entry)
    lock.keep()
    align(client, record.model, [record.version])
    return ledger.mark(client, entry, "undone")


def _complete(client: Any, lock: Lock, entry: Entry) -> Entry:
    """Take the steps after the intent; each may have been taken before."""
    record = entry.record
    model, version = record.model, record.version
    lock.keep()
    client.set_model_version_tag(model, version, "stage", record.target)
    lock.keep()
    _set_aliases(client, model, version, record.target)
    set_field(client, model, version, record.target)
    lock.keep()
    if record.replaced:
        align(client, model, [record.replaced], _AFTER.get(record.target))
    lock.keep()
    return ledger.mark(client, entry, "done")


def align(client: Any, model: str, versions: Sequence[str], after: str | None = None) -> None:
    """Set tag and stage field of `versions` to what the aliases say; without an alias to `after`, else to what the tag says."""
    now = current_stages(client, model)
    for version in versions:
        if version not in now.tags:  # deleted meanwhile
            continue
        stage = now.stage_of(version)
        stage = after if after and stage not in ALIASES else stage
        client.set_model_version_tag(model, version, "stage", stage)
        set_field(client, model, version, stage)


def _set_aliases(client: Any, model: str, version: str, stage: str) -> None:
    """Give the version the alias `stage`, then take its others away, so that it never has none in between."""
    if stage in ALIASES:
        client.set_registered_model_alias(model, stage, version)
    for alias, holder in client.get_registered_model(model).aliases.items():
        if alias in ALIASES and alias != stage and str(holder) == version:
            client.delete_registered_model_alias(model, alias)


def set_field(client: Any, model: str, version: str, stage: str) -> None:
    """Set MLflow's own stage field, as long as MLflow has one."""
    transition = getattr(client, "transition_model_version_stage", None)
    if transition is None:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MLflow announces the removal; then no field has to be kept in step
        transition(model, version, _FIELD[stage])
