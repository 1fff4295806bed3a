"""Moves between stages: what they leave, in what order, when killed in between, and when many move at once."""

from itertools import pairwise

import pytest

from pipeline.errors import RefusedError
from pipeline.promotion import ledger, lock, transitions
from tests.promotion.registry import MODEL, Registry, killed_at, process

FINISHED = ("new-alias", "alias", "stage", "archived")
UNDONE = ("intent", "tags")


def test_alias_tag_and_stage_field_agree_after_each_move(registry: Registry) -> None:
    registry.move("1", "staging")
    assert registry.shown() == {"1": ("staging",) * 3}
    registry.move("1", "production")
    registry.move("2", "staging")
    registry.move("3", "staging")  # 2 is replaced before it got any further
    assert registry.shown() == {"1": ("production",) * 3, "3": ("staging",) * 3}
    registry.move("3", "production")
    assert registry.shown() == {"1": ("archived",) * 3, "3": ("production",) * 3}
    registry.move("3", "archived", "archive")
    assert registry.shown() == {"1": ("archived",) * 3, "3": ("archived",) * 3}
    assert registry.client.get_registered_model(MODEL).aliases == {}
    assert registry.breaks() == []


def test_mlflow_without_stages_is_no_trouble(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(type(registry.client), "transition_model_version_stage")
    registry.move("1", "staging")
    assert registry.shown() == {"1": ("staging", "staging", "none")}


@pytest.mark.parametrize(
    ("source", "target", "legal"),
    [
        ("none", "production", "can go to staging or archived; to skip a step, add --force --reason TEXT"),
        ("archived", "production", "can go to staging; to skip a step"),
        ("production", "staging", "can go to archived, not to staging"),
        ("archived", "archived", "can go to staging, not to archived"),
    ],
)
def test_an_illegal_move_names_the_legal_ones(source: str, target: str, legal: str) -> None:
    with pytest.raises(RefusedError, match=f"version 7 is in {source}: from there it {legal}"):
        transitions.check_legal("7", source, target, forced=False)


def test_force_skips_steps_and_goes_no_other_way() -> None:
    transitions.check_legal("7", "none", "production", forced=True)
    with pytest.raises(RefusedError, match="can go to archived, not to staging"):
        transitions.check_legal("7", "production", "staging", forced=True)


@pytest.mark.slow
@pytest.mark.parametrize("point", [*UNDONE, *FINISHED, "locked", "done"])
def test_what_a_kill_left_the_next_writer_finishes_or_undoes(store: Registry, point: str) -> None:
    for version, target in (("1", "staging"), ("1", "production"), ("2", "staging")):
        store.move(version, target)
    killed_at(store, "2", point)
    assert lock.holder_of(store.client, store.model) is not None
    ends = {**dict.fromkeys(FINISHED, "done"), **dict.fromkeys(UNDONE, "undone")}
    assert store.recover() == ([ends[point]] if point in ends else [])
    moved = point in (*FINISHED, "done")
    after = {"1": ("archived",) * 3, "2": ("production",) * 3}
    assert store.shown() == (after if moved else {"1": ("production",) * 3, "2": ("staging",) * 3})
    assert store.breaks() == []
    assert lock.holder_of(store.client, store.model) is None
    assert ledger.in_production(store.entries())[-1] == ("2" if moved else "1")
    store.move("3", "staging")
    assert store.breaks() == []


@pytest.mark.slow
def test_eight_processes_at_once_leave_one_production_and_one_history(store: Registry) -> None:
    rivals = [process(store, str(number)) for number in range(1, 9)]
    try:
        done = 0
        for _ in range(20):
            for rival in rivals:
                assert rival.stdin is not None
                rival.stdin.write("go\n")
                rival.stdin.flush()
            answers = [rival.stdout.readline() for rival in rivals if rival.stdout]
            assert all(answer == "done\n" or "is being changed by" in answer for answer in answers), answers
            done += answers.count("done\n")
            assert "done\n" in answers
            assert len([True for _, tag, field in store.shown().values() if (tag, field) == ("production",) * 2]) == 1
            assert all(len(set(stage)) == 1 for stage in store.shown().values())
    finally:
        for rival in rivals:
            rival.communicate()
    entries = store.entries()
    assert len(entries) == done
    assert store.breaks() == []
    assert {entry.state for entry in entries} == {"done"}
    assert [after.record.before for _, after in pairwise(entries)] == [before.record.version for before, _ in pairwise(entries)]
    assert ledger.in_production(entries)[-1] == transitions.standing(store.client, store.model).aliases["production"]
