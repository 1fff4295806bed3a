"""A run is FINISHED only when it holds what the outputs hold, whatever happened to the process or the store before."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline import provenance, tracking
from pipeline.tracking import Content, EvaluationRecord
from tests.compare.trainings import Trainings

WRITES = (
    *("create_run", "log_batch", "log_inputs", "log_artifacts", "log_text", "log_image", "set_tag", "set_terminated"),
    *("create_logged_model", "log_model_artifacts", "finalize_logged_model", "log_outputs"),
)
METRICS = {"test/accuracy": 0.75, "test/loss": 0.5}


@pytest.fixture(scope="session")
def files(versions: Trainings, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The files of a training and its evaluation, path on the run → file; none of them names an MLflow id."""
    folder = tmp_path_factory.mktemp("files")
    record = provenance.read_training(versions.workspace.training)
    provenance.write(folder / "training.json", replace(record, training_id="again"))
    (folder / "history.csv").write_text("epoch,timestamp_ms,train/loss,train/accuracy\n1,5,0.5,nan\n2,9,0.25,inf\n")
    (folder / "report.html").write_text("<p>")
    Image.new("RGB", (4, 2)).save(folder / "pairs.png")
    evaluation = EvaluationRecord(
        weights_digest=record.weights_digest,
        metrics=METRICS,
        tags={"weakest_class": "bag"},
        description="**75 %**",
        files=("report.html", "pairs.png"),
        preview="pairs.png",
    )
    tracking.write_evaluation(folder / "evaluation.json", evaluation)
    paths = ("provenance/training.json", "training/history.csv", *(f"evaluation/{name}" for name in evaluation.files))
    return {path: folder / Path(path).name for path in (*paths, "evaluation/evaluation.json")}


@pytest.fixture
def content(versions: Trainings, files: Mapping[str, Path], tmp_path: Path) -> Content:
    """The same with a logged model's folder, which is sent as it is: making one takes longer."""
    (model,) = versions.client.search_logged_models(["1"], "params.epochs = '5'")
    folder = Path(versions.client.download_artifacts(model.source_run_id, "", str(tmp_path)) and tmp_path)
    stored = next(versions.workspace.artifacts.glob(f"**/{model.model_id}/artifacts"))
    shutil.copytree(stored, folder / "model")
    return Content.of_files(files, model=folder / "model")


def killed_at(client: Any, number: int, after: bool) -> Any:
    """A client whose process is killed at the `number`th write: before it reaches the store, or after."""
    writes = 0

    def counted(method: Callable[..., Any]) -> Callable[..., Any]:
        def write(*arguments: Any, **options: Any) -> Any:
            nonlocal writes
            writes += 1
            result = method(*arguments, **options) if writes < number or after else None
            if writes == number:
                raise KeyboardInterrupt
            return result

        return write

    for name in WRITES:
        setattr(client, name, counted(getattr(client, name)))
    return client


def assert_complete(client: Any, run_id: str, content: Content) -> None:
    assert tracking.missing(client, run_id, content) == []
    run = client.get_run(run_id)
    assert (run.info.status, run.info.end_time) == ("FINISHED", 1_700_000_001_000)
    assert run.data.params == dict(tracking.logged_params(content.plan))
    assert {each.dataset.name for each in run.inputs.dataset_inputs} == {
        f"fashion-mnist-{name}" for name in ("train", "validation", "test")
    }
    points = [(each.step, each.timestamp, each.value) for each in client.get_metric_history(run_id, "train/loss")]
    assert points == [(1, 5, 0.5), (2, 9, 0.25)]
    assert len(client.get_metric_history(run_id, "test/accuracy")) == 1
    assert run.data.metrics["test/accuracy"] == 0.75
    assert run.data.tags["weakest_class"] == "bag"
    assert run.data.tags["mlflow.note.content"].startswith("**75 %**\n\n![pairs]")
    assert [str(model.status) for model in client.search_logged_models(["1"], f"source_run_id = '{run_id}'")] == ["READY"]
    assert len(run.outputs.model_outputs) == 1
    assert {file.path for file in client.list_artifacts(run_id, "evaluation")} == {
        f"evaluation/{name}" for name in ("evaluation.json", "report.html", "pairs.png", "pairs.svg")
    }


def only_run(client: Any, training_id: str = "again") -> str:
    (run,) = client.search_runs(["1"], f"tags.training_id = '{training_id}'")
    return str(run.info.run_id)


@pytest.mark.parametrize(
    ("number", "after"),
    [
        pytest.param(number, after, marks=[] if (number, after) in ((1, True), (6, True)) else pytest.mark.exhaustive)
        for number in range(1, 15)
        for after in (False, True)
    ],
)
def test_a_run_whose_writer_was_killed_between_two_writes_is_completed(
    trainings: Trainings, content: Content, number: int, after: bool
) -> None:
    killed = killed_at(tracking.connect(trainings.workspace), number, after)
    with pytest.raises(KeyboardInterrupt):
        tracking.publish(killed, trainings.workspace, content)
    client = trainings.client
    if number > 1 or after:
        assert client.get_run(only_run(client)).info.status == ("FINISHED" if (number, after) == (14, True) else "RUNNING")
    assert_complete(client, tracking.publish(client, trainings.workspace, content), content)
    assert only_run(client)
