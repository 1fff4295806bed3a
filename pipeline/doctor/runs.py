"""Runs in state RUNNING whose process is dead, a lock that was left behind, and versions whose files were altered."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline import tracking
from pipeline.doctor.finding import Checked, Finding, Registry, counted
from pipeline.errors import RegistryError, SigningError
from pipeline.process import Process
from pipeline.promotion import ledger, signatures, transitions
from pipeline.promotion.transitions import CurrentStages
from pipeline.tracking import Source, lock
from pipeline.tracking.lock import Lock

_SILENT = timedelta(hours=1)  # a live training sends its system metrics every 5 seconds
# No automatic fix: intact files cannot be reconstructed, and which version replaces it is a person's decision.
_REMEDIES = {
    "production": "`python -m pipeline rollback` restores the previous production version",
    "staging": "`python -m pipeline archive {version}` takes it out of staging",
}


def check_lock(registry: Registry) -> Checked:
    """Find a lock that was left behind, or a registered model in its place.

    Raises:
        LockedError: somebody holds the lock, so that stages may be between two steps.
    """
    client, name = registry.client, lock.lock_name(registry.model)
    found = []
    if any("token" not in entry.tags for entry in client.search_registered_models(f"name = '{name}'")):
        problem = f"the registered model {name} has the name of the lock, and is not a lock"
        meaning = "promote did not create it, and no registry stage can change while it is there"
        found.append(Finding(problem, meaning, "no automatic fix: rename or delete it in the MLflow UI"))
    elif tags := lock.check_free(client, registry.model):
        problem = f"the lock {name} of {lock.describe(tags)} was left behind"
        meaning = "its process is dead, or was silent for too long; nothing waits for it: the next promotion takes it over"
        found.append(
            Finding(problem, meaning, "takes it over and deletes it", lambda _: None)
        )  # by holding the lock for all fixes
    return Checked("the lock", found)


def check(registry: Registry) -> Checked:
    """Check the runs of trainings and of promotions that are in state RUNNING."""
    trainings = _running(registry, registry.project.name)
    records = _running(registry, ledger.experiment_name(registry.model))
    found = [_training(registry, run) for run in trainings]
    found += [_record(registry, run) for run in records if run.data.tags.get("state") in ("done", "undone")]
    return Checked(f"{counted(len(trainings), 'run')} in state RUNNING", [each for each in found if each])


def _running(registry: Registry, experiment_name: str) -> Sequence[Any]:
    experiment = registry.client.get_experiment_by_name(experiment_name)
    if experiment is None:
        return []
    found: Sequence[Any] = registry.client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'")
    return found


def _training(registry: Registry, run: Any) -> Finding | None:
    process = Process.parse(run.data.tags.get(tracking.PROCESS, ""))
    if process and process.is_local:
        return _killed(registry, run, process) if process.is_dead and _is_unchanged(registry, run) else None
    last = _last_metric(registry, run)
    if datetime.now(UTC) - last < _SILENT:
        return None
    where = f"its process {process.pid} is on {process.host}" if process else "it does not record its process"
    return Finding(
        f"run {run.info.run_id} ({run.info.run_name}) is in state RUNNING, and its last metric is of {_format(last)}",
        f"it may have been killed; that cannot be checked here, because {where}",
        "no automatic fix: run doctor there; `dvc repro` where it was started resumes it; or delete it in the MLflow UI",
    )


def _killed(registry: Registry, run: Any, process: Process) -> Finding:
    last = _last_metric(registry, run)

    def fix(lock: Lock) -> None:
        lock.keep()
        if _is_unchanged(registry, run):
            registry.client.set_terminated(run.info.run_id, "KILLED", int(last.timestamp() * 1000))

    return Finding(
        f"run {run.info.run_id} ({run.info.run_name}) is in state RUNNING, and its process {process.pid} is dead",
        "it was killed; `dvc repro` resumes the training all the same",
        f"ends it as KILLED at {_format(last)}, the time of its last metric",
        fix,
    )


def _is_unchanged(registry: Registry, run: Any) -> bool:
    """Return False where the run ended meanwhile, or another process resumed it."""
    now = registry.client.get_run(run.info.run_id)
    same = now.data.tags.get(tracking.PROCESS) == run.data.tags.get(tracking.PROCESS)
    return same and str(now.info.status) == "RUNNING"


def _last_metric(registry: Registry, run: Any) -> datetime:
    """Return the time of its last metric, or of its start."""
    histories = (registry.client.get_metric_history(run.info.run_id, name) for name in run.data.metrics)
    times = [run.info.start_time, *(metric.timestamp for each in histories for metric in each)]
    return datetime.fromtimestamp(max(times) / 1000, UTC)


def _format(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def _record(registry: Registry, run: Any) -> Finding:
    def fix(lock: Lock) -> None:
        lock.keep()
        registry.client.set_terminated(run.info.run_id, "KILLED" if run.data.tags["state"] == "undone" else "FINISHED")

    return Finding(
        f"run {run.info.run_id} (record {run.info.run_name}) is in state RUNNING, and the move it records is over",
        "the process was killed just before it ended the run; the record itself is complete",
        "ends the run",
        fix,
    )


def check_versions(registry: Registry) -> Checked:
    """Find versions without a run: `mlflow gc` deletes it for good, and `sync` may know no training of a version."""
    entries = registry.client.search_model_versions(f"name = '{registry.model}'")
    found = [_version_without_run(registry.client, entry) for entry in sorted(entries, key=lambda entry: int(entry.version))]
    return Checked(f"the runs of {counted(len(entries), 'version')}", [each for each in found if each])


def _version_without_run(client: Any, entry: Any) -> Finding | None:
    from mlflow.exceptions import MlflowException

    run_id, run = entry.run_id, None
    try:
        run = client.get_run(run_id) if run_id else None
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
    if run is None:
        gone = f"its run {run_id} was deleted for good, as `mlflow gc` does" if run_id else "it has no run"
        return Finding(
            f"version {entry.version}: {gone}",
            "it has no evaluation either: compare, promote and verify refuse the version",
            "no automatic fix: delete the version in the MLflow UI; where it was trained, `dvc repro -s -f register` registers "
            "it again",
        )
    if run.info.lifecycle_stage == "active":
        return None

    def fix(lock: Lock) -> None:
        lock.keep()
        client.restore_run(run_id)

    return Finding(
        f"version {entry.version}: its run {run_id} is in MLflow's trash",
        "`mlflow gc` deletes it for good, and its evaluation with it",
        "restores the run",
        fix,
    )


def check_files(registry: Registry) -> Checked:
    """Fetch the files of each version and compare them with its manifest."""
    entries = registry.client.search_model_versions(f"name = '{registry.model}'")
    now = transitions.current_stages(registry.client, registry.model) if entries else CurrentStages({}, {})
    found = [_check_version(registry, entry, now) for entry in sorted(entries, key=lambda entry: int(entry.version))]
    return Checked(f"the files of {counted(len(entries), 'version')}", [each for each in found if each])


def _check_version(registry: Registry, entry: Any, now: CurrentStages) -> Finding | None:
    version = str(entry.version)
    stage = now.stage_of(version)
    name = f"version {version}" + (f" ({stage})" if stage in transitions.ALIASES else "")
    source = Source(name, entry.run_id or "", registry.model, version)
    remedy = _REMEDIES.get(stage, "it is not in use, so it can stay as it is").format(version=version)
    meaning = "promote, rollback and every command here refuse to load this version; other programs do not"
    try:
        with tracking.model_folder(registry.client, source):
            remedy, meaning = "use a version that is signed, or do what the problem says", "promote and rollback refuse it"
            signatures.check(registry.client, source, registry.project)
    except (RegistryError, SigningError) as error:
        return Finding(str(error), meaning, f"no automatic fix: {remedy}")
    return None
