"""A run is FINISHED only when it holds what the outputs hold, whatever happened to the process or the store before."""

import math
import shutil
import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from pipeline import provenance, tracking
from pipeline.errors import TrackingError, UnreachableError
from pipeline.process import Process
from pipeline.tracking import Content, EvaluationRecord
from tests.compare.trainings import Trainings

WRITES = (
    *("create_run", "log_batch", "log_inputs", "log_artifacts", "log_text", "set_tag", "set_terminated"),
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
    (stored,) = versions.workspace.artifacts.glob(f"**/{model.model_id}/artifacts")
    shutil.copytree(stored, tmp_path / "model")
    return Content.of_files(files, model=tmp_path / "model")


def killed_at(client: Any, number: int, after: bool) -> Any:
    """A client whose process is killed at the `number`th write: before it reaches the store, or after."""
    writes = 0

    def counted(method: Callable[..., Any]) -> Callable[..., Any]:
        def write(*arguments: Any, **options: Any) -> Any:
            nonlocal writes
            writes += 1
            mine = writes  # MLflow calls one of these from another
            result = method(*arguments, **options) if mine < number or after else None
            if mine == number:
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
        for number in range(1, 17)
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
        assert client.get_run(only_run(client)).info.status == ("FINISHED" if (number, after) == (16, True) else "RUNNING")
    assert_complete(client, tracking.publish(client, trainings.workspace, content), content)
    assert only_run(client)


def test_what_is_there_is_not_sent_again(trainings: Trainings, content: Content) -> None:
    run_id = tracking.publish(trainings.client, trainings.workspace, content)
    trainings.client.set_tag(run_id, "mlflow.note.content", "what a person made of it")
    client = killed_at(tracking.connect(trainings.workspace), 1, after=False)  # its first write would raise
    assert tracking.publish(client, trainings.workspace, content) == run_id
    assert tracking.missing(client, run_id, content) == []


def test_what_is_missing_is_named_and_sent(trainings: Trainings, content: Content, files: Mapping[str, Path]) -> None:
    """Here: all of the evaluation; then a run that a person took something from."""
    client = trainings.client
    before = Content.of_files({path: file for path, file in files.items() if "evaluation/" not in path}, model=content.model)
    run_id = tracking.publish(client, trainings.workspace, before)
    assert tracking.missing(client, run_id, content) == [
        "the tag weakest_class",
        "2 of 6 metrics",
        *("4 of 9 files", "the description", "its image"),
    ]
    tracking.publish(client, trainings.workspace, content)
    client.delete_tag(run_id, "weights_digest")
    assert tracking.missing(client, run_id, content) == ["the tag weights_digest"]
    assert_complete(client, tracking.publish(client, trainings.workspace, content), content)


def test_a_file_that_was_cut_off_in_the_store_is_sent_again(trainings: Trainings, content: Content) -> None:
    client = trainings.client
    run_id = tracking.publish(client, trainings.workspace, content)
    (page,) = trainings.workspace.artifacts.glob(f"*/{run_id}/artifacts/evaluation/report.html")
    page.write_text("<")
    assert tracking.missing(client, run_id, content) == ["evaluation/report.html"]
    tracking.publish(client, trainings.workspace, content)
    assert page.read_text() == "<p>"


def test_a_file_that_says_how_it_was_trained_is_kept_as_it_was_then(
    trainings: Trainings, content: Content, files: Mapping[str, Path], tmp_path: Path
) -> None:
    client, lock = trainings.client, tmp_path / "dvc.lock"
    for text in ("then", "now"):
        lock.write_text(text)
        run_id = tracking.publish(client, trainings.workspace, replace(content, files={**files, "provenance/dvc.lock": lock}))
    (stored,) = trainings.workspace.artifacts.glob(f"*/{run_id}/artifacts/provenance/dvc.lock")
    assert stored.read_text() == "then"


def test_an_evaluation_of_another_model_is_no_part_of_it(files: Mapping[str, Path], tmp_path: Path) -> None:
    record = provenance.read_training(files["provenance/training.json"])
    provenance.write(tmp_path / "training.json", replace(record, weights_digest="ab" * 32))
    other = Content.of_files({**files, "provenance/training.json": tmp_path / "training.json"})
    assert {*other.files} == {"provenance/training.json", "training/history.csv"}
    assert other.scores == {"fit_seconds": 1.0, "temperature": 1.0}


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"weights_digest": 1}', '{"metrics": {"a": NaN}}', "x" * 11_000_000])
def test_an_evaluation_that_evaluate_did_not_write_is_one_line(files: Mapping[str, Path], tmp_path: Path, text: str) -> None:
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "evaluation.json").write_text(text)
    with pytest.raises(TrackingError, match=r"evaluation\.json is not what evaluate writes ") as error:
        Content.of_files({**files, "evaluation/evaluation.json": tmp_path / "evaluation.json"})
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["../models/model.keras", "/etc/passwd", "a/b", ".hidden"])
def test_an_evaluation_cannot_name_files_outside_its_folder(files: Mapping[str, Path], tmp_path: Path, name: str) -> None:
    text = files["evaluation/evaluation.json"].read_text().replace("report.html", name)
    (tmp_path / "evaluation.json").write_text(text)
    with pytest.raises(TrackingError, match="is not what evaluate writes"):
        tracking.read_evaluation(tmp_path / "evaluation.json")


def test_a_store_that_takes_something_and_does_not_have_it_is_named(trainings: Trainings, content: Content) -> None:
    client = tracking.connect(trainings.workspace)
    client.log_inputs = lambda *_: None
    with pytest.raises(UnreachableError, match=r"took the data set for the run \w+, and does not have it"):
        tracking.publish(client, trainings.workspace, content)
    assert client.get_run(only_run(client)).info.status == "RUNNING"


@pytest.mark.parametrize(
    ("process", "left"),
    [
        (Process(2**22 + 1, 0.0, socket.gethostname()), 0),  # dead: no pid is as large
        (Process.current(), 0),  # of a request that was repeated, because its answer was lost
        (Process(1, psutil.Process(1).create_time(), socket.gethostname()), 1),  # alive
        (Process(1, 0.0, "another-machine"), 1),  # perhaps alive: it has an hour
    ],
    ids=["dead", "this", "alive", "elsewhere"],
)
def test_a_logged_model_that_was_never_finished_is_removed_once_its_process_is_dead(
    trainings: Trainings, content: Content, process: Process, left: int
) -> None:
    client = trainings.client
    run_id = tracking.publish(client, trainings.workspace, content)
    client.create_logged_model("1", "classifier", run_id, {"process": str(process)})
    assert tracking.missing(client, run_id, content) == ["the end of an unfinished model"] * (1 - left)
    tracking.publish(client, trainings.workspace, content)
    models = client.search_logged_models(["1"], f"source_run_id = '{run_id}'")
    assert sorted(str(model.status) for model in models) == ["PENDING"] * left + ["READY"]


def test_infinite_and_undefined_values_are_not_missing_for_ever(trainings: Trainings, content: Content) -> None:
    run_id = tracking.publish(trainings.client, trainings.workspace, content)
    values = [each.value for each in trainings.client.get_metric_history(run_id, "train/accuracy")]
    assert math.isnan(values[0])
    assert values[1] > 1e308
