"""What the run of a training holds."""

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow.data.schema import TensorDatasetSchema
from PIL import Image

from pipeline import dataset, tracking
from pipeline.dataset import Split
from pipeline.provenance import GitState, TrainingPlan
from pipeline.tracking import Content, EvaluationRecord
from pipeline.workspace import Workspace
from tests import data_sets, stores
from tests.compare.trainings import PLAIN, Trainings, write_data
from tests.stores import LIMITS

NAMES = tuple(f"{number:04} {'猫' * 195}" for number in range(1000))  # as many and as long as params.yaml allows


@pytest.fixture
def plan() -> TrainingPlan:
    return TrainingPlan(
        training_id="6f3c",
        dataset_name="animals",
        dataset_digest="ab" * 32,
        image_shape=(28, 28, 1),
        class_names=NAMES,
        architecture="notebook",
        parameters=650,
        params={"ingest": {"name": "animals", "class_names": ", ".join(NAMES)}},
        threads=2,
        warm_start={},
        started_ms=1,
        git=GitState("c0ffee", "main", False, "", ()),
        environment={},
        model_summary="",
    )


def test_a_thousand_long_class_names_can_be_logged(
    workspace: Workspace, client: Any, plan: TrainingPlan, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "mlflow"):
        run = client.get_run(tracking.publish(client, workspace, Content(plan=plan)))
    assert caplog.messages == []
    names = run.data.params["ingest.class_names"]
    assert names.startswith("0000 猫")
    assert names.endswith("猫 … (201,998 characters, all of them in provenance/training.json)")
    assert len(names) == 6000
    assert run.data.params["ingest.name"] == "animals"
    assert [json.loads(each.dataset.profile)["classes"] for each in run.inputs.dataset_inputs] == [list(NAMES)] * 3


def evaluated(folder: Path, description: str, preview: Path | None = None, **metrics: float) -> Mapping[str, Path]:
    """The files of an evaluation, path on the run → file."""
    preview_name = preview.name if preview else ""
    record = EvaluationRecord(
        weights_digest="", metrics=metrics, tags={}, description=description, files=(), preview=preview_name
    )
    path = folder / "evaluation.json"
    tracking.write_evaluation(path, record)
    return {"evaluation/evaluation.json": path, **({f"evaluation/{preview_name}": preview} if preview else {})}


def test_each_split_is_an_input_with_its_context_and_a_schema_that_mlflow_reads(
    workspace: Workspace, client: Any, plan: TrainingPlan
) -> None:
    part = Split(np.zeros((4, 28, 28, 1), np.uint8), np.arange(4, dtype=np.int32), np.arange(4, dtype=np.int32))
    workspace.dataset.mkdir(parents=True)
    data_sets.write(workspace.dataset, "animals", NAMES, dict.fromkeys(dataset.SPLITS, part), ())
    described = {"data/dataset.json": workspace.dataset / "dataset.json"}
    run = client.get_run(tracking.publish(client, workspace, Content(plan=plan, files=described)))
    inputs = {each.dataset.name: each for each in run.inputs.dataset_inputs}
    contexts = {name: [(tag.key, tag.value) for tag in each.tags] for name, each in inputs.items()}
    assert contexts == {
        "animals-train": [("mlflow.data.context", "training")],
        "animals-validation": [("mlflow.data.context", "validation")],
        "animals-test": [("mlflow.data.context", "testing")],
    }
    test = inputs["animals-test"].dataset
    assert test.digest == "ab" * 18
    assert json.loads(test.profile)["images"] == 4
    schema = TensorDatasetSchema.from_dict(json.loads(test.schema))
    assert schema.features.to_dict() == [
        {"name": "images", "type": "tensor", "tensor-spec": {"dtype": "uint8", "shape": (-1, 28, 28, 1)}}
    ]
    assert schema.targets is not None
    assert schema.targets.to_dict() == [{"name": "labels", "type": "tensor", "tensor-spec": {"dtype": "int32", "shape": (-1,)}}]


def test_logged_models_are_found_by_recipe_and_carry_their_metrics_by_data_set(trainings: Trainings) -> None:
    client = trainings.client
    write_data(trainings.workspace)
    params = {"ingest": {"dataset": "fashion-mnist"}, "train": {"epochs": 7, "seed": 42}}
    trainings.add(PLAIN, evaluated=False, training_id="measured", params=params)
    experiment = tracking.experiment_id(client, trainings.workspace, "fashion-mnist")
    assert len(client.search_logged_models([experiment])) == 3
    (model,) = client.search_logged_models([experiment], "params.epochs = '7' AND params.seed = '42'")
    stores.write_evaluation(trainings.workspace, {"test/accuracy": 0.75, "images_per_second": 8.0})
    assert stores.publish(client, trainings.workspace) == model.source_run_id
    measured = {
        metric.key: (metric.value, metric.dataset_name, metric.dataset_digest)
        for metric in client.get_logged_model(model.model_id).metrics
    }
    digest = client.get_run(model.source_run_id).data.tags["dataset_digest"][:36]
    assert measured == {
        "train/loss": (0.5, "fashion-mnist-train", digest),
        "test/accuracy": (0.75, "fashion-mnist-test", digest),
        "images_per_second": (8.0, None, None),
    }


def test_under_mlflow_run_a_training_is_a_child_and_its_result_is_copied_to_the_projects_run(
    workspace: Workspace, client: Any, plan: TrainingPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = client.create_run("0").info.run_id
    client.log_param(project, "epochs", "params.yaml")
    monkeypatch.setenv("MLFLOW_RUN_ID", project)
    with tracking.LiveRun(workspace, plan, LIMITS) as live:
        live.log_epochs([{"epoch": "1", "timestamp_ms": "5", "train/loss": "0.5"}])
    (run,) = client.search_runs([tracking.experiment_id(client, workspace, "animals")])
    assert client.get_parent_run(run.info.run_id).info.run_id == project
    client.set_tag(run.info.run_id, "gate", "passed")
    for accuracy in (0.8, 0.9, 0.9):
        files = evaluated(tmp_path, "**90 %**\n\nmore", None, **{"test/accuracy": accuracy})
        tracking.complete(client, run.info.run_id, Content(plan=plan, files=files))
        tracking.update_project_run(client, run.info.run_id)
    shown = client.get_run(project).data
    assert shown.params["epochs"] == "params.yaml"
    assert shown.params["ingest.name"] == "animals"
    assert shown.metrics == {"train/loss": 0.5, "test/accuracy": 0.9}
    assert len(client.get_metric_history(project, "test/accuracy")) == 2
    link = f"[notebook-6f3c](#/experiments/{run.info.experiment_id}/runs/{run.info.run_id})"
    assert shown.tags["mlflow.note.content"] == f"Training: {link}\n\n**90 %**"
    assert shown.tags["gate"] == "passed"


@pytest.mark.parametrize("run_id", ["0" * 32, "nonsense"])
def test_a_run_of_another_store_is_no_parent(
    workspace: Workspace, client: Any, plan: TrainingPlan, monkeypatch: pytest.MonkeyPatch, run_id: str
) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    with tracking.LiveRun(workspace, plan, LIMITS):
        pass
    (run,) = client.search_runs([tracking.experiment_id(client, workspace, "animals")])
    assert "mlflow.parentRunId" not in run.data.tags


def test_a_description_shows_the_preview_at_half_its_size_however_often_it_is_published(
    workspace: Workspace, client: Any, plan: TrainingPlan, tmp_path: Path
) -> None:
    image = tmp_path / "mistakes.png"
    Image.new("RGB", (120, 60)).save(image)
    for _ in range(2):
        run_id = tracking.publish(client, workspace, Content(plan=plan, files=evaluated(tmp_path, "**91 %**", image)))
    note = client.get_run(run_id).data.tags["mlflow.note.content"]
    assert note == f"**91 %**\n\n![mistakes](get-artifact?run_uuid={run_id}&path=evaluation/mistakes.svg)"
    svg = Path(client.download_artifacts(run_id, "evaluation/mistakes.svg", str(tmp_path))).read_text()
    assert re.match(
        '<svg xmlns="http://www.w3.org/2000/svg" width="60" height="30"><image width="60" height="30" href="data:', svg
    )
    logged = [file.path for file in client.list_artifacts(run_id, "images")]
    assert len([path for path in logged if path.endswith(".png")]) == 1
