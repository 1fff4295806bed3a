"""What a store lacks of a registered model that has files, and where the two contradict each other; nothing is written here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.promotion import backup as records_backup
from pipeline.promotion import ledger, transitions
from pipeline.promotion.backup import SavedRecord
from pipeline.tracking import backup
from pipeline.tracking.backup import Registered, SavedModel, SavedVersion
from pipeline.tracking.lock import UNFINISHED
from pipeline.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be written, and what cannot be."""

    name: str  # of the registered model
    model: SavedModel
    is_new: bool  # whether the store has no such model
    versions: Sequence[SavedVersion]  # ascending
    of_other_runs: Sequence[SavedVersion]  # registered again after the store was lost; no record there speaks of their runs
    without_files: Sequence[SavedVersion]  # there, but an earlier sync had no files for them
    highest: int  # the number of a deleted version that no other may get; 0: none
    records: Sequence[SavedRecord]  # ascending
    aliases: Mapping[str, int]
    tags: Mapping[str, str]  # of the registered model
    conflicts: Sequence[str]
    unfinished: bool  # whether an earlier sync was cut off

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        lists = (self.versions, self.of_other_runs, self.without_files, self.records, self.aliases, self.tags)
        return not (self.unfinished or self.highest or any(lists))


def make(client: Any, workspace: Workspace, name: str) -> Plan:
    """Compare the files of a registered model with the store.

    Raises:
        RegistryError: a file is damaged; then none of that model is used.
    """
    saved, now = backup.read(workspace, name), backup.stored(client, name)
    if saved.model is None:
        raise backup.damaged(workspace.registry / name / "model.json", "it is missing", workspace)
    reached = max([*now.versions, now.last], default=0)
    missing = {n: v for n, v in saved.versions.items() if not v.deleted and n > reached}
    recorded = records_backup.stored(client, name)
    records, behind, clashes = _records(records_backup.read(workspace, name), recorded)
    again = [] if recorded else [each for n, each in saved.versions.items() if _is_again(each, now.versions.get(n))]
    versions = list(_conflicts(saved, now, reached))
    usable = {*missing, *now.versions} - {n for n, _ in versions}
    aliases, stolen = _aliases(saved.model, now, usable, behind or bool(clashes))
    tags = {} if now.model and now.model.tags.keys() - {UNFINISHED} else dict(saved.model.tags)
    tags |= _head(saved.model, ledger.head(client, name).number)
    if clashes:
        tags.pop(ledger.HEAD, None)
    highest = max(saved.versions, default=0)
    return Plan(
        name=name,
        model=saved.model,
        is_new=now.model is None,
        versions=list(missing.values()),
        of_other_runs=again,
        without_files=[each for n, each in saved.versions.items() if n in now.without_files and each.is_same(now.versions[n])],
        highest=highest if highest > max([reached, *missing]) else 0,
        records=records,
        aliases=aliases,
        tags=tags,
        conflicts=[f"{name}: {text}" for text in (*(text for _, text in versions), *clashes, *stolen)],
        unfinished=bool(now.model and UNFINISHED in now.model.tags),
    )


def _is_again(saved: SavedVersion, there: SavedVersion | None) -> bool:
    return there is not None and saved.is_same(there) and bool(saved.run_id) and saved.run_id != there.run_id


def _conflicts(saved: Registered, now: Registered, reached: int) -> list[tuple[int, str]]:
    found = []
    for number, each in saved.versions.items():
        there = now.versions.get(number)
        if each.deleted or number > reached or each.is_same(there):
            continue
        here = f"{each.tags.get('weights_digest', 'unknown')[:12]}"
        if there is None:
            text = f"version {number} (weights {here}) cannot be made again: its number was given there and deleted"
        else:
            other = there.tags.get("weights_digest", "unknown")[:12]
            text = f"version {number} is another model there: weights {other}, here {here}"
        found.append((number, text))
    return found


def _records(
    saved: Mapping[int, SavedRecord], there: Mapping[int, SavedRecord]
) -> tuple[Sequence[SavedRecord], bool, Sequence[str]]:
    """Return the records that the store lacks, whether it has later ones than the files, and those that differ."""
    clashes = [
        f"record {number} differs: {there[number].digest[:12]} there, {each.digest[:12]} here"
        for number, each in saved.items()
        if number in there and each.digest != there[number].digest
    ]
    missing = {number: each for number, each in saved.items() if number not in there}
    whole = {**saved, **there}
    for number in sorted(whole):
        after = whole.get(number + 1)
        if after is None or (number in missing) == (number + 1 in missing):
            continue
        if ledger.seal_before(after.entry).digest not in ("", whole[number].digest):
            clashes.append(f"record {number + 1} does not follow record {number}: one is there, the other here")
    later = bool(there) and max(there) > max(saved, default=0)
    return [] if clashes else [missing[number] for number in sorted(missing)], later, clashes


def _aliases(
    saved: SavedModel, now: Registered, usable: set[int], store_is_ahead: bool
) -> tuple[Mapping[str, int], Sequence[str]]:
    """Return the aliases that the store lacks, and those that point elsewhere; where it is ahead, its stages count."""
    there = now.model.aliases if now.model else {}
    wanted = {
        alias: number
        for alias, number in saved.aliases.items()
        if number in usable and not (store_is_ahead and alias in transitions.ALIASES)
    }
    lacking = {alias: number for alias, number in wanted.items() if alias not in there}
    stolen = [
        f"alias {alias} is version {there[alias]} there, version {number} here"
        for alias, number in wanted.items()
        if there.get(alias, number) != number
    ]
    return lacking, stolen


def _head(saved: SavedModel, number: int) -> Mapping[str, str]:
    text = saved.tags.get(ledger.HEAD, "")
    first = text.partition(" ")[0]
    return {ledger.HEAD: text} if first.isdecimal() and int(first[:15]) > number else {}
