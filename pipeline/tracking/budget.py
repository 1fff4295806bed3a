"""How long a stage waits for the tracking store: its calls run on a thread of their own, which is left behind when time is up.

A thread, because MLflow's requests have a time limit each but none together, a store of files or objects has none at all, and
Ctrl-C in the middle of a write would leave SQLite locked for the call that ends the run.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

from pipeline.environment import shown_url
from pipeline.errors import UnreachableError
from pipeline.params import TrackingParams
from pipeline.tracking.failures import explained, is_lost

_NOTICE = 5.0  # seconds until a wait is announced
_EVER = 1e6
_FREE = 1.0  # seconds of each wait that are not counted: a store that answers costs a long training nothing
_FAILED = ("failed midway", "run the command again once it answers; that completes what was started")


class Budget:
    """Runs calls to the store at `uri` one after the other, and waits for them no longer than `limits` allow.

    A stage that cannot do without the store has no limits: there, only MLflow's own end a request that hangs.
    """

    def __init__(self, limits: TrackingParams | None, uri: str) -> None:
        self._uri, self._store = uri, shown_url(uri)
        self._epoch, self._stage = (limits.seconds_per_epoch, limits.seconds_per_stage) if limits else (_EVER, _EVER)
        self._left, self._announced = self._stage, False
        self._calls: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    def close(self) -> None:
        """End the thread after the calls that it has."""
        self._calls.put(None)

    def finish(self, call: Callable[[], Any]) -> Any:
        """Run `call` after those before it, and return what it returns.

        Raises:
            UnreachableError: the store failed, or it takes longer than is left to the stage.
            Exception: what else it raised, or a call before it that nobody waited for.
        """
        done = self._wait(call, _EVER)
        if not done.done():
            raise UnreachableError(
                f"the tracking store {self._store} is too slow, or hangs: this stage has waited {self._stage:g} s for it "
                "(raise tracking.seconds_per_stage in params.yaml for a slow one)"
            )
        return done.result()

    def begin(self, call: Callable[[], Any]) -> None:
        """Run `call` after those before it; what takes longer than an epoch may wait goes on beside the training.

        Raises:
            UnreachableError: the store failed, in this call or in one before it that nobody waited for.
            Exception: what else such a call raised.
        """
        done = self._wait(call, self._epoch)
        if done.done():
            done.result()

    def _wait(self, call: Callable[[], Any], most: float) -> "Future[Any]":
        done: Future[Any] = Future()
        self._calls.put((call, done))
        started, seconds = time.monotonic(), max(0.0, min(most, self._left))
        wait([done], min(seconds, _NOTICE))
        if not done.done() and not self._announced and seconds > _NOTICE:
            self._announced = True
            _announce(self._store, f", at most {self._stage:g} s in this stage" if self._stage < _EVER else "")
        wait([done], seconds - (time.monotonic() - started))
        self._left -= max(0.0, time.monotonic() - started - _FREE)
        return done

    def _work(self) -> None:
        failure: Exception | None = None
        while item := self._calls.get():
            call, done = item
            try:
                if failure:
                    raise failure
                done.set_result(call())
            except Exception as error:  # noqa: BLE001  # raised where it is waited for
                failure = explained(self._uri, error, _FAILED) if is_lost(error) else error
                done.set_exception(failure)


def within(limits: TrackingParams | None, uri: str, call: Callable[[], Any]) -> Any:
    """Return what `call` returns, as `Budget.finish` does."""
    budget = Budget(limits, uri)
    try:
        return budget.finish(call)
    finally:
        budget.close()


@contextmanager
def announced(uri: str) -> Iterator[None]:
    """Print one line if the block takes longer than a few seconds; on a thread of a `Budget` that one does."""
    timer = threading.Timer(_NOTICE, _announce, [shown_url(uri)])
    if threading.current_thread() is threading.main_thread():
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _announce(store: str, limit: str = "") -> None:
    print(f"waiting for the tracking store {store}{limit}", file=sys.stderr, flush=True)
