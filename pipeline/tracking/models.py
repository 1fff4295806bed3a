"""The model of a run: one MLflow logged model per training, with params, signature and input example."""

import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import dataset, model_file
from pipeline.errors import MissingInputError
from pipeline.process import Process
from pipeline.provenance import TrainingRecord
from pipeline.restore import way_back
from pipeline.tracking import entry
from pipeline.tracking.content import Content

_NAME = "classifier"
_SILENT = 3600  # seconds after which a process on another machine is taken for dead


def logged_model(client: Any, experiment: str, run_id: str) -> Any | None:
    """Return the finished logged model of the run `run_id`, if there is one."""
    return finished(logged_models(client, experiment, run_id))


def logged_models(client: Any, experiment: str, run_id: str) -> Sequence[Any]:
    """Return the logged models of the run, finished or not."""
    found: Sequence[Any] = client.search_logged_models([experiment], f"source_run_id = '{run_id}'", max_results=100)
    return found


def finished(models: Sequence[Any]) -> Any | None:
    """Return the finished model of a run, if there is one; of two, the older."""
    ready = [model for model in models if str(model.status) == "READY"]
    return min(ready, key=lambda model: (model.creation_timestamp, model.model_id), default=None)


def unfinished(models: Sequence[Any]) -> Sequence[Any]:
    """Return those that never became READY, and that no living process writes."""
    return [each for each in models if str(each.status) != "READY" and _abandoned(each)]


def _abandoned(model: Any) -> bool:
    """Return whether its writer is this process, which does one thing at a time, a dead one, or one that took too long."""
    process = Process.parse(model.tags.get("process", ""))
    if process and process.is_local:
        return process.is_dead or process == Process.current()
    return bool(time.time() - model.creation_timestamp / 1000 > _SILENT)


def log_model(client: Any, run: Any, content: Content) -> str:
    """Log the model of `content` on the run, unless it has one, and delete unfinished ones; return the logged model's id."""
    from mlflow.entities import LoggedModelOutput
    from mlflow.exceptions import MlflowException

    experiment, run_id = run.info.experiment_id, run.info.run_id
    known = logged_model(client, experiment, run_id)
    model_id = str(known.model_id) if known else _log(client, experiment, run_id, content)
    for other in unfinished(logged_models(client, experiment, run_id)):  # of a killed process, or a repeated request
        client.delete_logged_model(other.model_id)
    with suppress(MlflowException):  # it refuses what it has, also where its first answer was lost; `publish` asks again
        client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])
    return model_id


def _log(client: Any, experiment: str, run_id: str, content: Content) -> str:
    record = content.record
    if record is None:
        raise MissingInputError("models/training.json is of a training that did not finish: run `dvc repro train`")
    tags = {"training_id": record.training_id, "weights_digest": record.weights_digest, "process": str(Process.current())}
    params = {key: str(value) for key, value in record.params["train"].items()} | {"parameters": str(record.parameters)}
    with tempfile.TemporaryDirectory() as name:
        model_id = str(client.create_logged_model(experiment, _NAME, run_id, tags, params, "keras").model_id)
        folder = content.model if content.model and content.model.is_dir() else Path(name) / "model"
        if folder != content.model:
            _save(folder, model_id, run_id, record, content)
        client.log_model_artifacts(model_id, str(folder))
    client.finalize_logged_model(model_id, "READY")
    return model_id


def _save(folder: Path, model_id: str, run_id: str, record: TrainingRecord, content: Content) -> None:
    """Write the model in MLflow's format; any MLflow client loads it with `mlflow.keras` or `mlflow.pyfunc`."""
    path = content.model
    if path is None or not path.exists():
        raise MissingInputError(f"{path or 'models/model.keras'} does not exist: `dvc checkout` or `dvc repro train` makes it")
    model = model_file.load(path, advice=partial(way_back, path, "train"))
    import mlflow.keras
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    folder.mkdir()  # MLflow writes the input example before it creates the folder
    images = Schema([TensorSpec(np.dtype(np.uint8), (-1, *record.image_shape), "images")])
    probabilities = Schema([TensorSpec(np.dtype(np.float32), (-1, len(record.class_names)))])
    mlflow.keras.save_model(
        model,
        str(folder),
        signature=ModelSignature(images, probabilities),
        input_example=_example(record, content.dataset),
        # Given, because inferring them costs 6–8 s and names two TensorFlows.
        pip_requirements=[f"{name}=={record.environment[name]}" for name in ("tensorflow", "keras", "numpy")],
        mlflow_model=Model(run_id=run_id, model_id=model_id, model_uuid=model_id),
    )
    if content.training_images:
        shutil.copyfile(content.training_images, folder / entry.IMAGES)


def _example(record: TrainingRecord, data: Path | None) -> Any:
    """Return one test image, uint8 (1, h, w, c); a blank one where the data set was not pulled."""
    if data is None:
        return np.zeros((1, *record.image_shape), np.uint8)
    return np.array(dataset.read(data).test.images[:1])
