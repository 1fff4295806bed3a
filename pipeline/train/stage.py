"""train: data/dataset → model.keras, training.json and training_images.npy in models/, reports/history.csv, one MLflow run."""

import io
import json
import math
import sys
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import dataset, provenance, tracking
from pipeline.dataset import Dataset
from pipeline.errors import MissingInputError, PipelineError
from pipeline.params import Params, TrainParams
from pipeline.provenance import TrainingPlan, TrainingRecord, Value
from pipeline.train import architectures, calibration, checkpoint, machine, warm_start
from pipeline.train.checkpoint import Row
from pipeline.train.fit import fit
from pipeline.train.recipe import adapted, recipe_of, settings_of
from pipeline.train.warm_start import Lineage
from pipeline.workspace import Workspace, replacing


def run(params: Params, workspace: Workspace) -> None:
    """Train on the validated data set; an interrupted training resumes after the epoch of its last checkpoint.

    Raises:
        MissingInputError: the data set is missing or has not passed validation.
        TrainingError: training cannot start or diverged.
        RegistryError: the version to start from is not available.
        TrackingError: the tracking store was moved or copied, or its address is malformed.
    """
    tracking.check_place(workspace)
    data = _validated_data(workspace)
    threads = machine.prepare(params.train)
    machine.warn_if_slow(params.train)
    with machine.strategy().scope():
        _train(params, data, threads, workspace)


def _validated_data(workspace: Workspace) -> Dataset:
    data = dataset.read_checked(workspace.need(workspace.dataset, "ingest"))
    passed = json.loads(workspace.need(workspace.validated, "validate").read_text(encoding="utf-8"))
    if passed["dataset_digest"] != data.description.digest:
        raise MissingInputError(
            f"{workspace.shown(workspace.validated)} belongs to a different data set: run `dvc repro validate`"
        )
    return data


def _train(params: Params, data: Dataset, threads: int, workspace: Workspace) -> None:
    train = adapted(params.train, data.description)
    model = architectures.build(train, data.description.image_shape, data.description.classes)
    architectures.whiten(model, data.train.images, train.seed)
    origin, images = _start_weights(model, train.warm_start, data, workspace)
    key = checkpoint.key(train, data.description.digest, threads, origin.get("weights_digest", ""))
    with checkpoint.locked(workspace.checkpoints, key, train.keep_checkpoints) as folder:
        plan = _plan(model, data, replace(params, train=train), threads, origin, workspace)
        plan = _stored(folder / "plan.json", plan, train.record_diff)
        tracking.announce_changes(plan.git)
        _print_start(plan, params.train, train, len(data.train))
        with tracking.LiveRun(workspace, plan, params.tracking) as live:
            rows = fit(model, data, train, folder, live.log_epochs)
            record = _write(model, train, data, images, plan, rows, workspace)
            live.finish()
        checkpoint.finish(folder)
    _warn_if_useless(rows[-1], data, train)
    print(f"trained in {record.fit_seconds:,.1f} s · {workspace.shown(workspace.model)} · weights {record.weights_digest[:12]}")


def _start_weights(model: Any, wanted: str, data: Dataset, workspace: Workspace) -> tuple[Lineage, NDArray[np.uint64]]:
    """Load the weights of the version `wanted`, if any; return where they come from, and the images the model then knows.

    A version that was trained under another `ingest.seed` has seen test images of `data`, and what starts from it knows them.
    """
    own = dataset.trained_on(data)
    if not wanted:
        return {}, own
    origin, before = warm_start.load(model, wanted, data.description, workspace)
    if seen := int(np.count_nonzero(~dataset.unseen(data, before))):
        tracking.warn(
            f"version {origin['version']} of {origin['model_name']} was trained on {seen:,} of the {len(data.test):,} test "
            'images: `register` will refuse what starts from it; set train.warm_start to another version or ""'
        )
    return origin, np.union1d(own, before)


def _print_start(plan: TrainingPlan, wanted: TrainParams, train: TrainParams, images: int) -> None:
    """Print Keras' table of the layers, without the lines between them, and the size of the training."""
    print("\n".join(line for line in plan.model_summary.splitlines() if line.strip() and not line.startswith("├")))
    recipe, given = recipe_of(train), recipe_of(wanted)
    steps = recipe.epochs * (images // recipe.batch_size)
    size = f"batch {recipe.batch_size}, {recipe.epochs} epoch{'s' * (recipe.epochs > 1)}, {steps:,} steps"
    threads = f"{plan.threads} thread{'s' * (plan.threads > 1)}"
    print(f"{train.architecture}: {images:,} images · {size} · {threads}", flush=True)
    if recipe != given:
        now, before = recipe.model_dump(), given.model_dump()
        changes = [f"{key} {_short(before[key])} → {_short(now[key])}" for key in now if now[key] != before[key]]
        print(f"recipe adapted to few images (train.small_data): {', '.join(changes)}", flush=True)


def _short(value: float) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"


def _stored(path: Path, plan: TrainingPlan, record_diff: bool) -> TrainingPlan:
    """Return the plan that an interrupted training left at `path`, so that it stays one run; else write `plan` there.

    One that is damaged, or holds changes that are not to be recorded, counts as none: then it is a new training with the old
    one's checkpoints.
    """
    with suppress(PipelineError):
        stored = provenance.read(TrainingPlan, path)
        if not stored.git.diff or (record_diff and not any(provenance.secrets(stored.git.diff))):
            return stored
    provenance.write(path, plan)
    return plan


def _plan(model: Any, data: Dataset, params: Params, threads: int, origin: Lineage, workspace: Workspace) -> TrainingPlan:
    summary = io.StringIO()
    model.summary(print_fn=lambda line: print(line, file=summary))
    described = data.description
    return TrainingPlan(
        training_id=str(uuid.uuid4()),
        dataset_name=described.name,
        dataset_digest=described.digest,
        image_shape=described.image_shape,
        class_names=described.class_names,
        architecture=params.train.architecture,
        parameters=sum(int(weight.value.shape.num_elements()) for weight in model.trainable_weights),
        params=_params_up_to_train(params),
        threads=threads,
        warm_start=origin,
        started_ms=time.time_ns() // 1_000_000,
        git=provenance.git_state(workspace.root, params.train.record_diff),
        environment=provenance.environment(),
        model_summary=summary.getvalue(),
        params_file=workspace.params.read_text(encoding="utf-8") if workspace.params.exists() else "",
    )


def _params_up_to_train(params: Params) -> Mapping[str, Mapping[str, Value]]:
    """Return the sections that shape a trained model, of the recipes only the one in use; lists become text, as in MLflow."""
    sections = {"ingest": params.ingest.model_dump(), "validate": params.validate.model_dump()}
    return {
        name: {key: ", ".join(value) if isinstance(value, list | tuple) else value for key, value in section.items()}
        for name, section in (*sections.items(), ("train", settings_of(params.train)))
    }


def _write(
    model: Any,
    train: TrainParams,
    data: Dataset,
    images: NDArray[np.uint64],
    plan: TrainingPlan,
    rows: list[Row],
    workspace: Workspace,
) -> TrainingRecord:
    """Write the outputs; training.json comes last, so that it never describes a model that is not there."""
    import pandas as pd

    network = architectures.build(train, plan.image_shape, len(plan.class_names), precision="float32")
    network.set_weights(model.get_weights())
    recipe, temperature = recipe_of(train), 1.0
    if recipe.calibrate:
        temperature = calibration.calibrate(network, data.validation, recipe.flip_averaging)
        print(f"temperature {temperature:g}, fitted on the validation split: probabilities are scaled by it")
    classifier = architectures.classifier(network, recipe.flip_averaging)
    with replacing(workspace.model) as aside:
        checkpoint.save_model(classifier, aside)
    with replacing(workspace.training_images) as aside:
        np.save(aside, images, allow_pickle=False)
    with replacing(workspace.history) as aside:
        pd.DataFrame(rows).to_csv(aside, index=False, lineterminator="\n")
    record = TrainingRecord(
        **vars(plan),
        weights_digest=provenance.weights_digest(classifier),
        finished_ms=int(rows[-1]["timestamp_ms"]),  # not now: this may be a finished training written again
        fit_seconds=round(sum(float(row["train/seconds"]) for row in rows), 3),
        temperature=temperature,
    )
    provenance.write(workspace.training, record)
    return record


def _warn_if_useless(row: Row, data: Dataset, train: TrainParams) -> None:
    """Print a warning if the last epoch's scores on the validation split are no better than guessing."""
    guess = math.log(data.description.classes)
    majority = np.bincount(data.validation.labels).max() / len(data.validation)
    loss, accuracy = float(row["validation/loss"]), float(row["validation/accuracy"])
    problems = []
    if not loss <= guess:
        problems.append(f"loss {loss:.4g} above {guess:.3f}, that of guessing among {data.description.classes} classes")
    if accuracy <= majority:
        problems.append(f"accuracy {accuracy:.4f}, not above {majority:.4f}, the share of the largest class")
    if problems:
        images, recipe = len(data.train), recipe_of(train)
        steps = recipe.epochs * (images // recipe.batch_size)
        few = f"set train.small_data.max_images to {images} or more (it took {steps} steps), or "
        print(
            f"warning: the model learned nothing: on the validation split, {' and '.join(problems)}: "
            f"{few if steps < train.small_data.min_steps else ''}lower train.recipes.{train.architecture}.learning_rate; if "
            "that does not help, look at the labels (reports/validation.html)",
            file=sys.stderr,
            flush=True,
        )
