"""The run of a training: found by our id, or made again from the outputs; and what later stages add to it."""

import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline import dataset, provenance
from pipeline.errors import UnreachableError
from pipeline.process import Process
from pipeline.provenance import TrainingPlan, TrainingRecord
from pipeline.tracking import preview
from pipeline.tracking.models import log_model, logged_model
from pipeline.tracking.store import connect, experiment_id
from pipeline.workspace import Workspace

PROCESS = "process"  # the tag that says which process writes the run, so that one whose process died can be told
_BATCH = 500  # metrics per request; MLflow takes 1,000 entities
_LONGEST = 6000  # characters of a param; what is longer MLflow cuts in mid-word, with a warning


@dataclass(frozen=True)
class Published:
    """What a stage adds to the run of a training."""

    metrics: Mapping[str, float]  # MLflow metric name → value, of the model on the data set
    artifacts: Sequence[Path]  # files, as they lie on disk
    folder: str  # where they lie on the run
    description: str = ""  # Markdown, shown on top of the run; "" leaves what stands there
    tags: Mapping[str, str] = field(default_factory=dict)
    preview: Path | None = None  # a PNG, of twice as many pixels as it is shown in, below the description


def publish(workspace: Workspace, published: Published) -> None:
    """Adds `published` to the run of the training in models/; one warning where the store does not answer.

    Raises:
        TrackingError: the URI is malformed, or the experiment was deleted.
    """
    try:
        client = connect(workspace)
        publish_to(client, run_for(client, workspace), published)
    except UnreachableError as error:
        warn(f"{error}. The files are written; `dvc repro -s -f evaluate` publishes them later")


def warn(message: str) -> None:
    """One line on stderr."""
    print(f"warning: {message}", file=sys.stderr, flush=True)


def publish_to(client: Any, run_id: str, published: Published) -> None:
    """Adds `published` to the run `run_id`; of the metrics those that differ from what the run has."""
    run = client.get_run(run_id)
    new = {name: value for name, value in published.metrics.items() if run.data.metrics.get(name) != value}
    if new:
        _log_scores(client, run, new)
    for path in published.artifacts:
        client.log_artifact(run_id, str(path), published.folder)
    for name, value in {**published.tags, **_note(client, run_id, published)}.items():
        client.set_tag(run_id, name, value)


def _note(client: Any, run_id: str, published: Published) -> dict[str, str]:
    """The tag that MLflow shows as the run's description, with the preview below the words."""
    if not published.description:
        return {}
    picture = preview.show(client, run_id, published.preview, published.folder) if published.preview else ""
    return {"mlflow.note.content": f"{published.description}\n\n{picture}".rstrip()}


def _log_scores(client: Any, run: Any, metrics: Mapping[str, float]) -> None:
    """Metrics that MLflow shows on the run, on its logged model and by data set."""
    model = logged_model(client, run.info.experiment_id, run.info.run_id)
    data = run.inputs.dataset_inputs[0].dataset if run.inputs.dataset_inputs else None
    origin = {"dataset_name": data.name, "dataset_digest": data.digest} if data else {}
    log_metrics(client, run.info.run_id, metrics, model_id=model.model_id if model else None, **origin)


def run_for(client: Any, workspace: Workspace) -> str:
    """The id of the run of the training in models/; made again from the outputs if this store does not know it.

    Raises:
        MissingInputError: there is no training yet.
    """
    record = provenance.read_training(workspace.need(workspace.training, "train"))
    experiment = experiment_id(client, workspace, record.dataset_name)
    run_id = find_run(client, experiment, record.training_id)
    if run_id is None:
        run_id = create_run(client, experiment, record, workspace)
        log_history(client, run_id, workspace.history)
    finish_run(client, run_id, record, workspace)
    return run_id


def find_run(client: Any, experiment: str, training_id: str) -> str | None:
    """The id of the run with this tag, if the store has one that was not deleted."""
    runs = client.search_runs([experiment], f"tags.training_id = '{training_id}'", max_results=1)
    return str(runs[0].info.run_id) if runs else None


def create_run(client: Any, experiment: str, plan: TrainingPlan, workspace: Workspace) -> str:
    """Opens the run of a training: name, tags, params, data set, and the code it runs."""
    from mlflow.entities import Param

    name = f"{plan.architecture}-{plan.training_id[:8]}"
    run = client.create_run(experiment, start_time=plan.started_ms, tags=_tags(plan), run_name=name)
    run_id = str(run.info.run_id)
    client.log_batch(run_id, params=[Param(key, value) for key, value in logged_params(plan).items()])
    client.log_inputs(run_id, [_dataset_input(plan, workspace)])
    for file_name, text in _texts(plan):
        client.log_text(run_id, text, file_name)
    return run_id


def logged_params(plan: TrainingPlan) -> Mapping[str, str]:
    """The params of a training's run, name → value."""
    flat = {f"{section}.{key}": value for section, keys in plan.params.items() for key, value in keys.items()}
    flat |= {"threads_used": plan.threads, "parameters": plan.parameters}
    return {key: _cut(str(value)) for key, value in flat.items()}


def _cut(text: str) -> str:
    """`text` as a param can hold it; where it is cut, its end says where the whole stands."""
    if len(text) <= _LONGEST:
        return text
    end = f" … ({len(text):,} characters, all of them in provenance/training.json)"
    return text[: _LONGEST - len(end)] + end


def finish_run(client: Any, run_id: str, record: TrainingRecord, workspace: Workspace) -> None:
    """Completes the run of a finished training; does nothing where it is complete already.

    The status comes last: a run that says FINISHED has everything, so a kill half-way is mended by the next call.
    """
    if client.get_run(run_id).info.status == "FINISHED":
        return
    log_history(client, run_id, workspace.history)
    for path, folder in _training_files(workspace):
        if path.exists():  # a picture that was not pulled is no reason to lose the run
            client.log_artifact(run_id, str(path), folder)
    log_metrics(client, run_id, {"fit_seconds": record.fit_seconds}, record.finished_ms)
    client.set_tag(run_id, "weights_digest", record.weights_digest)
    log_model(client, run_id, record, workspace)
    client.set_terminated(run_id, "FINISHED", record.finished_ms)


def log_metrics(
    client: Any, run_id: str, metrics: Mapping[str, float], timestamp_ms: int | None = None, **origin: str | None
) -> None:
    """Logs values at step 0, at `timestamp_ms` (Unix time) or now; `origin` is the `Metric`'s model_id and data set."""
    import time

    from mlflow.entities import Metric

    when = int(time.time() * 1000) if timestamp_ms is None else timestamp_ms
    _send(client, run_id, [Metric(name, value, when, 0, **origin) for name, value in metrics.items()])


def log_history(client: Any, run_id: str, history: Path) -> None:
    """Replays history.csv with its own timestamps: what the store has already, it keeps once."""
    with history.open(encoding="utf-8", newline="") as file:
        _send(client, run_id, [metric for row in csv.DictReader(file) for metric in epoch_metrics(row)])


def epoch_metrics(row: Mapping[str, str]) -> Iterator[Any]:
    """The MLflow metrics of one row of history.csv."""
    from mlflow.entities import Metric

    for name, value in row.items():
        if name not in ("epoch", "timestamp_ms"):
            yield Metric(name, float(value), int(row["timestamp_ms"]), int(row["epoch"]))


def _send(client: Any, run_id: str, metrics: Sequence[Any]) -> None:
    for start in range(0, len(metrics), _BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + _BATCH])


def _tags(plan: TrainingPlan) -> dict[str, str]:
    tags = {
        "training_id": plan.training_id,
        PROCESS: Process.ours().text(),
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


def _dataset_input(plan: TrainingPlan, workspace: Workspace) -> Any:
    """The data set as MLflow shows it on a run; its digests hold 36 characters at most."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    shape = {"images": ["uint8", [-1, *plan.image_shape]], "labels": ["int32", [-1]], "classes": list(plan.class_names)}
    # As they are: a thousand long Chinese names in \u escapes would be more than the 1,048,575 characters that MLflow takes.
    schema = json.dumps(shape, ensure_ascii=False)
    profile = dataset.describe(workspace.dataset).counts if (workspace.dataset / "dataset.json").exists() else {}
    entry = Dataset(
        plan.dataset_name,
        plan.dataset_digest[:36],
        "local",
        json.dumps({"uri": workspace.shown(workspace.dataset)}),
        schema,
        json.dumps(profile),
    )
    return DatasetInput(entry, [InputTag("mlflow.data.context", "training")])


def _texts(plan: TrainingPlan) -> Iterator[tuple[str, str]]:
    """File name on the run, and its text."""
    yield "training/model_summary.txt", plan.model_summary
    yield "provenance/environment.json", json.dumps(dict(plan.environment), indent=2)
    if plan.git.diff:
        yield "provenance/changes.diff", plan.git.diff  # a tag would be cut at 8,000 characters
    if plan.git.untracked:
        yield "provenance/untracked_files.txt", "\n".join(plan.git.untracked)


def _training_files(workspace: Workspace) -> Iterator[tuple[Path, str]]:
    """File on disk, and its folder on the run."""
    yield workspace.history, "training"
    yield workspace.training, "provenance"
    yield workspace.params, "provenance"
    yield workspace.root / "dvc.lock", "provenance"  # with it, `verify` finds the data in DVC's cache or remote
    yield workspace.dataset / "dataset.json", "data"
    yield workspace.samples_png, "data"
    yield workspace.validation_html, "data"
    yield workspace.validation_json, "data"
    yield workspace.profile, "data"
