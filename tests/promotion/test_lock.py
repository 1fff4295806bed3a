"""The lock of a model's stages, on a real SQLite registry and between real processes."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from pipeline.errors import LockedError
from pipeline.promotion import lock
from tests.promotion.registry import MODEL, Registry

NAME = f"{MODEL}-lock"


def names(client: Any) -> list[str]:
    return sorted(model.name for model in client.search_registered_models())


def test_the_second_is_told_who_holds_it_and_release_leaves_nothing(client: Any) -> None:
    with lock.held(client, MODEL):
        message = rf"^{MODEL} is being changed by .+ on .+ \(process {os.getpid()}, since 2\d+-.+Z\): try again"
        with pytest.raises(LockedError, match=message), lock.held(client, MODEL):
            pass
        assert names(client) == [MODEL, NAME]
        assert len(client.search_model_versions(f"name = '{MODEL}'")) == 8
    assert names(client) == [MODEL]
    assert lock.holder_of(client, MODEL) is None


def dead_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def leave(client: Any, **tags: str) -> None:
    """Leaves the lock of this process behind, as a kill would, with other tags."""
    lock._take(client, MODEL)
    for name, value in tags.items():
        client.set_registered_model_tag(NAME, name, value)


@pytest.mark.parametrize(
    "tags",
    [
        {"pid": str(dead_process())},
        {"started": "1"},  # this pid was another process's then
        {"expires": "2020-01-01T00:00:00+00:00"},
        {"expires": "2020-01-01T00:00:00+00:00", "host": "elsewhere"},
    ],
)
def test_it_is_taken_over_when_its_holder_is_gone_or_its_time_is_up(client: Any, tags: dict[str, str]) -> None:
    leave(client, **tags)
    with lock.held(client, MODEL):
        holder = lock.holder_of(client, MODEL)
        assert holder is not None
        assert not holder.gone
    assert names(client) == [MODEL]


@pytest.mark.parametrize("tags", [{"host": "elsewhere", "pid": "1"}, {"processes": "another container's", "pid": "1"}, {}])
def test_a_holder_that_may_live_keeps_it(client: Any, tags: dict[str, str]) -> None:
    leave(client, **tags)
    with pytest.raises(LockedError), lock.held(client, MODEL):
        pass


def test_of_eight_takers_at_once_one_gets_it(client: Any) -> None:
    for _ in range(5):
        leave(client, started="1")
        barrier = Barrier(8)

        def take(_: int, barrier: Barrier = barrier) -> lock.Lock | None:
            barrier.wait()
            try:
                return lock._take(client, MODEL)
            except LockedError:
                return None

        with ThreadPoolExecutor(8) as pool:
            taken = [found for found in pool.map(take, range(8)) if found]
        assert len(taken) == 1
        taken[0].keep()
        taken[0].release()
        assert names(client) == [MODEL]


def test_a_lock_made_between_look_and_grasp_is_put_back(client: Any) -> None:
    leave(client)
    lock._remove(client, NAME, "token of the one before")
    assert names(client) == [MODEL, NAME]


def test_who_lost_it_writes_no_more_and_releases_nothing(client: Any) -> None:
    slow = lock._take(client, MODEL)
    slow.keep()
    client.set_registered_model_tag(NAME, "expires", "2020-01-01T00:00:00+00:00")
    with lock.held(client, MODEL) as held:
        with pytest.raises(LockedError, match=r"was lost \(.+ has it now\)"):
            slow.keep()
        slow.release()
        held.keep()
    with pytest.raises(LockedError, match=r"was lost \(it is gone\)"):
        slow.keep()


def test_a_registered_model_of_that_name_that_is_no_lock_is_left_alone(registry: Registry) -> None:
    registry.client.create_registered_model(NAME)
    with pytest.raises(LockedError, match="by another process"), lock.held(registry.client, MODEL):
        pass
