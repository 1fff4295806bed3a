"""The history as files beside those of the versions: one `record-NNNN.json` per record, with its text as it was signed."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.errors import RegistryError
from pipeline.promotion import ledger
from pipeline.promotion.ledger import ENDS, OUTCOME_SIGNATURE, SIGNATURE
from pipeline.promotion.record import Entry, State
from pipeline.tracking import backup, warn
from pipeline.tracking.lock import UNFINISHED
from pipeline.workspace import Workspace

_FILE = re.compile(r"record-([0-9]{4,6})\.json")


@backup.STRICT
@dataclass(frozen=True, kw_only=True)
class SavedRecord:
    """A record."""

    record: str  # canonical JSON, unchanged: digest, chain and signature are of this text
    state: State
    signature: str = ""
    outcome_signature: str = ""

    @classmethod
    def of(cls, entry: Entry) -> "SavedRecord":
        """Return what the store holds; the state as its run says, so that a chain that says another still does."""
        state = ENDS.get(entry.status) or entry.state
        text, of_outcome = entry.text or entry.record.text(), entry.tags.get(OUTCOME_SIGNATURE, "")
        return cls(record=text, state=state, signature=entry.tags.get(SIGNATURE, ""), outcome_signature=of_outcome)

    @property
    def entry(self) -> Entry:
        """The record, as it can be written to a store."""
        return Entry(ledger.parse(self.record), self.state, "", text=self.record)

    @property
    def digest(self) -> str:
        """SHA-256 of its text."""
        return hashlib.sha256(self.record.encode()).hexdigest()

    @property
    def signatures(self) -> Mapping[str, str]:
        """Its signatures, as tags of its run."""
        found = {SIGNATURE: self.signature, OUTCOME_SIGNATURE: self.outcome_signature}
        return {name: text for name, text in found.items() if text}


def read(workspace: Workspace, model: str) -> Mapping[int, SavedRecord]:
    """Return the records that have files, by number.

    Raises:
        RegistryError: one of them is no record of this model and number.
    """
    found = {}
    for path in sorted(backup.folder(workspace, model).glob("record-*.json")):
        if not (match := _FILE.fullmatch(path.name)):
            continue
        saved, number = backup.read_file(SavedRecord, path, workspace), int(match.group(1))
        try:
            record = ledger.parse(saved.record)
        except ValueError as error:
            raise backup.damaged(path, f"no record: {' '.join(ascii(str(error)).split())[:150]}", workspace) from None
        if (record.model, record.number) != (model, number):
            raise backup.damaged(path, f"it is about record {record.number} of another model or number", workspace)
        found[number] = saved
    return found


def stored(client: Any, model: str) -> Mapping[int, SavedRecord]:
    """Return the records in the store by number; of two with one number, the first."""
    found: dict[int, SavedRecord] = {}
    for entry in ledger.read(client, model).entries:
        found.setdefault(entry.record.number, SavedRecord.of(entry))
    return found


def save(client: Any, workspace: Workspace, model: str) -> None:
    """Write what the store says of model, versions and records; warn where that cannot be."""
    backup.save(client, workspace, model)
    try:
        now = backup.stored(client, model)
        if now.model is None or UNFINISHED in now.model.tags or not now.continues(backup.read(workspace, model)):
            return
        before = read(workspace, model)
        for number, record in stored(client, model).items():
            if number not in before or before[number].digest == record.digest:
                backup.write_if_new(backup.folder(workspace, model) / f"record-{number:04}.json", record)
    except (OSError, RegistryError) as error:
        warn(f"{workspace.shown(workspace.registry)} was not written: {error}")
