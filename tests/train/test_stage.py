"""The train stage on a small real data set: what it writes, what it logs to MLflow, how it fails."""

import csv
import json
import os
import re
import shutil
import zipfile
from typing import Any

import numpy as np
import pytest

from pipeline import dataset, provenance, tracking
from pipeline.errors import DatasetError, MissingInputError, TrainingError
from pipeline.params import TrainParams
from pipeline.train import machine, stage
from pipeline.workspace import Workspace
from tests import stores
from tests.data_sets import flip
from tests.stores import LIMITS
from tests.train.recipes import SHORT, changed, whole


def train(params: TrainParams, workspace: Workspace) -> None:
    stage.run(whole(params), workspace)


def only_run(workspace: Workspace) -> Any:
    client = tracking.connect(workspace)
    runs = client.search_runs([tracking.experiment_id(client, workspace, "digits")])
    assert len(runs) == 1
    return runs[0]


def history(workspace: Workspace) -> list[dict[str, str]]:
    with workspace.history.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_training_is_one_finished_run_with_params_metrics_data_and_model(trained: Workspace) -> None:
    run = only_run(trained)
    record = provenance.read_training(trained.training)
    assert run.info.status == "FINISHED"
    assert run.info.end_time - run.info.start_time == record.finished_ms - record.started_ms
    assert run.data.tags["training_id"] == record.training_id
    assert run.data.tags["weights_digest"] == record.weights_digest
    assert run.data.params["train.epochs"] == "2"
    assert run.data.params["ingest.dataset"] == "fashion-mnist"
    assert "train.recipes" not in "".join(run.data.params)
    assert run.inputs.dataset_inputs[0].dataset.digest == record.dataset_digest[:36]
    client = tracking.connect(trained)
    assert {metric.step for metric in client.get_metric_history(run.info.run_id, "validation/accuracy")} == {1, 2}
    assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {"training", "provenance", "data"}
    assert tracking.logged_model(client, run.info.experiment_id, run.info.run_id) is not None


def test_history_has_a_row_per_epoch(trained: Workspace) -> None:
    rows = history(trained)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[1]["train/loss"]) < float(rows[0]["train/loss"])
    assert float(rows[0]["train/images_per_second"]) > 0
    assert trained.history.read_text().startswith("epoch,timestamp_ms,train/loss,train/accuracy,validation/loss,")


def test_the_loss_in_the_history_is_the_mean_over_all_images(ready: Workspace) -> None:
    import keras

    frozen = {"learning_rate": 1e-12, "dropout": 0.0, "epochs": 1, "batch_size": 75}  # of 300 images
    train(changed(SHORT, **frozen), ready)
    (row,) = history(ready)
    split = dataset.read(ready.dataset).train
    probabilities = np.asarray(keras.saving.load_model(ready.model, compile=False)(np.array(split.images)))
    of_label = probabilities[np.arange(300), split.labels]
    assert float(row["train/loss"]) == pytest.approx(-np.log(of_label).mean(), rel=1e-4)
    assert float(row["train/accuracy"]) == pytest.approx((probabilities.argmax(axis=1) == split.labels).mean(), abs=1e-6)


def test_equal_trainings_are_equal_files_and_the_layers_are_printed_once(
    trained: Workspace, ready: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    train(SHORT, ready)
    assert ready.model.read_bytes() == trained.model.read_bytes()
    printed = capfd.readouterr().out
    assert re.search(r"dense \(Dense\) +│ \(None, 128\) +│ +32,896 │\n", printed)
    assert printed.count("Total params: 53,002") == 1
    assert "├" not in printed
    assert "notebook: 300 images · batch 50, 2 epochs, 12 steps · " in printed
    assert "adapted" not in printed


def test_a_resumed_training_keeps_and_logs_the_params_file_that_it_began_with(trained_copy: Workspace) -> None:
    began = trained_copy.params.read_text()
    trained_copy.params.write_text(began.replace("min_images: 50 ", "min_images: 60 "))
    train(SHORT, trained_copy)  # its checkpoints are there; its run is not
    record, run = provenance.read_training(trained_copy.training), only_run(trained_copy)
    assert record.params_file == began != trained_copy.params.read_text()
    (logged,) = trained_copy.artifacts.glob(f"*/{run.info.run_id}/artifacts/provenance/params.yaml")
    assert logged.read_text() == began


def test_another_seed_gives_another_file(trained: Workspace, ready: Workspace) -> None:
    train(SHORT.model_copy(update={"seed": 2}), ready)
    assert ready.model.read_bytes() != trained.model.read_bytes()


def test_the_file_holds_weights_but_no_optimizer_and_nothing_pickled(trained: Workspace) -> None:
    with zipfile.ZipFile(trained.model) as archive:
        assert sorted(archive.namelist()) == ["config.json", "metadata.json", "model.weights.h5"]
    parameters = provenance.read_training(trained.training).parameters
    assert trained.model.stat().st_size < parameters * 4 * 1.2 + 50_000


def test_a_run_published_again_from_the_outputs_equals_the_lost_one(trained: Workspace, trained_copy: Workspace) -> None:
    lost = only_run(trained)
    client = tracking.connect(trained_copy, create=True)
    again = client.get_run(stores.publish(client, trained_copy))
    assert again.info.run_id != lost.info.run_id
    assert again.data.params == lost.data.params
    assert (again.info.start_time, again.info.end_time) == (lost.info.start_time, lost.info.end_time)
    for name in ("train/loss", "validation/accuracy", "fit_seconds"):
        assert again.data.metrics[name] == lost.data.metrics[name]
    assert again.inputs.dataset_inputs[0].dataset.digest == lost.inputs.dataset_inputs[0].dataset.digest


def test_publishing_twice_changes_nothing(trained_copy: Workspace) -> None:
    stores.write_evaluation(trained_copy, {"test/accuracy": 0.5}, trained_copy.history)
    tracking.publish_outputs(trained_copy, LIMITS)
    client, before = tracking.connect(trained_copy), only_run(trained_copy)
    points = client.get_metric_history(before.info.run_id, "train/loss")
    tracking.publish_outputs(trained_copy, LIMITS)
    assert only_run(trained_copy).to_dictionary() == before.to_dictionary()
    assert len(client.get_metric_history(before.info.run_id, "train/loss")) == len(points) == 2
    assert len(client.get_metric_history(before.info.run_id, "test/accuracy")) == 1
    assert len(client.search_logged_models([before.info.experiment_id])) == 1


def test_a_run_is_a_child_of_the_one_that_mlflow_run_started(ready: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    client = tracking.connect(ready)
    parent = client.create_run(client.create_experiment("parent"))
    monkeypatch.setenv("MLFLOW_RUN_ID", parent.info.run_id)
    train(changed(SHORT, epochs=1), ready)
    assert client.get_parent_run(only_run(ready).info.run_id).info.run_id == parent.info.run_id
    assert client.get_run(parent.info.run_id).data.params["train.epochs"] == "1"


def test_without_a_server_it_warns_once_and_trains(
    ready: Workspace, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    train(changed(SHORT, epochs=1), ready)
    assert ready.model.exists()
    warnings = capfd.readouterr().err.strip().splitlines()
    assert len(warnings) == 1
    assert re.match(r"warning: the tracking store http://127\.0\.0\.1:9 does not answer", warnings[0])


def test_a_batch_larger_than_the_data_is_refused(ready: Workspace) -> None:
    message = r"train\.recipes\.notebook\.batch_size 301 exceeds the training split of 300 images"
    with pytest.raises(TrainingError, match=message):
        train(changed(SHORT, batch_size=301), ready)
    assert not ready.model.exists()


@pytest.mark.parametrize("rate", [1e30, 1e38])  # a loss of 1e27 to 1e30, depending on the machine, and NaN
def test_divergence_stops_and_ends_the_run_as_failed(ready: Workspace, rate: float) -> None:
    message = r"training diverged: the loss is (nan|inf|\S+e\+\d+) in epoch 1, by step \d+: lower"
    with pytest.raises(TrainingError, match=message):
        train(changed(SHORT, learning_rate=rate, epochs=5), ready)
    assert only_run(ready).info.status == "FAILED"
    assert not ready.training.exists()


def test_ctrl_c_ends_the_run_as_killed(ready: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.train.stage.fit", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(SHORT, ready)
    assert only_run(ready).info.status == "KILLED"


def test_data_that_changed_on_disk_is_not_trained_on(ready: Workspace) -> None:
    flip(ready.dataset / "train/labels.npy", -4)
    with pytest.raises(DatasetError, match=r"^data/dataset/train/labels\.npy changed on disk since ingest wrote it: run `dvc"):
        train(SHORT, ready)
    assert not ready.checkpoints.exists()


def test_data_that_was_not_validated_is_not_trained_on(ready: Workspace) -> None:
    ready.validated.write_text(json.dumps({"dataset_digest": "other"}))
    with pytest.raises(
        MissingInputError, match=r"data/validated\.json belongs to a different data set: run `dvc repro validate`"
    ):
        train(SHORT, ready)
    ready.validated.unlink()
    with pytest.raises(MissingInputError, match="the validate stage makes it"):
        train(SHORT, ready)


def test_the_uncommitted_change_is_on_the_run_and_announced_unless_it_is_not_to_be_recorded(
    trained_copy: Workspace, shell: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    root, settings = trained_copy.root, trained_copy.root / "settings.py"
    shutil.rmtree(trained_copy.checkpoints)
    settings.write_text("a = 1\nb = 2\n")
    for command in (["init", "-q"], ["add", "params.yaml", "settings.py"]):
        shell("git", *command, cwd=root)
    someone = ("-c", "user.name=a", "-c", "user.email=a@localhost")
    shell("git", *someone, "commit", "-q", "-m", "start", cwd=root)
    trained_copy.params.write_text(trained_copy.params.read_text().replace("epochs: 10", "epochs: 11"))
    settings.write_text("a = 1\nb = 'https://me:SECRET@host'\n")
    train(changed(SHORT, epochs=1), trained_copy)
    run = only_run(trained_copy)
    assert run.data.tags["git_commit"] == shell("git", "rev-parse", "HEAD", cwd=root).stdout.strip()
    assert run.data.tags["git_dirty"] == "true"
    folder = run.info.artifact_uri.removeprefix("file://")
    with open(os.path.join(folder, "provenance/changes.diff")) as diff:  # noqa: PTH118, PTH123
        assert "+      epochs: 11" in diff.read()
    printed = capsys.readouterr()
    assert re.search(
        r"^recorded with the run: \d+ lines of uncommitted changes in .*\bsettings\.py \(2\)", printed.out, re.MULTILINE
    )
    assert "warning: settings.py line 2 looks like a password in a URL and is recorded with the run" in printed.err
    assert "SECRET" not in printed.out + printed.err
    shutil.rmtree(trained_copy.artifacts)
    tracking.connect(trained_copy).delete_run(run.info.run_id)
    train(changed(SHORT.model_copy(update={"record_diff": False}), epochs=1), trained_copy)  # resumes the same training
    assert "uncommitted changes are not recorded (train.record_diff: false)" in capsys.readouterr().out
    git = provenance.read_training(trained_copy.training).git
    assert (git.dirty, git.diff, git.withheld) == (True, "", True)
    files = [path for path in root.rglob("*") if path.is_file() and path != settings and ".git" not in path.parts]
    assert [path for path in files if b"SECRET" in path.read_bytes()] == []
    assert only_run(trained_copy).info.run_id != run.info.run_id


@pytest.mark.parametrize("architecture", ["notebook", "sprint", "compact", "default"])
def test_the_file_alone_gives_the_reported_accuracy(ready: Workspace, architecture: str) -> None:
    import keras

    chosen = SHORT.model_copy(update={"architecture": architecture})
    train(changed(chosen, epochs=2, batch_size=50, learning_rate=0.01, ema=0.9, flip_averaging=False), ready)
    model = keras.saving.load_model(ready.model, compile=False)
    held_out = dataset.read(ready.dataset).validation
    probabilities = np.asarray(model(np.array(held_out.images)))
    accuracy = (probabilities.argmax(axis=1) == held_out.labels).mean()
    loss = -np.log(probabilities[np.arange(len(held_out)), held_out.labels]).mean()
    assert accuracy == pytest.approx(float(history(ready)[-1]["validation/accuracy"]), abs=1e-6)
    assert loss == pytest.approx(float(history(ready)[-1]["validation/loss"]), rel=1e-3)


def test_flip_averaging_is_inside_the_file(ready: Workspace) -> None:
    import keras

    recipe = changed(SHORT.model_copy(update={"architecture": "sprint", "horizontal_flip": True}), epochs=1, batch_size=50)
    images = np.array(dataset.read(ready.dataset).validation.images)
    train(recipe, ready)
    model = keras.saving.load_model(ready.model, compile=False)
    averaged = np.asarray(model(images))
    assert averaged == pytest.approx(np.asarray(model(images[:, :, ::-1])), abs=1e-5)
    train(changed(recipe, flip_averaging=False), ready)
    alone = keras.saving.load_model(ready.model, compile=False)
    product = np.sqrt(np.asarray(alone(images)) * np.asarray(alone(images[:, :, ::-1])))
    assert averaged == pytest.approx(product / product.sum(axis=1, keepdims=True), abs=1e-4)


def test_bfloat16_trains_and_the_file_is_float32(ready: Workspace, capfd: pytest.CaptureFixture[str]) -> None:
    import keras

    sprint = SHORT.model_copy(update={"architecture": "sprint"})
    train(changed(sprint, epochs=1, batch_size=50, learning_rate=0.05, precision="bfloat16"), ready)
    model = keras.saving.load_model(ready.model, compile=False)
    assert {str(weight.dtype) for weight in model.weights} == {"float32"}
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"
    warned = capfd.readouterr().err
    expected = r"warning: train\.recipes\.sprint\.precision bfloat16: a convolution takes \d+\.\d times"
    assert warned == "" or re.match(expected, warned)


@pytest.mark.parametrize(("bfloat16", "lines"), [(3.0, 1), (0.5, 0)])
def test_slow_precision_is_reported_with_its_factor(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], bfloat16: float, lines: int
) -> None:
    monkeypatch.setattr(machine, "_seconds", {"float32": 1.0, "bfloat16": bfloat16}.__getitem__)
    machine.warn_if_slow(changed(SHORT, precision="bfloat16"))
    printed = capfd.readouterr().err
    assert printed.count("\n") == lines
    assert ("takes 3.0 times as long here as in float32: set float32" in printed) == bool(lines)


def test_few_images_adapt_the_recipe_and_the_probabilities(ready: Workspace, capfd: pytest.CaptureFixture[str]) -> None:
    small = SHORT.small_data.model_copy(update={"max_images": 300, "min_steps": 300, "shift": 0.1})
    train(SHORT.model_copy(update={"small_data": small}), ready)
    printed = capfd.readouterr().out
    assert "notebook: 300 images · batch 16, 17 epochs, 306 steps · " in printed
    assert (
        "recipe adapted to few images (train.small_data): epochs 2 → 17, batch_size 50 → 16, learning_rate 0.002 → 0.00064, "
        "label_smoothing 0 → 0.1, shift 0 → 2, calibrate false → true\n"
    ) in printed
    record, run = provenance.read_training(ready.training), only_run(ready)
    assert f"temperature {record.temperature:g}, fitted on the validation split" in printed
    assert 0.25 <= record.temperature < 1
    assert (run.data.params["train.epochs"], run.data.metrics["temperature"]) == ("17", record.temperature)
    assert len(history(ready)) == 17
    assert len([line for line in printed.splitlines() if line.startswith("epoch ")]) < 17
    client = tracking.connect(ready)
    assert {metric.step for metric in client.get_metric_history(run.info.run_id, "validation/loss")} == {*range(1, 18)}


def test_a_model_that_is_worse_than_guessing_is_announced(ready: Workspace, capfd: pytest.CaptureFixture[str]) -> None:
    train(changed(SHORT.model_copy(update={"architecture": "sprint"}), epochs=1, batch_size=50), ready)
    assert re.fullmatch(
        r"warning: the model learned nothing: on the validation split, loss [\d.e+]+ above 2\.303, that of guessing among 10 "
        r"classes( and accuracy 0\.\d+, not above 0\.\d+, the share of the largest class)?: set train\.small_data\.max_images "
        r"to 300 or more \(it took 6 steps\), or lower train\.recipes\.sprint\.learning_rate; .*\n",
        capfd.readouterr().err,
    )
