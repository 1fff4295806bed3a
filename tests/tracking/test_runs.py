"""What a run holds of a training, where its parts are longer than MLflow takes them."""

import json
import logging

import pytest

from pipeline import tracking
from pipeline.provenance import GitState, TrainingPlan
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
