"""The files in registry/, which anybody may have written: what is not as it is written there is refused, with its name."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import RegistryError
from pipeline.promotion import backup as records
from pipeline.promotion.ledger import now
from pipeline.promotion.record import Record
from pipeline.tracking import backup
from pipeline.workspace import Workspace

MODEL = "toys-classifier"
VERSION: Mapping[str, Any] = {
    "version": 1,
    "run_id": "0" * 32,
    "model_id": "m-1",
    "created_ms": 5,
    "tags": {"weights_digest": "a"},
    "description": "",
    "deleted": False,
}
RECORD = Record(
    number=1,
    kind="promote",
    who="somebody",
    when=now(),
    model=MODEL,
    version="1",
    source="none",
    target="staging",
    replaced=None,
    reason="",
    rows=(),
    git_commit=None,
    evidence="",
).text()


def write(workspace: Workspace, name: str, content: Any) -> Path:
    path = workspace.registry / MODEL / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"version": 0},
        {"version": 10**9},
        {"run_id": "../../etc"},
        {"model_id": "*"},
        {"model_id": "m-1/../../.."},
        {"created_ms": -1},
        {"tags": {"a\nb": ""}},
        {"tags": {"a": "b" * 5001}},
        {"tags": []},
        {"unknown": 1},
        {"description": 3},
    ],
    ids=str,
)
def test_a_version_that_is_not_what_was_written_there_is_refused(workspace: Workspace, changes: Mapping[str, Any]) -> None:
    write(workspace, "version-1.json", VERSION)
    assert backup.read(workspace, MODEL).versions[1].tags == {"weights_digest": "a"}
    write(workspace, "version-1.json", {**VERSION, **changes})
    with pytest.raises(
        RegistryError, match=r"^registry/toys-classifier/version-1.json is not what was written there \(.*`git ch"
    ):
        backup.read(workspace, MODEL)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        RECORD.replace('"number":1', '"number":2'),
        RECORD.replace(MODEL, "other-classifier"),
        RECORD.replace('"kind":"promote"', '"kind":"steal"'),
        RECORD[:-1] + ',"extra":1}',
        "[" * 100_000,
    ],
    ids=["no record", "another number", "another model", "unknown kind", "unknown field", "deep"],
)
def test_a_record_that_is_none_of_this_model_and_number_is_refused(workspace: Workspace, text: str) -> None:
    write(workspace, "record-0001.json", {"record": RECORD, "state": "done"})
    assert records.read(workspace, MODEL)[1].entry.record.version == "1"
    write(workspace, "record-0001.json", {"record": text, "state": "done"})
    with pytest.raises(RegistryError, match=r"^registry/toys-classifier/record-0001.json is not what was written there"):
        records.read(workspace, MODEL)


def _merge_conflict(path: Path) -> None:
    path.write_text(f"<<<<<<< ours\n{path.read_text()}\n=======\n>>>>>>> theirs\n")


def _nothing(path: Path) -> None:
    path.write_bytes(b"")


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [_merge_conflict, _nothing, _folder])
def test_a_damaged_file_is_named(workspace: Workspace, damage: Callable[[Path], None]) -> None:
    damage(write(workspace, "model.json", {"aliases": {}, "tags": {}, "description": ""}))
    with pytest.raises(RegistryError, match=r"^registry/toys-classifier/model.json is not what was written there"):
        backup.read(workspace, MODEL)


def test_names_lead_nowhere_else(workspace: Workspace, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "model.json").write_text(json.dumps({"aliases": {}, "tags": {}, "description": ""}))
    write(workspace, "model.json", {"aliases": {}, "tags": {}, "description": ""})
    (workspace.registry / "Other Model-classifier").mkdir()
    (workspace.registry / "Other Model-classifier/model.json").touch()
    assert backup.models(workspace) == [MODEL]
    (workspace.registry / "linked-classifier").symlink_to(elsewhere)
    with pytest.raises(RegistryError, match=r"^registry/linked-classifier is a link"):
        backup.read(workspace, "linked-classifier")


def registered(*numbers: int, run_id: str = "0" * 32) -> backup.Registered:
    empty = backup.SavedModel(aliases={}, tags={}, description="")
    versions = {number: backup.SavedVersion(**{**VERSION, "version": number, "run_id": run_id}) for number in numbers}
    return backup.Registered(empty, versions)


def deleted(workspace: Workspace) -> list[int]:
    return [number for number, each in backup.read(workspace, MODEL).versions.items() if each.deleted]


def test_only_the_registry_that_the_files_are_of_says_that_a_version_was_deleted(workspace: Workspace) -> None:
    backup.write(registered(1, 2, 3), backup.Registered(), workspace, MODEL)
    same = backup.read(workspace, MODEL)
    for other in (registered(), registered(1, run_id="1" * 32)):  # a new store; the same training repeated in another clone
        backup.write(other, same, workspace, MODEL)
        assert deleted(workspace) == []
        assert backup.read(workspace, MODEL) == same
    backup.write(registered(1, 3), same, workspace, MODEL)
    assert deleted(workspace) == [2]
