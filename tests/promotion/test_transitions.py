"""Moves between stages: what they leave, in what order, when killed in between, and when many move at once."""

import re
from itertools import pairwise

import pytest

from pipeline.errors import RefusedError
from pipeline.promotion import transitions
from pipeline.tracking import lock
from tests.promotion.registry import COMPLETED, LOCKED, MODEL, POINTS, REVERTED, WRITES, Movers, Registry, on_each_write


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
    assert registry.problems() == []


def test_mlflow_without_stages_is_no_trouble(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(type(registry.client), "transition_model_version_stage")
    registry.move("1", "staging")
    assert registry.shown() == {"1": ("staging", "staging", "none")}


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (
            "none",
            "production",
            "version 7 has no stage yet; it can be promoted to staging or archived (add --force --reason TEXT to skip a step)",
        ),
        ("archived", "production", "version 7 is archived; it can be promoted to staging (add --force --reason TEXT to skip"),
        ("production", "staging", "version 7 is in production; it can be archived (not promoted to staging)"),
    ],
)
def test_a_move_that_is_not_allowed_names_the_allowed_ones(source: str, target: str, message: str) -> None:
    with pytest.raises(RefusedError, match=re.escape(message)):
        transitions.check_allowed("7", source, target, forced=False)


def test_force_skips_steps_and_goes_no_other_way() -> None:
    transitions.check_allowed("7", "none", "production", forced=True)
    with pytest.raises(RefusedError, match=r"it can be archived \(not promoted to staging\)"):
        transitions.check_allowed("7", "production", "staging", forced=True)


def place_first_and_second(registry: Registry) -> None:
    for version, target in (("1", "staging"), ("1", "production"), ("2", "staging")):
        registry.move(version, target)


def test_a_move_makes_these_writes_and_can_be_killed_after_each(registry: Registry) -> None:
    place_first_and_second(registry)
    written: list[str] = []
    on_each_write(registry.client, written.append)
    registry.move("2", "production")
    assert written == list(WRITES.values())


ON_SQLITE = [("registry", point) for point in POINTS]
ON_SERVER = [pytest.param("server_registry", point, marks=pytest.mark.exhaustive) for point in POINTS]


@pytest.mark.slow
@pytest.mark.parametrize(("store", "point"), [*ON_SQLITE, *ON_SERVER], indirect=["store"])
def test_a_killed_move_is_completed_or_reverted_by_the_next_writer(store: Registry, point: str, movers: Movers) -> None:
    place_first_and_second(store)
    movers.kill(store, "2", point)
    assert bool(lock.read(store.client, store.model)) == (point != "unlock")
    ends = {**dict.fromkeys(COMPLETED, "done"), **dict.fromkeys(REVERTED, "undone")}
    assert store.recover() == ([ends[point]] if point in ends else [])
    moved = point not in ("lock", *REVERTED)
    after = {"1": ("archived",) * 3, "2": ("production",) * 3}
    assert store.shown() == (after if moved else {"1": ("production",) * 3, "2": ("staging",) * 3})
    assert store.problems() == []
    assert lock.read(store.client, store.model) == {}
    assert store.in_production()[-1] == ("2" if moved else "1")
    store.move("3", "staging")
    assert store.problems() == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("store", "count", "rounds"),
    [
        ("registry", 8, 3),
        pytest.param("server_registry", 3, 2, marks=pytest.mark.exhaustive),
        pytest.param("registry", 8, 20, marks=pytest.mark.exhaustive),
        pytest.param("server_registry", 8, 20, marks=pytest.mark.exhaustive),
    ],
    indirect=["store"],
)
def test_of_processes_at_once_one_at_a_time_changes_the_stages(
    store: Registry, count: int, rounds: int, movers: Movers
) -> None:
    versions = [str(number) for number in range(1, count + 1)]
    done = 0
    for _ in range(rounds):
        codes = movers.move(store, versions)
        assert set(codes) <= {0, LOCKED}
        assert 0 in codes
        done += codes.count(0)
        shown = list(store.shown().values())
        assert shown.count(("production",) * 3) == 1
        assert all(len(set(stage)) == 1 for stage in shown)
    entries = store.entries()
    assert len(entries) == done
    assert store.problems() == []
    assert {entry.state for entry in entries} == {"done"}
    assert [after.record.replaced for _, after in pairwise(entries)] == [
        before.record.version for before, _ in pairwise(entries)
    ]
    assert store.in_production()[-1] == transitions.current_stages(store.client, store.model).aliases["production"]
