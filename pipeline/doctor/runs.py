"""Runs that say RUNNING though their process is gone."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline import tracking
from pipeline.doctor.finding import Examined, Finding, Registry, counted
from pipeline.process import Process
from pipeline.promotion import ledger
from pipeline.promotion.lock import Lock

_SILENT = timedelta(hours=1)  # a training that lives sends its system metrics every 5 seconds


def examine(registry: Registry) -> Examined:
    """Looks at the runs of trainings and of promotions that say RUNNING."""
    trainings = _running(registry, registry.project.name)
    records = [run for run in _running(registry, ledger.experiment_name(registry.model)) if _has_ended(run)]
    found = [_training(registry, run) for run in trainings] + [_record(registry, run) for run in records]
    return Examined(f"{counted(len(trainings), 'run')} in state RUNNING", [each for each in found if each])


def _running(registry: Registry, experiment_name: str) -> Sequence[Any]:
    experiment = registry.client.get_experiment_by_name(experiment_name)
    if experiment is None:
        return []
    found: Sequence[Any] = registry.client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'")
    return found


def _training(registry: Registry, run: Any) -> Finding | None:
    process = Process.read(run.data.tags.get(tracking.PROCESS, ""))
    if process and process.is_here:
        return _killed(registry, run, process) if process.is_gone and _is_as_before(registry, run) else None
    heard = _last_heard(registry, run)
    if datetime.now(UTC) - heard < _SILENT:
        return None
    whose = f"its process {process.pid} is on {process.host}" if process else "it does not say which process it is of"
    return Finding(
        f"run {run.info.run_id} ({run.info.run_name}) says RUNNING, and was last heard of at {_said(heard)}",
        f"it may have been killed; that cannot be known here, because {whose}",
        "nothing: call doctor there; `dvc repro` where it was started takes it up again; or delete it in the MLflow UI",
    )


def _killed(registry: Registry, run: Any, process: Process) -> Finding:
    heard = _last_heard(registry, run)

    def mend(lock: Lock) -> None:
        lock.keep()
        if _is_as_before(registry, run):
            registry.client.set_terminated(run.info.run_id, "KILLED", int(heard.timestamp() * 1000))

    return Finding(
        f"run {run.info.run_id} ({run.info.run_name}) says RUNNING, and its process {process.pid} is gone",
        "it was killed and could not say so; `dvc repro` takes the training up again all the same",
        f"ends it as KILLED at {_said(heard)}, when it was last heard of",
        mend,
    )


def _is_as_before(registry: Registry, run: Any) -> bool:
    """False where the run ended meanwhile, or another process took it up."""
    now = registry.client.get_run(run.info.run_id)
    tags: tuple[str | None, ...] = tuple(each.data.tags.get(tracking.PROCESS) for each in (now, run))
    return len(set(tags)) == 1 and str(now.info.status) == "RUNNING"


def _last_heard(registry: Registry, run: Any) -> datetime:
    """The time of its last metric, or of its start."""
    histories = (registry.client.get_metric_history(run.info.run_id, name) for name in run.data.metrics)
    times = [run.info.start_time, *(metric.timestamp for each in histories for metric in each)]
    return datetime.fromtimestamp(max(times) / 1000, UTC)


def _said(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def _has_ended(run: Any) -> bool:
    """Whether the record says that the move is over, which is written just before its run ends."""
    return run.data.tags.get("state") in ("done", "undone")


def _record(registry: Registry, run: Any) -> Finding:
    def mend(lock: Lock) -> None:
        lock.keep()
        registry.client.set_terminated(run.info.run_id, "KILLED" if run.data.tags["state"] == "undone" else "FINISHED")

    return Finding(
        f"run {run.info.run_id} (record {run.info.run_name}) says RUNNING, and the move it records is over",
        "the process was killed as it wrote its last word; the record itself is whole",
        "ends the run",
        mend,
    )
