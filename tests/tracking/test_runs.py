"""What a run holds of a training, where its parts are longer than MLflow takes them."""

import json
import logging
import re
from pathlib import Path

import pytest
from PIL import Image

from pipeline import tracking
from pipeline.provenance import GitState, TrainingPlan
from pipeline.tracking import Published
from pipeline.tracking.runs import create_run
from pipeline.workspace import Workspace

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
    workspace: Workspace, plan: TrainingPlan, caplog: pytest.LogCaptureFixture
) -> None:
    client = tracking.connect(workspace)
    with caplog.at_level(logging.WARNING, "mlflow"):
        run = client.get_run(create_run(client, tracking.experiment_id(client, workspace, "animals"), plan, workspace))
    assert caplog.messages == []
    names = run.data.params["ingest.class_names"]
    assert names.startswith("0000 猫")
    assert names.endswith("猫 … (201,998 characters, all of them in provenance/training.json)")
    assert len(names) == 6000
    assert run.data.params["ingest.name"] == "animals"
    (data,) = run.inputs.dataset_inputs
    assert json.loads(data.dataset.schema)["classes"] == list(NAMES)


def test_a_description_shows_the_preview_at_half_its_size_however_often_it_is_published(
    workspace: Workspace, plan: TrainingPlan, tmp_path: Path
) -> None:
    picture = tmp_path / "mistakes.png"
    Image.new("RGB", (120, 60)).save(picture)
    client = tracking.connect(workspace)
    run_id = create_run(client, tracking.experiment_id(client, workspace, "animals"), plan, workspace)
    for _ in range(2):
        tracking.publish_to(client, run_id, Published({}, [], "evaluation", "**91 %**", preview=picture))
    note = client.get_run(run_id).data.tags["mlflow.note.content"]
    assert note == f"**91 %**\n\n![mistakes](get-artifact?run_uuid={run_id}&path=evaluation/mistakes.svg)"
    svg = Path(client.download_artifacts(run_id, "evaluation/mistakes.svg", str(tmp_path))).read_text()
    assert re.match(
        '<svg xmlns="http://www.w3.org/2000/svg" width="60" height="30"><image width="60" height="30" href="data:', svg
    )
    logged = [file.path for file in client.list_artifacts(run_id, "images")]
    assert len([path for path in logged if path.endswith(".png")]) == 1
