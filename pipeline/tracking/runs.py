"""The run of a training: found by its training id or created, and its result copied to the run of `mlflow run`."""

import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from pipeline import environment, provenance
from pipeline.page import printable
from pipeline.process import Process
from pipeline.provenance import GitState, TrainingPlan
from pipeline.tracking.content import NOTE, plan_tags
from pipeline.tracking.store import experiment_id
from pipeline.workspace import Workspace

PROCESS = "process"  # tag: the process that writes the run, so that a run whose process died can be recognised
PARENT = "mlflow.parentRunId"  # tag: the run that contains this one
_BATCH = 500  # metrics per request; MLflow takes 1,000 entities
_FILES = 5  # named in a message


def warn(message: str) -> None:
    """Print one line on stderr."""
    print(f"warning: {printable(environment.redacted(message))}", file=sys.stderr, flush=True)


def announce_changes(git: GitState) -> None:
    """Print which uncommitted changes are recorded, and warn of those that look like secrets."""
    files = Counter(change.file for change in provenance.changes(git.diff))
    if git.withheld:
        print("uncommitted changes are not recorded (train.record_diff: false): `verify` rebuilds the commit alone", flush=True)
    elif files:
        lines, names = files.total(), ", ".join(f"{printable(file)} ({count})" for file, count in files.most_common(_FILES))
        more = f" and {len(files) - _FILES} more" if len(files) > _FILES else ""
        print(f"recorded with the run: {lines:,} line{'s' * (lines > 1)} of uncommitted changes in {names}{more}", flush=True)
    for kind, change in provenance.secrets(git.diff):
        warn(
            f"{change.file} line {change.number} looks like {kind} and is recorded with the run: to keep it out, stop now, "
            "delete the run in the MLflow UI, and take it out of the file or set train.record_diff to false"
        )


def find_run(client: Any, experiment: str, training_id: str) -> str | None:
    """Return the id of the training's run, unless the store has none or it was deleted."""
    runs = _runs_of(client, experiment, training_id)
    return str(runs[0].info.run_id) if runs else None


def find_or_create(client: Any, workspace: Workspace, plan: TrainingPlan) -> str:
    """Return the id of the training's run, which is created where the store has none.

    Raises:
        TrackingError: the experiment was deleted.
    """
    experiment = experiment_id(client, workspace, plan.dataset_name)
    return find_run(client, experiment, plan.training_id) or _create_run(client, experiment, plan)


def _create_run(client: Any, experiment: str, plan: TrainingPlan) -> str:
    """Create the run of a training; where there are more of it now, delete those that this process made, but for the first.

    MLflow's client repeats a request whose answer was lost, which makes a second run; another clone may have been quicker.
    """
    name = f"{plan.architecture}-{plan.training_id[:8]}"
    tags = {**plan_tags(plan), "mlflow.user": provenance.user(), PROCESS: str(Process.current())}
    client.create_run(experiment, start_time=plan.started_ms, tags=tags, run_name=name)
    first, *others = _runs_of(client, experiment, plan.training_id)
    for run in others:
        if not run.data.params and run.data.tags.get(PROCESS) == str(Process.current()):
            client.delete_run(run.info.run_id)
            print(f"deleted the run {run.info.run_id}: the training has the run {first.info.run_id}", file=sys.stderr)
    return str(first.info.run_id)


def _runs_of(client: Any, experiment: str, training_id: str) -> list[Any]:
    """Return the runs of a training, in an order that every process finds: the most complete first."""
    runs = client.search_runs([experiment], f"tags.training_id = '{training_id}'")
    return sorted(runs, key=lambda run: (run.info.status != "FINISHED", not run.data.params, run.info.run_id))


def send(client: Any, run_id: str, metrics: Sequence[Any]) -> None:
    """Log metrics, as many in a request as MLflow takes."""
    for start in range(0, len(metrics), _BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + _BATCH])


def project_run(client: Any) -> Any | None:
    """Return the run of the `mlflow run` that started this process (`$MLFLOW_RUN_ID`), if this store has it."""
    from mlflow.exceptions import MlflowException

    run_id = os.environ.get("MLFLOW_RUN_ID")
    try:
        run = client.get_run(run_id) if run_id else None
    except MlflowException:
        return None
    return run if run and run.info.lifecycle_stage == "active" else None


def update_project_run(client: Any, run_id: str) -> None:
    """Copy a training's params, latest metrics and result to the run of `mlflow run`, if there is one, with a link."""
    from mlflow.entities import Metric, Param

    project = project_run(client)
    if project is None:
        return
    run, known, now = client.get_run(run_id), project.data, int(time.time() * 1000)
    params = [Param(key, value) for key, value in run.data.params.items() if key not in known.params]
    metrics = [
        Metric(name, value, now, 0)
        for name, value in run.data.metrics.items()
        if not name.startswith("system/") and known.metrics.get(name) != value
    ]
    client.log_batch(project.info.run_id, params=params)
    send(client, project.info.run_id, metrics)
    link = f"Training: [{run.info.run_name}](#/experiments/{run.info.experiment_id}/runs/{run_id})"
    result = run.data.tags.get(NOTE, "").partition("\n")[0]
    tags = {name: run.data.tags[name] for name in ("weakest_class", "gate") if name in run.data.tags}
    for name, text in {NOTE: f"{link}\n\n{result}".rstrip(), **tags}.items():
        client.set_tag(project.info.run_id, name, text)
