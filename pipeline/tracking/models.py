"""The model of a run: one MLflow logged model per training, with params, signature and input example."""

import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import dataset, model_file
from pipeline.process import Process
from pipeline.provenance import TrainingRecord
from pipeline.restore import way_back
from pipeline.tracking import entry
from pipeline.workspace import Workspace

_NAME = "classifier"


def logged_model(client: Any, experiment: str, run_id: str) -> Any | None:
    """Return the finished logged model of the run `run_id`, if there is one; of two, the older."""
    ready = [model for model in _logged_models(client, experiment, run_id) if str(model.status) == "READY"]
    return min(ready, key=lambda model: (model.creation_timestamp, model.model_id), default=None)


def _logged_models(client: Any, experiment: str, run_id: str) -> list[Any]:
    return list(client.search_logged_models([experiment], f"source_run_id = '{run_id}'", max_results=10))


def log_model(client: Any, run_id: str, record: TrainingRecord, workspace: Workspace) -> str:
    """Log models/model.keras on the run, unless it has its model already; return the logged model's id."""
    from mlflow.entities import LoggedModelOutput

    experiment = client.get_run(run_id).info.experiment_id
    known = logged_model(client, experiment, run_id)
    if known:
        return str(known.model_id)
    ours = str(Process.current())
    tags = {"training_id": record.training_id, "weights_digest": record.weights_digest, "process": ours}
    params = {key: str(value) for key, value in record.params["train"].items()} | {"parameters": str(record.parameters)}
    made = client.create_logged_model(experiment, _NAME, run_id, tags, params, "keras")
    with tempfile.TemporaryDirectory() as folder:
        _save(Path(folder) / "model", made.model_id, run_id, record, workspace)
        client.log_model_artifacts(made.model_id, f"{folder}/model")
    client.finalize_logged_model(made.model_id, "READY")
    for other in _logged_models(client, experiment, run_id):  # of a request that was repeated, because its answer was lost
        if str(other.status) != "READY" and other.tags.get("process") == ours:
            client.delete_logged_model(other.model_id)
    client.log_outputs(run_id, [LoggedModelOutput(made.model_id, step=0)])
    return str(made.model_id)


def _save(folder: Path, model_id: str, run_id: str, record: TrainingRecord, workspace: Workspace) -> None:
    """Write the model in MLflow's format; any MLflow client loads it with `mlflow.keras` or `mlflow.pyfunc`."""
    path = workspace.need(workspace.model, "train")
    model = model_file.load(path, advice=partial(way_back, path, workspace.root, "train"))
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
        input_example=_example(workspace, record),
        # Given, because inferring them costs 6–8 s and names two TensorFlows.
        pip_requirements=[f"{name}=={record.environment[name]}" for name in ("tensorflow", "keras", "numpy")],
        mlflow_model=Model(run_id=run_id, model_id=model_id, model_uuid=model_id),
    )
    if workspace.training_images.exists():  # without it register refuses the model
        shutil.copyfile(workspace.training_images, folder / entry.IMAGES)


def _example(workspace: Workspace, record: TrainingRecord) -> Any:
    """Return one test image, uint8 (1, h, w, c); a blank one where the data set was not pulled."""
    if not workspace.dataset.exists():
        return np.zeros((1, *record.image_shape), np.uint8)
    return np.array(dataset.read(workspace.dataset).test.images[:1])
