"""train: data/dataset → models/model.keras, models/training.json, reports/history.csv and one MLflow run."""

import io
import json
import time
import uuid
from pathlib import Path
from typing import Any

from pipeline import dataset, provenance, tracking
from pipeline.dataset import Dataset
from pipeline.errors import MissingInputError, PipelineError
from pipeline.params import TrainParams
from pipeline.provenance import TrainingPlan, TrainingRecord
from pipeline.train import architectures, checkpoint, machine, model_file, warm_start, whitening
from pipeline.train.checkpoint import Row
from pipeline.train.fit import fit, write_history
from pipeline.train.warm_start import Lineage
from pipeline.workspace import Workspace, replacing


def run(params: TrainParams, workspace: Workspace) -> None:
    """Trains on the validated data set; a training that was stopped goes on after its last finished epoch.

    Raises:
        MissingInputError: the data set is missing or has not passed validation.
        TrainingError: training cannot start or diverged.
        RegistryError: the version to start from cannot be had.
    """
    data = _validated_data(workspace)
    threads = machine.prepare(params)
    machine.warn_if_emulated(params)
    with machine.strategy().scope():
        _train(params, data, threads, workspace)


def _train(params: TrainParams, data: Dataset, threads: int, workspace: Workspace) -> None:
    model = architectures.build(params, data.description.image_shape, data.description.classes)
    whitening.measure(model, data.train.images, params.seed)
    origin = warm_start.take(model, params.warm_start, data.description, workspace) if params.warm_start else {}
    key = checkpoint.key(params, data.description.digest, threads, origin.get("weights_digest", ""))
    with checkpoint.held(workspace.checkpoints, key) as folder:
        plan = _plan_in(folder, model, data, threads, origin, workspace)
        print(
            f"{params.architecture}: {plan.parameters:,} parameters · {len(data.train):,} pictures · "
            f"{params.recipe.epochs} epoch{'s' * (params.recipe.epochs > 1)} of batch {params.recipe.batch_size} · "
            f"{threads} threads",
            flush=True,
        )
        with tracking.LiveRun(workspace, plan) as live:
            rows = fit(model, data, params, folder, live.log_epoch)
            record = _write(model, params, plan, rows, workspace)
            live.finish(record)
    print(f"trained in {record.fit_seconds:,.1f} s · {workspace.shown(workspace.model)} · weights {record.weights_digest[:12]}")


def _plan_in(folder: Path, model: Any, data: Dataset, threads: int, origin: Lineage, workspace: Workspace) -> TrainingPlan:
    """The plan of the training whose checkpoints lie in `folder`, so that it stays one run; a new one for a new training."""
    path = folder / "plan.json"
    try:
        return provenance.read_plan(path)
    except PipelineError:  # none yet, or damaged: then it is a new training with the old one's checkpoints
        plan = _plan(model, data, threads, origin, workspace)
        provenance.write(path, plan)
        return plan


def _validated_data(workspace: Workspace) -> Dataset:
    data = dataset.read(workspace.need(workspace.dataset, "ingest"))
    passed = json.loads(workspace.need(workspace.validated, "validate").read_text(encoding="utf-8"))
    if passed["dataset_digest"] != data.description.digest:
        raise MissingInputError(f"{workspace.shown(workspace.validated)} speaks of other data: run `dvc repro validate`")
    return data


def _plan(model: Any, data: Dataset, threads: int, origin: Lineage, workspace: Workspace) -> TrainingPlan:
    summary = io.StringIO()
    model.summary(print_fn=lambda line: print(line, file=summary))
    params = provenance.params_up_to_train(workspace)
    return TrainingPlan(
        training_id=str(uuid.uuid4()),
        dataset_name=data.description.name,
        dataset_digest=data.description.digest,
        image_shape=data.description.image_shape,
        class_names=data.description.class_names,
        architecture=str(params["train"]["architecture"]),
        parameters=sum(int(weight.value.shape.num_elements()) for weight in model.trainable_weights),
        params=params,
        threads=threads,
        warm_start=origin,
        started_ms=time.time_ns() // 1_000_000,
        git=provenance.git_state(workspace.root),
        environment=provenance.environment(),
        model_summary=summary.getvalue(),
    )


def _write(model: Any, params: TrainParams, plan: TrainingPlan, rows: list[Row], workspace: Workspace) -> TrainingRecord:
    """Writes the outputs; training.json comes last, so that it never speaks of a model that is not there."""
    network = architectures.build(params, plan.image_shape, len(plan.class_names), precision="float32")
    network.set_weights(model.get_weights())
    classifier = architectures.classifier(network, params.recipe.flip_averaging)
    with replacing(workspace.model) as aside:
        model_file.save(classifier, aside)
    with replacing(workspace.history) as aside:
        write_history(aside, rows)
    record = TrainingRecord(
        **vars(plan),
        weights_digest=provenance.weights_digest(classifier),
        finished_ms=int(rows[-1]["timestamp_ms"]),  # not now: this may be a finished training written again
        fit_seconds=round(sum(float(row["train/seconds"]) for row in rows), 3),
    )
    provenance.write(workspace.training, record)
    return record
