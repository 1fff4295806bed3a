"""The history: what a record keeps, each defect that somebody can make by hand, and what was in production when."""

import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline import tracking
from pipeline.promotion import chain, ledger, timeline
from pipeline.promotion.ledger import HEAD, Stored
from pipeline.promotion.record import Entry, Kind, Record, Row, State
from pipeline.workspace import Workspace
from tests import stores
from tests.promotion.registry import MODEL, Registry


@pytest.fixture(scope="module")
def five_records(empty_registry: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database to copy: versions 1 and 2 to staging and production, then 1 back."""
    root = tmp_path_factory.mktemp("records")
    workspace = Workspace(root, root)
    stores.copy(empty_registry, workspace)
    registry = Registry(workspace, stores.connect(workspace))
    for version, target in (("1", "staging"), ("1", "production"), ("2", "staging"), ("2", "production")):
        registry.move(version, target)
    registry.move("1", "production", "rollback")
    assert [entry.state for entry in registry.entries()] == ["done"] * 5
    assert registry.problems() == []
    return workspace.database


@pytest.fixture
def written(five_records: Path, workspace: Workspace) -> Registry:
    stores.copy(five_records, workspace)
    return Registry(workspace, tracking.connect(workspace))


def entry(registry: Registry, number: int) -> Entry:
    return registry.entries()[number - 1]


def change(registry: Registry, number: int, /, **fields: Any) -> None:
    """Alters a record where it lies."""
    found = entry(registry, number)
    content = {**json.loads(found.record.text()), **fields}
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    registry.client.set_tag(found.run_id, "record.1", text)


def forge(registry: Registry, **changes: Any) -> None:
    """Appends a copy of record 5 by hand, well linked where `changes` do not say otherwise."""
    last = entry(registry, 5)
    content = {**json.loads(last.record.text()), "number": 6, "previous": last.seal, **changes}
    state = content.pop("state", "done")
    forged = Record(**{**content, "rows": tuple(Row(**row) for row in content["rows"])})
    tags = {**ledger.mirrors(Entry(forged, state, "")), "record.1": forged.text()}
    experiment = registry.client.get_run(last.run_id).info.experiment_id
    run = registry.client.create_run(experiment, tags=tags, run_name=tags["mlflow.runName"])
    if state == "done":
        registry.client.set_terminated(run.info.run_id)


def set_head(registry: Registry, text: str) -> None:
    registry.client.set_registered_model_tag(MODEL, HEAD, text)


def test_an_altered_field_is_found_wherever_it_is(written: Registry) -> None:
    for number in range(1, 5):
        kept = entry(written, number).record
        change(written, number, who="somebody else")
        assert written.problems() == [f"record {number} was altered: record {number + 1} holds a different digest of it"]
        change(written, number, who=kept.who)
    change(written, 5, reason="another")
    doubt = f"or the tag {HEAD} of the registered model, which holds a different digest of it"
    assert f"record 5 was altered, {doubt}" in written.problems()


def test_an_altered_gate_row_is_found(written: Registry) -> None:
    row = json.loads(entry(written, 2).record.text())["rows"][0]
    change(written, 2, rows=[{**row, "value": 0.99}])
    assert written.problems() == ["record 2 was altered: record 3 holds a different digest of it"]


def test_an_altered_link_accuses_its_own_record(written: Registry) -> None:
    change(written, 3, previous="0" * 64)
    assert written.problems() == [
        "record 2 was altered, or record 3, which holds a different digest of it",
        "record 3 was altered: record 4 holds a different digest of it",
    ]


def test_records_that_changed_places_are_found(written: Registry) -> None:
    second, third = entry(written, 2), entry(written, 3)
    for one, other in ((second, third), (third, second)):
        text = json.dumps({**json.loads(one.record.text()), "number": other.record.number})
        written.client.set_tag(one.run_id, "record.1", text)
    found = " · ".join(written.problems())
    assert "record 3 was altered: record 4 holds a different digest of it" in found
    assert "record 2 was altered, or record 3" in found


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([1], "record 1 is missing"),
        ([3], "record 3 is missing"),
        ([5], "record 5 is missing"),
        ([2, 3], "records 2 to 3 are missing"),
        ([4, 5], "records 4 to 5 are missing"),
        ([1, 2, 3, 4, 5], "records 1 to 5 are missing"),
    ],
)
def test_a_deleted_record_is_named_and_a_restored_one_makes_the_chain_whole(
    written: Registry, numbers: list[int], message: str
) -> None:
    runs = [entry(written, number).run_id for number in numbers]
    for run_id in runs:
        written.client.delete_run(run_id)
    listed = ", ".join(map(str, numbers))
    way_out = f"restore record {listed} in the MLflow UI (experiment {MODEL}-promotions, State: Deleted)"
    assert written.problems() == [message, way_out]
    for run_id in runs:
        written.client.restore_run(run_id)
    assert written.problems() == []


def test_the_next_record_covers_up_no_deleted_or_altered_one(written: Registry) -> None:
    run_id = entry(written, 5).run_id
    written.client.delete_run(run_id)
    assert written.move("3", "staging").record.number == 6
    assert written.problems()[0] == "record 5 is missing"
    written.client.restore_run(run_id)
    assert written.problems() == []
    change(written, 6, who="somebody else")
    written.move("3", "archived", "archive")
    assert "record 6 was altered: record 7 holds a different digest of it" in written.problems()


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        (
            "4 " + "0" * 64,
            "record 5 was added by hand, or the tag promotions of the registered model was altered (it counts 4)",
        ),
        (
            "5 " + "0" * 64,
            "record 5 was altered, or the tag promotions of the registered model, which holds a different digest of it",
        ),
        ("7 " + "0" * 64, "records 6 to 7 are missing"),
        ("999999999999 0", "records 6 to 999999999999 are missing"),
        ("nothing", "the registered model has lost its tag promotions, which holds number and digest of the last record"),
    ],
)
def test_an_edited_head_is_found(written: Registry, tag: str, message: str) -> None:
    set_head(written, tag)
    assert message in written.problems()


def test_a_head_that_was_deleted_is_found(written: Registry) -> None:
    written.client.delete_registered_model_tag(MODEL, HEAD)
    assert written.problems() == [
        "the registered model has lost its tag promotions, which holds number and digest of the last record"
    ]
    written.move("3", "staging")
    assert written.problems() == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "record 6 was added by hand, or the tag promotions of the registered model was altered (it counts 5)"),
        ({"state": "intent", "previous": "0" * 64}, "record 6 was added by hand, or the tag promotions"),
        ({"number": 8}, "record 8 was added by hand, or the tag promotions"),
        ({"number": 8}, "records 6 to 7 are missing"),
        ({"number": 3}, "two records have the number 3: the runs "),
        ({"number": 3}, "record 3 was altered: record 4 holds a different digest of it"),
    ],
)
def test_a_forged_record_is_found(written: Registry, changes: dict[str, Any], message: str) -> None:
    forge(written, **changes)
    assert message in " · ".join(written.problems())


@pytest.mark.parametrize("changes", [{"state": "intent"}, {"kind": "refusal"}])
def test_a_record_whose_writer_was_killed_before_it_set_the_head_is_no_problem(
    written: Registry, changes: dict[str, str]
) -> None:
    forge(written, **changes)
    assert written.problems() == []
    written.move("3", "staging")
    assert written.problems() == []


@pytest.mark.parametrize(
    ("tag", "value"), [("version", "2"), ("kind", ""), ("to", "staging"), ("state", "undone"), ("reason", "none of mine")]
)
def test_a_tag_that_differs_from_its_record_is_found(written: Registry, tag: str, value: str) -> None:
    written.client.set_tag(entry(written, 2).run_id, tag, value)
    assert written.problems() == [f"record 2 has an altered tag on its run: {tag}"]


@pytest.mark.parametrize(
    "fields",
    [
        {"number": "two"},
        {"kind": "gift"},
        {"when": "yesterday"},
        {"when": "2026-11-24T10:00"},
        {"when": "0001-01-01T00:00+14:00"},
        {"number": -1},
        {"rows": [{"rule": 1}]},
    ],
)
def test_a_record_that_is_damaged_is_one_line(written: Registry, fields: dict[str, Any]) -> None:
    run_id = entry(written, 2).run_id
    change(written, 2, **fields)
    (problem,) = written.problems()
    assert problem.startswith(f"record 2 cannot be read: run {run_id} is not a valid promotion record (")
    assert "\n" not in problem
    assert [entry.record.number for entry in written.entries()] == [1, 3, 4, 5]


def test_records_that_lack_newer_fields_keep_their_digests(written: Registry) -> None:
    """Record 5 as an older version of the pipeline wrote it."""
    last = entry(written, 5)
    newer = ("weights_digest", "run_id", "test_digest", "accuracy", "candidates")
    content = {name: value for name, value in json.loads(last.text).items() if name not in newer}
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    written.client.set_tag(last.run_id, "record.1", text)
    set_head(written, f"5 {hashlib.sha256(text.encode()).hexdigest()}")
    assert written.problems() == []
    assert (entry(written, 5).record.run_id, entry(written, 5).record.candidates) == ("", None)
    written.move("3", "staging")
    assert written.problems() == []


def test_recovery_of_an_older_record_leaves_the_head_where_it_is(written: Registry) -> None:
    written.client.set_tag(entry(written, 2).run_id, "state", "intent")
    written.recover()
    assert ledger.head(written.client, MODEL).number == 5


def test_a_reader_waits_for_a_writer_that_is_between_run_and_head(written: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    read: Callable[..., Stored] = ledger.read

    def while_another_writes(client: Any, model: str) -> Stored:
        monkeypatch.setattr(ledger, "read", read)
        found = read(client, model)
        written.move("3", "staging")
        return found

    monkeypatch.setattr(ledger, "read", while_another_writes)
    history = chain.check(written.client, written.workspace, MODEL)
    assert (len(history.entries), history.problems) == (6, [])


def test_a_long_record_comes_back_as_it_was_written(store: Registry) -> None:
    first = store.move("1", "staging")
    experiment = store.client.get_run(first.run_id).info.experiment_id
    row = Row(rule="accuracy", verdict="failed", value=0.5, comparison="≥", limit=0.9, detail="a|b" * 300)
    refused = record("refusal", "2", "staging", "production", model=store.model, reason="ü" * 9000, rows=(row,) * 50)
    long = ledger.append(store.client, experiment, store.entries(), refused, "done")
    assert store.entries()[-1] == long
    assert store.problems() == []


def record(kind: Kind, version: str, source: str, target: str, when: str = "", **fields: Any) -> Record:
    rest = {
        "who": "me",
        "model": MODEL,
        "replaced": None,
        "reason": "",
        "rows": (),
        "git_commit": None,
        "evidence": "",
        **fields,
    }
    return Record(kind=kind, version=version, source=source, target=target, when=when or ledger.now(), **rest)


def at(*moves: tuple[Record, State]) -> Sequence[Entry]:
    return [Entry(record, state, "") for record, state in moves]


def numbers(entries: Sequence[Entry], until: datetime | None = None) -> list[str | None]:
    return [version.number if version else None for version in timeline.production(entries, until)]


MOVES = at(
    (record("promote", "1", "staging", "production", "2026-01-01T10:00:00+00:00"), "done"),
    (record("promote", "2", "staging", "production", "2026-01-02T10:00:00+00:00"), "done"),
    (record("refusal", "3", "staging", "production", "2026-01-03T10:00:00+00:00"), "done"),
    (record("force", "3", "none", "production", "2026-01-04T10:00:00+00:00"), "undone"),
    (record("promote", "3", "staging", "production", "2026-01-05T10:00:00+00:00"), "done"),
    (record("rollback", "2", "archived", "production", "2026-01-06T10:00:00+00:00"), "done"),
    (record("rollback", "1", "archived", "production", "2026-01-07T10:00:00+00:00"), "done"),
    (record("archive", "1", "production", "archived", "2026-01-08T10:00:00+00:00"), "done"),
    (record("promote", "4", "staging", "production", "2026-01-09T10:00:00+00:00"), "intent"),
)


@pytest.mark.parametrize(
    ("time", "version"),
    [
        ("2025-12-31T23:59+00:00", None),
        ("2026-01-01T10:00+00:00", "1"),
        ("2026-01-02T10:30+01:00", "1"),
        ("2026-01-02T10:00+00:00", "2"),
        ("2026-01-04T12:00+00:00", "2"),
        ("2026-01-05T12:00+00:00", "3"),
        ("2026-01-06T12:00+00:00", "2"),
        ("2026-01-07T12:00+00:00", "1"),
        ("2026-01-08T12:00+00:00", None),
        ("2026-01-10T12:00+00:00", None),
    ],
)
def test_in_production_at_a_time(time: str, version: str | None) -> None:
    assert numbers(MOVES, datetime.fromisoformat(time))[-1] == version


def test_rollbacks_go_back_step_by_step() -> None:
    assert numbers(MOVES[:6]) == [None, "1", "2"]
    assert numbers(MOVES[:7]) == [None, "1"]


def test_the_order_of_the_records_counts_where_a_clock_was_ahead() -> None:
    ahead = at(
        (record("promote", "1", "staging", "production", "2026-01-01T10:05:00+00:00"), "done"),
        (record("promote", "2", "staging", "production", "2026-01-01T10:01:00+00:00"), "done"),
    )
    for minute in (2, 6):
        assert numbers(ahead, datetime.fromisoformat(f"2026-01-01T10:0{minute}+00:00"))[-1] == "2"
