"""The lock of a model's registry stages, on real stores and between real processes."""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest

from pipeline.errors import LockedError
from pipeline.process import Process
from pipeline.tracking import lock
from tests.promotion.registry import LOCKED, MODEL, Movers, Registry

NAME = f"{MODEL}-lock"
PAST = "2020-01-01T00:00:00+00:00"


@pytest.fixture(autouse=True)
def _settle_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_SETTLE", 0.3)


def names(client: Any) -> list[str]:
    return sorted(model.name for model in client.search_registered_models())


def test_the_second_learns_who_holds_it_and_release_leaves_nothing(client: Any) -> None:
    with lock.held(client, MODEL):
        message = rf"^{MODEL} is being changed by .+ on .+ \(process {os.getpid()}, since 2\d+-.+Z\): try again"
        with pytest.raises(LockedError, match=message), lock.held(client, MODEL):
            pass
        assert names(client) == [MODEL, NAME]
        assert len(client.search_model_versions(f"name = '{MODEL}'")) == 8
    assert names(client) == [MODEL]
    assert lock.read(client, MODEL) == {}


def dead_process() -> Process:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return replace(Process.current(), pid=process.pid)


def leave(client: Any, model: str = MODEL, **tags: str) -> None:
    """Leaves the lock of this process behind, as a kill would, with other tags."""
    lock._acquire(client, model)
    for name, value in tags.items():
        client.set_registered_model_tag(lock.lock_name(model), name, value)


EARLIER = replace(Process.current(), created=1.0)  # this pid was another process's then
ELSEWHERE = replace(Process.current(), host="elsewhere", pid=1)


@pytest.mark.parametrize(
    "tags",
    [
        lambda: {"process": str(dead_process())},
        lambda: {"process": str(EARLIER)},
        lambda: {"expires": PAST},
        lambda: {"expires": PAST, "process": str(ELSEWHERE)},
    ],
    ids=["dead", "pid reused", "expired", "expired elsewhere"],
)
def test_it_is_taken_over_when_its_owner_is_dead_or_its_time_is_up(client: Any, tags: Callable[[], dict[str, str]]) -> None:
    leave(client, **tags())
    with lock.held(client, MODEL) as held:
        found = lock.read(client, MODEL)
        assert found["token"] == held.token
        assert found["process"] == str(Process.current())
    assert names(client) == [MODEL]


@pytest.mark.parametrize("tags", [lambda: {"process": str(ELSEWHERE)}, dict], ids=["elsewhere", "alive"])
def test_an_owner_that_may_live_keeps_it(client: Any, tags: Callable[[], dict[str, str]]) -> None:
    leave(client, **tags())
    with pytest.raises(LockedError), lock.held(client, MODEL):
        pass


def test_of_eight_threads_that_take_it_over_at_once_one_gets_it(client: Any) -> None:
    for _ in range(3):
        leave(client, process=str(EARLIER))
        barrier = Barrier(8)

        def take(_: int, barrier: Barrier = barrier) -> lock.Lock | None:
            barrier.wait()
            try:
                return lock._acquire(client, MODEL)
            except LockedError:
                return None

        with ThreadPoolExecutor(8) as pool:
            taken = [found for found in pool.map(take, range(8)) if found]
        assert len(taken) == 1
        taken[0].keep()
        lock._delete(client, MODEL, taken[0].token)
        assert names(client) == [MODEL]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("store", "count"), [("registry", 6), pytest.param("server_registry", 3, marks=pytest.mark.exhaustive)], indirect=["store"]
)
def test_of_processes_that_take_it_over_at_once_one_gets_it(store: Registry, count: int, movers: Movers) -> None:
    leave(store.client, store.model, process=str(EARLIER))
    codes = movers.move(store, [str(number) for number in range(1, count + 1)])
    assert set(codes) <= {0, LOCKED}
    assert codes.count(0) == len(store.entries()) >= 1
    assert store.problems() == []
    assert lock.read(store.client, store.model) == {}


def test_a_taker_whose_new_lock_another_one_deleted_does_not_own_it(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(client, process=str(EARLIER))

    def other_taker(_: float) -> None:
        monkeypatch.setattr("time.sleep", lambda _: None)
        client.delete_registered_model(NAME)
        lock._acquire(client, MODEL)

    monkeypatch.setattr("time.sleep", other_taker)
    with pytest.raises(LockedError, match="is being changed by"):
        lock._acquire(client, MODEL)
    assert names(client) == [MODEL, NAME]


def test_who_lost_it_writes_no_more_and_releases_nothing(client: Any) -> None:
    slow = lock._acquire(client, MODEL)
    slow.keep()
    client.set_registered_model_tag(NAME, "expires", PAST)
    with lock.held(client, MODEL) as held:
        with pytest.raises(LockedError, match=r"was lost \(.+ has it now\)"):
            slow.keep()
        lock._delete(client, MODEL, slow.token)
        held.keep()
    with pytest.raises(LockedError, match=r"was lost \(it was deleted\)"):
        slow.keep()


def test_keeping_it_extends_its_time(client: Any) -> None:
    with lock.held(client, MODEL) as held:
        client.set_registered_model_tag(NAME, "expires", PAST)
        held.keep()
        assert lock.read(client, MODEL)["expires"] > PAST


@pytest.mark.parametrize("tags", [None, {"owner": "somebody"}])
def test_a_registered_model_of_that_name_that_is_no_lock_is_left_alone(client: Any, tags: dict[str, str] | None) -> None:
    client.create_registered_model(NAME, tags)
    with pytest.raises(LockedError, match="by another process"), lock.held(client, MODEL):
        pass
    assert names(client) == [MODEL, NAME]
