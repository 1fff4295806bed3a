"""The run of a training in progress: started or resumed, one point per metric and epoch, ended with its true status.

A tracking store that does not answer never costs a training: after one warning, training continues without it, and evaluate
creates the run from the outputs later.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipeline.errors import UnreachableError
from pipeline.params import TrackingParams
from pipeline.process import Process
from pipeline.provenance import TrainingPlan
from pipeline.tracking.budget import Budget
from pipeline.tracking.content import Content, epoch_points
from pipeline.tracking.publishing import complete, send_points
from pipeline.tracking.runs import PARENT, PROCESS, find_or_create, project_run, warn
from pipeline.tracking.store import connect, lost_errors, tracking_uri
from pipeline.workspace import Workspace


class LiveRun:
    """The run of a training in progress; does nothing after the store failed.

    As a context manager it ends the run as FAILED after an exception, and as KILLED after Ctrl-C or SIGTERM.
    """

    def __init__(self, workspace: Workspace, plan: TrainingPlan, limits: TrackingParams) -> None:
        self._workspace = workspace
        self._monitor: Any = None
        self._client: Any = None
        self._run_id = ""
        self._lost = False
        lost_errors()  # the import of MLflow is no wait for the store
        self._budget = Budget(limits, tracking_uri(workspace))
        self._attempt(self._budget.begin, lambda: self._open(plan))

    def __enter__(self) -> "LiveRun":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        status = "" if kind is None else "KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED"
        self._attempt(self._budget.begin, lambda: self._end(status))
        self._budget.close()

    def log_epochs(self, rows: Sequence[Mapping[str, str]]) -> None:
        """Log rows of history.csv."""
        self._attempt(self._budget.begin, lambda: self._log(rows))

    def finish(self) -> None:
        """Complete the run from the outputs."""
        self._attempt(self._budget.finish, self._complete)

    def _open(self, plan: TrainingPlan) -> None:
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        client = self._client = connect(self._workspace, create=True)
        self._run_id = find_or_create(client, self._workspace, plan)
        client.set_tag(self._run_id, PROCESS, str(Process.current()))
        client.update_run(self._run_id, status="RUNNING")  # also where the training was interrupted
        described = self._workspace.dataset / "dataset.json"
        files = {"data/dataset.json": described} if described.exists() else {}
        complete(client, self._run_id, Content(plan=plan, files=files))
        parent = project_run(client)
        if parent:
            client.set_tag(self._run_id, PARENT, parent.info.run_id)
        self._monitor = SystemMetricsMonitor(self._run_id, sampling_interval=5, tracking_uri=tracking_uri(self._workspace))
        self._monitor.start()

    def _log(self, rows: Sequence[Mapping[str, str]]) -> None:
        send_points(self._client, self._run_id, [point for row in rows for point in epoch_points(row)])

    def _complete(self) -> None:
        self._stop_monitor()
        complete(self._client, self._run_id, Content.of_outputs(self._workspace))

    def _end(self, status: str) -> None:
        self._stop_monitor()
        if status:
            self._client.set_terminated(self._run_id, status)

    def _stop_monitor(self) -> None:
        if self._monitor is not None:
            self._monitor.finish()
            self._monitor = None

    def _attempt(self, within: Callable[[Callable[[], object]], object], step: Callable[[], object]) -> None:
        """Take `step` within the budget unless the store failed before; warn when it fails now."""
        if self._lost:
            return
        try:
            within(step)
        except UnreachableError as error:
            self._lost = True
            warn(f"{error}. Training continues without tracking; evaluate publishes the run once the store answers")
