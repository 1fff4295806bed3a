"""The run of a training: found by its training id or created again from the outputs, and what later stages add to it."""

import csv
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline import dataset, environment, provenance
from pipeline.dataset import SPLITS, SplitName
from pipeline.errors import UnreachableError
from pipeline.page import printable
from pipeline.params import TrackingParams
from pipeline.process import Process
from pipeline.provenance import GitState, TrainingPlan, TrainingRecord
from pipeline.tracking.budget import within
from pipeline.tracking.models import log_model, logged_model
from pipeline.tracking.store import connect, experiment_id, tracking_uri
from pipeline.tracking.views import log_preview
from pipeline.workspace import Workspace

PROCESS = "process"  # tag: the process that writes the run, so that a run whose process died can be recognised
PARENT = "mlflow.parentRunId"  # tag: the run that contains this one
_NOTE = "mlflow.note.content"  # tag: the run's description, Markdown
_CONTEXTS: Mapping[SplitName, str] = {"train": "training", "validation": "validation", "test": "testing"}  # MLflow's terms
_BATCH = 500  # metrics per request; MLflow takes 1,000 entities
_FILES = 5  # named in a message
_MAX_PARAM = 6000  # characters; MLflow cuts longer ones in mid-word, with a warning


@dataclass(frozen=True)
class Published:
    """What a stage adds to the run of a training."""

    metrics: Mapping[str, float]  # MLflow metric name → value
    artifacts: Sequence[Path]
    folder: str  # of the artifacts on the run
    description: str = ""  # Markdown, shown at the top of the run; "" keeps the current one
    tags: Mapping[str, str] = field(default_factory=dict)
    preview: Path | None = None  # a PNG at twice the size it is shown at, below the description


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


def publish(workspace: Workspace, published: Published, limits: TrackingParams) -> None:
    """Add `published` to the run of the training in models/; print one warning where the store does not answer.

    Raises:
        TrackingError: the URI is malformed, or the experiment was deleted.
    """

    def step() -> None:
        client = connect(workspace, create=True)
        publish_to(client, run_for(client, workspace), published)

    try:
        within(limits, tracking_uri(workspace), step)
    except UnreachableError as error:
        warn(f"{error}. The files are written; `dvc repro -s -f evaluate` publishes them later")


def publish_to(client: Any, run_id: str, published: Published) -> None:
    """Add `published` to the run `run_id`; of the metrics, those that differ from the run's."""
    run = client.get_run(run_id)
    new = {name: value for name, value in published.metrics.items() if run.data.metrics.get(name) != value}
    if new:
        model = logged_model(client, run.info.experiment_id, run_id)
        _log_metrics(client, run, new, int(time.time() * 1000), model_id=model.model_id if model else None)
    for path in published.artifacts:
        client.log_artifact(run_id, str(path), published.folder)
    tags = dict(published.tags)
    if published.description:
        image = log_preview(client, run_id, published.preview, published.folder) if published.preview else ""
        tags[_NOTE] = f"{published.description}\n\n{image}".rstrip()
    for name, value in tags.items():
        client.set_tag(run_id, name, value)
    update_project_run(client, run_id)


def published_run(workspace: Workspace) -> tuple[Any, str]:
    """Return a client and the id of the run of the training in models/, created or completed from the outputs.

    Raises:
        MissingInputError: there is no training yet.
        TrackingError: the store cannot be used or does not answer.
    """

    def step() -> tuple[Any, str]:
        client = connect(workspace, create=True)
        return client, run_for(client, workspace)

    found: tuple[Any, str] = within(None, tracking_uri(workspace), step)
    return found


def run_for(client: Any, workspace: Workspace) -> str:
    """Return the id of the run of the training in models/; create it from the outputs if this store does not have it.

    Raises:
        MissingInputError: there is no training yet.
    """
    record = provenance.read_training(workspace.need(workspace.training, "train"))
    experiment = experiment_id(client, workspace, record.dataset_name)
    run_id = ensure_run(client, experiment, record, workspace)
    finish_run(client, run_id, record, workspace)
    return run_id


def find_run(client: Any, experiment: str, training_id: str) -> str | None:
    """Return the id of the training's run, unless the store has none or it was deleted."""
    runs = _runs_of(client, experiment, training_id)
    return str(runs[0].info.run_id) if runs else None


def ensure_run(client: Any, experiment: str, plan: TrainingPlan, workspace: Workspace) -> str:
    """Return the id of the training's run; create it where the store has none, complete it where a kill left it half made."""
    run_id = find_run(client, experiment, plan.training_id) or _create_run(client, experiment, plan)
    run = client.get_run(run_id)
    if not run.data.params:  # they come last
        for file_name, text in _texts(plan):
            client.log_text(run_id, text, file_name)
        if not run.inputs.dataset_inputs:
            client.log_inputs(run_id, list(_dataset_inputs(plan, workspace)))
        _log_params(client, run_id, logged_params(plan))
    return run_id


def _create_run(client: Any, experiment: str, plan: TrainingPlan) -> str:
    """Create the run of a training; where there are more of it now, delete those that this process made, but for the first.

    MLflow's client repeats a request whose answer was lost, which makes a second run; another clone may have been quicker.
    """
    name = f"{plan.architecture}-{plan.training_id[:8]}"
    client.create_run(experiment, start_time=plan.started_ms, tags=_tags(plan), run_name=name)
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


def _log_params(client: Any, run_id: str, params: Mapping[str, str]) -> None:
    from mlflow.entities import Param

    client.log_batch(run_id, params=[Param(key, value) for key, value in params.items()])


def logged_params(plan: TrainingPlan) -> Mapping[str, str]:
    """Return the params of a training's run, name → value."""
    flat = {f"{section}.{key}": value for section, keys in plan.params.items() for key, value in keys.items()}
    flat |= {"threads_used": plan.threads, "parameters": plan.parameters}
    return {key: _cut(str(value)) for key, value in flat.items()}


def _cut(text: str) -> str:
    """Return `text` as a param can hold it; where it is cut, its end says where the whole is."""
    if len(text) <= _MAX_PARAM:
        return text
    end = f" … ({len(text):,} characters, all of them in provenance/training.json)"
    return text[: _MAX_PARAM - len(end)] + end


def finish_run(client: Any, run_id: str, record: TrainingRecord, workspace: Workspace) -> None:
    """Complete the run of a finished training, unless it is complete already.

    The status is written last: a FINISHED run has everything, and the next call completes one whose writer was killed.
    """
    run = client.get_run(run_id)
    if run.info.status == "FINISHED":
        return
    with workspace.history.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    log_epochs(client, run_id, rows)  # MLflow keeps equal points once
    for folder, paths in _training_files(workspace).items():
        for path in filter(Path.exists, paths):  # an output that was not pulled does not stop the rest
            client.log_artifact(run_id, str(path), folder)
    _log_metrics(client, run, {"fit_seconds": record.fit_seconds, "temperature": record.temperature}, record.finished_ms)
    client.set_tag(run_id, "weights_digest", record.weights_digest)
    model_id = log_model(client, run_id, record, workspace)
    last = {metric.key: metric.value for metric in epoch_metrics(rows[-1])}
    _log_metrics(client, run, last, int(rows[-1]["timestamp_ms"]), int(rows[-1]["epoch"]), model_id)
    client.set_terminated(run_id, "FINISHED", record.finished_ms)
    update_project_run(client, run_id)


def log_epochs(client: Any, run_id: str, rows: Sequence[Mapping[str, str]]) -> None:
    """Log rows of history.csv."""
    _send(client, run_id, [metric for row in rows for metric in epoch_metrics(row)])


def epoch_metrics(row: Mapping[str, str]) -> Iterator[Any]:
    """Yield the MLflow metrics of one row of history.csv, with its timestamp."""
    from mlflow.entities import Metric

    for name, value in row.items():
        if name not in ("epoch", "timestamp_ms"):
            yield Metric(name, float(value), int(row["timestamp_ms"]), int(row["epoch"]))


def _log_metrics(
    client: Any, run: Any, metrics: Mapping[str, float], timestamp_ms: int, step: int = 0, model_id: str | None = None
) -> None:
    """Log values on a training's run and, given `model_id`, on its logged model by the data set they were measured on."""
    from mlflow.entities import Metric

    def measured_on(name: str) -> Mapping[str, str]:
        split = name.partition("/")[0]
        tags = run.data.tags
        return _input_name(tags["dataset"], tags["dataset_digest"], split) if split in SPLITS else {}

    logged = [
        Metric(name, value, timestamp_ms, step, model_id=model_id, **measured_on(name)) for name, value in metrics.items()
    ]
    _send(client, run.info.run_id, logged)


def _send(client: Any, run_id: str, metrics: Sequence[Any]) -> None:
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
    from mlflow.entities import Metric

    project = project_run(client)
    if project is None:
        return
    run, known, now = client.get_run(run_id), project.data, int(time.time() * 1000)
    params = {key: value for key, value in run.data.params.items() if key not in known.params}
    _log_params(client, project.info.run_id, params)
    metrics = [
        Metric(name, value, now, 0)
        for name, value in run.data.metrics.items()
        if not name.startswith("system/") and known.metrics.get(name) != value
    ]
    _send(client, project.info.run_id, metrics)
    link = f"Training: [{run.info.run_name}](#/experiments/{run.info.experiment_id}/runs/{run_id})"
    result = run.data.tags.get(_NOTE, "").partition("\n")[0]
    tags = {name: run.data.tags[name] for name in ("weakest_class", "gate") if name in run.data.tags}
    for name, text in {_NOTE: f"{link}\n\n{result}".rstrip(), **tags}.items():
        client.set_tag(project.info.run_id, name, text)


def _tags(plan: TrainingPlan) -> dict[str, str]:
    tags = {
        "training_id": plan.training_id,
        PROCESS: str(Process.current()),
        "dataset": plan.dataset_name,
        "dataset_digest": plan.dataset_digest,
        "architecture": plan.architecture,
        "git_dirty": str(plan.git.dirty).lower(),
        "mlflow.user": provenance.user(),
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": "python -m pipeline train",
    }
    tags |= {f"warm_start.{name}": value for name, value in plan.warm_start.items()}
    if plan.git.commit:
        tags |= {"git_commit": plan.git.commit, "mlflow.source.git.commit": plan.git.commit}
    if plan.git.branch:
        tags["mlflow.source.git.branch"] = plan.git.branch
    return tags


def _dataset_inputs(plan: TrainingPlan, workspace: Workspace) -> Iterator[Any]:
    """Yield each split as MLflow shows data sets: schema of the arrays, number of images, classes, and its context."""
    import numpy as np
    from mlflow.data.schema import TensorDatasetSchema
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.types import Schema, TensorSpec

    images = Schema([TensorSpec(np.dtype(np.uint8), (-1, *plan.image_shape), "images")])
    labels = Schema([TensorSpec(np.dtype(np.int32), (-1,), "labels")])
    schema = json.dumps(TensorDatasetSchema(images, labels).to_dict())
    source = json.dumps({"uri": workspace.shown(workspace.dataset)})
    described = (workspace.dataset / "dataset.json").exists()
    counts = dataset.describe(workspace.dataset).counts if described else {}
    for split, context in _CONTEXTS.items():
        profile = {"images": counts.get(split), "image_shape": plan.image_shape, "classes": plan.class_names}
        identity = _input_name(plan.dataset_name, plan.dataset_digest, split)
        entry = Dataset(*identity.values(), "local", source, schema, json.dumps(profile, ensure_ascii=False))
        yield DatasetInput(entry, [InputTag("mlflow.data.context", context)])


def _input_name(dataset_name: str, dataset_digest: str, split: str) -> Mapping[str, str]:
    """Return what identifies a split among MLflow's data sets; their digests hold 36 characters at most."""
    return {"dataset_name": f"{dataset_name}-{split}", "dataset_digest": dataset_digest[:36]}


def _texts(plan: TrainingPlan) -> Iterator[tuple[str, str]]:
    """Yield file name on the run, and text."""
    yield "training/model_summary.txt", plan.model_summary
    yield "provenance/environment.json", json.dumps(dict(plan.environment), indent=2)
    if plan.params_file:
        yield "provenance/params.yaml", plan.params_file  # not today's file, which may have changed since
    if plan.git.diff:
        yield "provenance/changes.diff", plan.git.diff  # a tag would be cut at 8,000 characters
    if plan.git.untracked:
        yield "provenance/untracked_files.txt", "\n".join(plan.git.untracked)


def _training_files(workspace: Workspace) -> Mapping[str, Sequence[Path]]:
    """Return folder on the run → files on disk."""
    validation = (workspace.validation_html, workspace.validation_json, workspace.profile)
    return {
        "training": [workspace.history],
        # With dvc.lock, `verify` finds the data in DVC's cache or remote.
        "provenance": [workspace.training, workspace.root / "dvc.lock"],
        "data": [workspace.dataset / "dataset.json", workspace.samples_png, *validation],
    }
