"""The train stage on a small real data set: what it writes, what it tells MLflow, how it fails."""

import csv
import json
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import dataset, params, provenance, tracking
from pipeline.errors import MissingInputError, TrainingError
from pipeline.tracking import Published
from pipeline.train import machine, stage
from pipeline.workspace import Workspace
from tests.train.recipes import changed

PARAMS = changed(
    params.load(Path(__file__).parents[1] / "params.yaml").train.model_copy(update={"seed": 1}),
    epochs=2,
    batch_size=50,
    learning_rate=0.002,
)


def only_run(workspace: Workspace) -> Any:
    client = tracking.connect(workspace)
    runs = client.search_runs([tracking.experiment_id(client, workspace, "digits")])
    assert len(runs) == 1
    return runs[0]


def test_a_training_is_one_finished_run_with_all_there_is_to_know(ready: Workspace) -> None:
    stage.run(PARAMS, ready)
    run = only_run(ready)
    record = provenance.read_training(ready.training)
    assert run.info.status == "FINISHED"
    assert run.info.end_time - run.info.start_time == record.finished_ms - record.started_ms
    assert run.data.tags["training_id"] == record.training_id
    assert run.data.tags["weights_digest"] == record.weights_digest
    assert run.data.params["train.epochs"] == "10"  # from params.yaml, as dvc would have it
    assert run.data.params["ingest.dataset"] == "fashion-mnist"
    assert run.inputs.dataset_inputs[0].dataset.digest == record.dataset_digest[:36]
    client = tracking.connect(ready)
    assert {metric.step for metric in client.get_metric_history(run.info.run_id, "validation/accuracy")} == {1, 2}
    assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {"training", "provenance", "data"}
    assert tracking.logged_model(client, run.info.experiment_id, run.info.run_id) is not None


def test_history_has_a_row_per_epoch(ready: Workspace) -> None:
    stage.run(PARAMS, ready)
    with ready.history.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[1]["train/loss"]) < float(rows[0]["train/loss"])
    assert float(rows[0]["train/images_per_second"]) > 0


def test_the_loss_in_the_history_is_the_mean_over_all_pictures(ready: Workspace) -> None:
    import keras

    standing = {
        "learning_rate": 1e-12,
        "dropout": 0.0,
        "epochs": 1,
        "batch_size": 75,  # of 300 pictures
    }
    stage.run(changed(PARAMS, **standing), ready)
    with ready.history.open(newline="") as file:
        (row,) = csv.DictReader(file)
    train = dataset.read(ready.dataset).train
    answers = np.asarray(keras.saving.load_model(ready.model, compile=False)(np.array(train.images)))
    given = answers[np.arange(300), train.labels]
    assert float(row["train/loss"]) == pytest.approx(-np.log(given).mean(), rel=1e-4)
    assert float(row["train/accuracy"]) == pytest.approx((answers.argmax(axis=1) == train.labels).mean(), abs=1e-6)


def test_equal_trainings_are_equal_files(ready: Workspace) -> None:
    stage.run(PARAMS, ready)
    first = ready.model.read_bytes()
    stage.run(PARAMS, ready)
    assert ready.model.read_bytes() == first
    stage.run(PARAMS.model_copy(update={"seed": 2}), ready)
    assert ready.model.read_bytes() != first


def test_the_file_holds_weights_but_no_optimizer_and_nothing_pickled(ready: Workspace) -> None:
    stage.run(PARAMS, ready)
    with zipfile.ZipFile(ready.model) as archive:
        assert sorted(archive.namelist()) == ["config.json", "metadata.json", "model.weights.h5"]
    parameters = provenance.read_training(ready.training).parameters
    assert ready.model.stat().st_size < parameters * 4 * 1.2 + 50_000


def test_a_run_made_again_from_the_outputs_equals_the_lost_one(ready: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.run(PARAMS, ready)
    lost = only_run(ready)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///another.db")
    client = tracking.connect(ready)
    again = client.get_run(tracking.run_for(client, ready))
    assert again.info.run_id != lost.info.run_id
    assert again.data.params == lost.data.params
    assert (again.info.start_time, again.info.end_time) == (lost.info.start_time, lost.info.end_time)
    for name in ("train/loss", "validation/accuracy", "fit_seconds"):
        assert again.data.metrics[name] == lost.data.metrics[name]
    assert again.inputs.dataset_inputs[0].dataset.digest == lost.inputs.dataset_inputs[0].dataset.digest


def test_publishing_twice_changes_nothing(ready: Workspace) -> None:
    stage.run(PARAMS, ready)
    tracking.publish(ready, Published({"test/accuracy": 0.5}, [ready.history], "evaluation"))
    client, before = tracking.connect(ready), only_run(ready)
    points = client.get_metric_history(before.info.run_id, "train/loss")
    tracking.publish(ready, Published({"test/accuracy": 0.5}, [ready.history], "evaluation"))
    after = only_run(ready)
    assert after.to_dictionary() == before.to_dictionary()
    assert len(client.get_metric_history(before.info.run_id, "train/loss")) == len(points) == 2
    assert len(client.get_metric_history(before.info.run_id, "test/accuracy")) == 1
    assert len(client.search_logged_models([before.info.experiment_id])) == 1


def test_a_run_is_never_the_one_that_mlflow_run_opened(ready: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    client = tracking.connect(ready)
    parent = client.create_run(client.create_experiment("parent"))
    monkeypatch.setenv("MLFLOW_RUN_ID", parent.info.run_id)
    stage.run(PARAMS, ready)
    assert client.get_run(parent.info.run_id).data.params == {}
    assert only_run(ready).info.run_id != parent.info.run_id


def test_without_a_server_it_warns_once_and_trains(
    ready: Workspace, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    stage.run(PARAMS, ready)
    assert ready.model.exists()
    warnings = capfd.readouterr().err.strip().splitlines()
    assert len(warnings) == 1
    assert re.match(r"warning: the tracking store http://127\.0\.0\.1:9 does not answer", warnings[0])


def test_a_batch_larger_than_the_data_is_one_line_and_a_failed_run(ready: Workspace) -> None:
    with pytest.raises(
        TrainingError, match=r"train\.recipes\.notebook\.batch_size 301 exceeds the training split of 300 pictures"
    ):
        stage.run(changed(PARAMS, batch_size=301), ready)
    assert not ready.model.exists()


@pytest.mark.parametrize("rate", [1e30, 1e38])  # a loss of 1e27 to 1e30, by the machine, and one that is no number
def test_divergence_stops_and_ends_the_run_as_failed(ready: Workspace, rate: float) -> None:
    with pytest.raises(
        TrainingError, match=r"training diverged: the loss is (nan|inf|\S+e\+\d+) in epoch 1, by step \d+: lower"
    ):
        stage.run(changed(PARAMS, learning_rate=rate, epochs=5), ready)
    assert only_run(ready).info.status == "FAILED"
    assert not ready.training.exists()


def test_ctrl_c_ends_the_run_as_killed(ready: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.train.stage.fit", interrupt)
    with pytest.raises(KeyboardInterrupt):
        stage.run(PARAMS, ready)
    assert only_run(ready).info.status == "KILLED"


def test_data_that_was_not_validated_is_not_trained_on(ready: Workspace) -> None:
    ready.validated.write_text(json.dumps({"dataset_digest": "other"}))
    with pytest.raises(MissingInputError, match="speaks of other data: run `dvc repro validate`"):
        stage.run(PARAMS, ready)
    ready.validated.unlink()
    with pytest.raises(MissingInputError, match="the validate stage makes it"):
        stage.run(PARAMS, ready)


def test_the_uncommitted_change_is_on_the_run(ready: Workspace, shell: Any) -> None:
    for command in (["init", "-q"], ["add", "params.yaml"]):
        shell("git", *command, cwd=ready.root)
    someone = ("-c", "user.name=a", "-c", "user.email=a@localhost")
    shell("git", *someone, "commit", "-q", "-m", "start", cwd=ready.root)
    ready.params.write_text(ready.params.read_text().replace("epochs: 10", "epochs: 11"))
    stage.run(PARAMS, ready)
    run = only_run(ready)
    assert run.data.tags["git_commit"] == shell("git", "rev-parse", "HEAD", cwd=ready.root).stdout.strip()
    assert run.data.tags["git_dirty"] == "true"
    folder = run.info.artifact_uri.removeprefix("file://")
    with open(os.path.join(folder, "provenance/changes.diff")) as diff:  # noqa: PTH118, PTH123
        assert "+      epochs: 11" in diff.read()


def last_row(workspace: Workspace) -> dict[str, str]:
    with workspace.history.open(newline="") as file:
        return list(csv.DictReader(file))[-1]


@pytest.mark.parametrize("architecture", ["notebook", "sprint", "compact", "default"])
def test_the_file_alone_gives_the_accuracy_that_was_reported(ready: Workspace, architecture: str) -> None:
    import keras

    chosen = PARAMS.model_copy(update={"architecture": architecture})
    stage.run(changed(chosen, epochs=2, batch_size=50, learning_rate=0.01, ema=0.9, flip_averaging=False), ready)
    model = keras.saving.load_model(ready.model, compile=False)
    held_out = dataset.read(ready.dataset).validation
    answers = np.asarray(model(np.array(held_out.images)))
    accuracy = (answers.argmax(axis=1) == held_out.labels).mean()
    loss = -np.log(answers[np.arange(len(held_out)), held_out.labels]).mean()
    assert accuracy == pytest.approx(float(last_row(ready)["validation/accuracy"]), abs=1e-6)
    assert loss == pytest.approx(float(last_row(ready)["validation/loss"]), rel=1e-3)


def test_flip_averaging_is_inside_the_file(ready: Workspace) -> None:
    import keras

    recipe = changed(PARAMS.model_copy(update={"architecture": "sprint", "horizontal_flip": True}), epochs=1, batch_size=50)
    images = np.array(dataset.read(ready.dataset).validation.images)
    stage.run(recipe, ready)
    averaged = np.asarray(keras.saving.load_model(ready.model, compile=False)(images))
    assert averaged == pytest.approx(
        np.asarray(keras.saving.load_model(ready.model, compile=False)(images[:, :, ::-1])), abs=1e-5
    )
    stage.run(changed(recipe, flip_averaging=False), ready)
    alone = keras.saving.load_model(ready.model, compile=False)
    product = np.sqrt(np.asarray(alone(images)) * np.asarray(alone(images[:, :, ::-1])))
    assert averaged == pytest.approx(product / product.sum(axis=1, keepdims=True), abs=1e-4)


def test_bfloat16_trains_and_the_file_is_float32(ready: Workspace, capfd: pytest.CaptureFixture[str]) -> None:
    import keras

    stage.run(
        changed(PARAMS.model_copy(update={"architecture": "sprint"}), epochs=1, batch_size=50, precision="bfloat16"), ready
    )
    model = keras.saving.load_model(ready.model, compile=False)
    assert {str(weight.dtype) for weight in model.weights} == {"float32"}
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"
    warned = capfd.readouterr().err
    assert warned == "" or re.match(
        r"warning: train\.recipes\.sprint\.precision bfloat16: a convolution takes \d+\.\d times", warned
    )


@pytest.mark.parametrize(("bfloat16", "lines"), [(3.0, 1), (0.5, 0)])
def test_emulated_precision_is_said_with_its_factor(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], bfloat16: float, lines: int
) -> None:
    monkeypatch.setattr(machine, "_seconds", {"float32": 1.0, "bfloat16": bfloat16}.__getitem__)
    machine.warn_if_emulated(changed(PARAMS, precision="bfloat16"))
    said = capfd.readouterr().err
    assert said.count("\n") == lines
    assert ("takes 3.0 times as long here as in float32: set float32" in said) == bool(lines)
