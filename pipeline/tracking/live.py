"""A run while its training goes on: opened or taken up again, one point per metric and epoch, ended truthfully.

A tracking store that does not answer never costs a training: one warning, then training goes on without it, and the run is
made from the outputs later.
"""

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pipeline.errors import UnreachableError
from pipeline.process import Process
from pipeline.provenance import TrainingPlan, TrainingRecord
from pipeline.tracking.runs import PROCESS, create_run, epoch_metrics, find_run, finish_run, warn
from pipeline.tracking.store import connect, experiment_id, lost_errors, tracking_uri
from pipeline.workspace import Workspace


class LiveRun:
    """The run of the training that is going on; silent where the store does not answer.

    Use it as a context manager: an exception ends the run as FAILED, Ctrl-C and SIGTERM as KILLED.
    """

    def __init__(self, workspace: Workspace, plan: TrainingPlan) -> None:
        self._workspace = workspace
        self._monitor: Any = None
        self._client: Any = None
        self._run_id = ""
        self._lost = False
        self._attempt(lambda: self._open(plan))

    def __enter__(self) -> "LiveRun":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stop_monitor()
        if kind is not None:
            status = "KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED"
            self._attempt(lambda: self._client.set_terminated(self._run_id, status))

    def log_epoch(self, row: Mapping[str, str]) -> None:
        """Logs one row of history.csv."""
        self._attempt(lambda: self._client.log_batch(self._run_id, metrics=list(epoch_metrics(row))))

    def finish(self, record: TrainingRecord) -> None:
        """Completes the run from the outputs."""
        self._stop_monitor()
        self._attempt(lambda: finish_run(self._client, self._run_id, record, self._workspace))

    def _open(self, plan: TrainingPlan) -> None:
        self._client = connect(self._workspace)
        experiment = experiment_id(self._client, self._workspace, plan.dataset_name)
        known = find_run(self._client, experiment, plan.training_id)
        if known:  # of a training that was stopped
            self._client.set_tag(known, PROCESS, Process.ours().text())
            self._client.update_run(known, status="RUNNING")
        self._run_id = known or create_run(self._client, experiment, plan, self._workspace)
        self._start_monitor()

    def _start_monitor(self) -> None:
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        self._monitor = SystemMetricsMonitor(self._run_id, sampling_interval=5, tracking_uri=tracking_uri(self._workspace))
        self._monitor.start()

    def _stop_monitor(self) -> None:
        if self._monitor is not None:
            self._monitor.finish()
            self._monitor = None

    def _attempt(self, step: Callable[[], object]) -> None:
        """Runs `step` unless the store was lost before; where it is lost now, says so once."""
        if self._lost:
            return
        gone: tuple[type[Exception], ...] = (UnreachableError, *lost_errors())
        try:
            with _uninterrupted():
                step()
        except gone as error:
            self._lost = True
            reason = " ".join(str(error).split())[:300]
            warn(f"{reason}. Training goes on without tracking; evaluate publishes the run once the store answers")


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Holds Ctrl-C and SIGTERM back until a write is done: half-way they leave SQLite locked for the one that ends the run."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    signals = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]
    handlers = {number: signal.signal(number, lambda number, _: came.append(number)) for number in signals}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt
