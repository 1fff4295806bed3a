"""The stages of a version, and the move from one to another, which a crash at any point leaves to be finished or undone.

The alias is the truth: `staging` and `production` are the versions with these aliases. The version's tag `stage` says the same,
and is the truth for `archived`, which has no alias. MLflow's own stage field follows, for its older pages and URIs.

    lock → intent recorded → tags → alias → stage field → the version before archived → record done
"""

import os
import signal
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pipeline.errors import RefusedError
from pipeline.promotion import ledger
from pipeline.promotion.lock import Lock
from pipeline.promotion.record import Entry, Record

Stage = Literal["none", "staging", "production", "archived"]
STAGES: tuple[Stage, ...] = get_args(Stage)
ALIASES: tuple[Stage, ...] = ("production", "staging")  # of a version with both, the first counts
LEGAL: Mapping[str, tuple[Stage, ...]] = {
    "none": ("staging", "archived"),
    "staging": ("production", "archived"),
    "production": ("archived",),
    "archived": ("staging",),
}
SKIPS = {("none", "production"), ("archived", "production")}  # with --force
_FIELD = {"none": "None", "staging": "Staging", "production": "Production", "archived": "Archived"}
_LEFT: Mapping[str, Stage] = {"staging": "none", "production": "archived"}  # where a version goes that another one replaces


@dataclass(frozen=True)
class Standing:
    """Who is where, by the aliases."""

    aliases: Mapping[str, str]  # alias → version
    tags: Mapping[str, str]  # version → its tag `stage`

    def stage_of(self, version: str) -> str:
        """The stage of a version that exists."""
        for alias in ALIASES:
            if self.aliases.get(alias) == version:
                return alias
        return "archived" if self.tags.get(version) == "archived" else "none"


def standing(client: Any, model: str) -> Standing:
    """Who is where now.

    Raises:
        MlflowException: there is no such model.
    """
    aliases = {alias: str(version) for alias, version in client.get_registered_model(model).aliases.items()}
    found = client.search_model_versions(f"name = '{model}'")
    return Standing(aliases, {str(entry.version): entry.tags.get("stage", "none") for entry in found})


def check_legal(version: str, source: str, target: str, forced: bool) -> None:
    """Stops a move that the order of the stages does not allow.

    Raises:
        RefusedError: with the moves that are legal.
    """
    if target in LEGAL[source]:
        return
    legal = " or ".join(LEGAL[source])
    if (source, target) not in SKIPS:
        raise RefusedError(f"version {version} is in {source}: from there it can go to {legal}, not to {target}")
    if not forced:
        raise RefusedError(
            f"version {version} is in {source}: from there it can go to {legal}; to skip a step, add --force --reason TEXT"
        )


def move(client: Any, lock: Lock, experiment: str, known: Sequence[Entry], record: Record) -> Entry:
    """Records the intent, carries it out and records that it is done; `record` is a move that was checked."""
    _stop("locked")
    lock.keep()
    entry = ledger.append(client, experiment, known, record, "intent")
    _stop("intent")
    return _carry_out(client, lock, entry)


def recover(client: Any, lock: Lock, known: Sequence[Entry]) -> Sequence[Entry]:
    """Finishes each move that was cut short after its alias was set, undoes each that was cut short before.

    Returns:
        What was mended, with its new state.
    """
    return [_recovered(client, lock, entry) for entry in known if entry.state == "intent"]


def _recovered(client: Any, lock: Lock, entry: Entry) -> Entry:
    record = entry.record
    now = standing(client, record.model)
    if record.version in now.tags and now.stage_of(record.version) == record.target:
        return _carry_out(client, lock, entry)
    lock.keep()
    agree(client, record.model, [record.version])
    return ledger.mark(client, entry, "undone")


def _carry_out(client: Any, lock: Lock, entry: Entry) -> Entry:
    """The steps after the intent; each may have been done before."""
    record = entry.record
    model, version = record.model, record.version
    lock.keep()
    _tag(client, model, version, record.target)
    _stop("tags")
    lock.keep()
    _set_aliases(client, model, version, record.target)
    _stop("alias")
    _set_field(client, model, version, record.target)
    _stop("stage")
    lock.keep()
    if record.before:
        agree(client, model, [record.before], _LEFT.get(record.target))
    _stop("archived")
    lock.keep()
    done = ledger.mark(client, entry, "done")
    _stop("done")
    return done


def agree(client: Any, model: str, versions: Sequence[str], left: str | None = None) -> None:
    """Makes tag and stage field of `versions` say what the aliases say; without an alias they get `left`, or keep their tag."""
    now = standing(client, model)
    for version in versions:
        if version not in now.tags:  # deleted meanwhile
            continue
        stage = now.stage_of(version)
        stage = left if left and stage not in ALIASES else stage
        _tag(client, model, version, stage)
        _set_field(client, model, version, stage)


def _tag(client: Any, model: str, version: str, stage: str) -> None:
    client.set_model_version_tag(model, version, "stage", stage)


def _set_aliases(client: Any, model: str, version: str, stage: str) -> None:
    """The alias `stage` on the version, and no other of ours: first the new one, so that it never has none in between."""
    if stage in ALIASES:
        client.set_registered_model_alias(model, stage, version)
        _stop("new-alias")
    for alias, holder in client.get_registered_model(model).aliases.items():
        if alias in ALIASES and alias != stage and str(holder) == version:
            client.delete_registered_model_alias(model, alias)


def _set_field(client: Any, model: str, version: str, stage: str) -> None:
    """MLflow's own stage field, as long as MLflow has it."""
    transition = getattr(client, "transition_model_version_stage", None)
    if transition is None:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # it says that stages will go; then nothing is left to keep in step
        transition(model, version, _FIELD[stage])


def _stop(point: str) -> None:
    """Kills this process where PIPELINE_FAULT names the point; for tests of what a crash leaves."""
    if os.environ.get("PIPELINE_FAULT") == point:
        os.kill(os.getpid(), signal.SIGKILL)
