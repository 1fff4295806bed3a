"""How long a stage waits for a store that is slow or hangs."""

import threading
import time
from collections.abc import Callable

import pytest
from mlflow.exceptions import MlflowException

from pipeline.errors import UnreachableError
from pipeline.params import TrackingParams
from pipeline.tracking import budget
from pipeline.tracking.budget import Budget, announced, within

URI = "http://me:SECRET@127.0.0.1:5000"
ROOMY = TrackingParams(seconds_per_epoch=60, seconds_per_stage=120)
SHORT = TrackingParams(seconds_per_epoch=0.05, seconds_per_stage=0.3)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "_NOTICE", 0.1)
    monkeypatch.setattr(budget, "_FREE", 0.0)


def test_calls_run_in_order_and_their_result_comes_back() -> None:
    done: list[int] = []
    budgeted = Budget(ROOMY, URI)
    for number in range(3):
        budgeted.begin(lambda number=number: done.append(number))  # type: ignore[misc]
    assert budgeted.finish(lambda: sum(done)) == 3
    budgeted.close()


def test_a_hanging_call_is_left_behind_and_the_wait_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    hanging = threading.Event()
    started = time.monotonic()
    message = r"^the tracking store http://127\.0\.0\.1:5000 is too slow, or hangs: this stage has waited 0\.3 s for it"
    with pytest.raises(UnreachableError, match=message):
        within(SHORT, URI, hanging.wait)
    assert time.monotonic() - started < 5
    hanging.set()
    assert capsys.readouterr().err == "waiting for the tracking store http://127.0.0.1:5000, at most 0.3 s in this stage\n"


def test_what_takes_longer_than_an_epoch_may_goes_on_beside_the_training() -> None:
    hanging, done = threading.Event(), threading.Event()
    budgeted = Budget(SHORT, URI)
    budgeted.begin(hanging.wait)
    budgeted.begin(done.set)
    assert not done.is_set()
    hanging.set()
    assert done.wait(5)
    assert budgeted.finish(lambda: "published") == "published"
    budgeted.close()


def test_epochs_together_wait_no_longer_than_the_stage_may() -> None:
    hanging, started = threading.Event(), time.monotonic()
    budgeted = Budget(SHORT, URI)
    for _ in range(200):
        budgeted.begin(hanging.wait)
    with pytest.raises(UnreachableError):
        budgeted.finish(hanging.wait)
    assert time.monotonic() - started < 5  # 200 epochs of 0.05 s are 10 s
    hanging.set()
    budgeted.close()


def fails(error: Exception) -> Callable[[], None]:
    def call() -> None:
        raise error

    return call


def test_a_failure_that_nobody_waited_for_is_raised_by_the_next_call_and_no_later_call_runs() -> None:
    hanging, done = threading.Event(), threading.Event()
    budgeted = Budget(SHORT, URI)
    budgeted.begin(hanging.wait)
    budgeted.begin(fails(MlflowException("gone")))
    hanging.set()
    with pytest.raises(UnreachableError, match=r"failed midway \(gone\)"):
        budgeted.finish(done.set)
    assert not done.is_set()
    budgeted.close()


def test_a_mistake_of_the_program_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        within(ROOMY, URI, fails(ZeroDivisionError()))


def test_a_command_says_what_it_waits_for(capsys: pytest.CaptureFixture[str]) -> None:
    with announced(URI):
        time.sleep(0.3)
    with announced(URI):
        pass
    assert capsys.readouterr().err == "waiting for the tracking store http://127.0.0.1:5000\n"
