"""The whole graph on real data by real DVC against a SQLite MLflow, as a person runs it from a terminal."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline import provenance, tracking
from pipeline.commands.edit import LIMITS
from pipeline.scores.metrics import METRICS
from pipeline.workspace import Workspace

pytestmark = pytest.mark.slow
EPOCHS = "train.recipes.notebook.epochs"
NO_NETWORK = {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
Shell = Callable[..., Any]


def client_and_runs(project: Path) -> tuple[Any, list[Any]]:
    workspace = Workspace(project, project)
    client = tracking.connect(workspace)
    return client, client.search_runs([tracking.experiment_id(client, workspace, "digits")])


def ran(output: str) -> list[str]:
    """The stages that `dvc repro` ran, by what it printed."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_the_first_repro_registers_version_1(built: Path) -> None:
    registration = json.loads((built / "reports/registration.json").read_text())
    assert registration["verdict"] == "accepted"
    assert (registration["model_name"], registration["version"]) == ("digits-classifier", "1")
    client, runs = client_and_runs(built)
    assert len(runs) == 1
    metrics = json.loads((built / "reports/metrics.json").read_text())
    assert runs[0].info.status == "FINISHED"
    assert runs[0].data.metrics["test/accuracy"] == metrics["accuracy"] >= 0.9
    assert runs[0].data.tags["gate"] == "passed"
    folders = {file.path for file in client.list_artifacts(runs[0].info.run_id)}
    assert folders == {"data", "evaluation", "images", "provenance", "register", "training"}
    version = client.get_model_version("digits-classifier", "1")
    record = provenance.read_training(built / "models/training.json")
    assert version.tags["weights_digest"] == record.weights_digest
    assert version.tags["dataset_digest"] == record.dataset_digest
    assert version.tags["git_commit"] == record.git.commit
    assert f"{100 * metrics['accuracy']:.2f} % accuracy" in version.description


def test_the_metrics_are_also_on_the_logged_model_by_split(built: Path) -> None:
    client, (run,) = client_and_runs(built)
    (model,) = client.search_logged_models([run.info.experiment_id])
    record = provenance.read_training(built / "models/training.json")
    linked = {metric.key: metric for metric in model.metrics}
    assert linked["test/accuracy"].value == run.data.metrics["test/accuracy"]
    assert set(linked) == {name for name in run.data.metrics if name.partition("/")[0] in ("train", "validation", "test")}
    for name, metric in linked.items():
        split = name.partition("/")[0]
        assert (metric.dataset_name, metric.dataset_digest) == (f"digits-{split}", record.dataset_digest[:36])


def test_the_registered_model_answers_as_any_mlflow_user_asks_it(built: Path, shell: Shell) -> None:
    code = """
import mlflow, numpy as np
model = mlflow.pyfunc.load_model("models:/digits-classifier/1")
images, labels = (np.load(f"data/dataset/test/{name}.npy") for name in ("images", "labels"))
print((model.predict(images).argmax(axis=1) == labels).mean())
"""
    said = shell("python", "-c", code, cwd=built, MLFLOW_TRACKING_URI=f"sqlite:///{built}/mlflow.db").stdout
    accuracy = json.loads((built / "reports/metrics.json").read_text())["accuracy"]
    assert float(said.split()[-1]) == pytest.approx(accuracy)


def test_every_output_is_there_and_nothing_is_left_beside(built: Path, shell: Shell) -> None:
    assert shell("dvc", "status", cwd=built).stdout.strip() == "Data and pipelines are up to date."
    assert list(built.rglob("*.part*")) == []
    changed = shell("git", "status", "--porcelain", cwd=built).stdout.split("\n")
    assert sorted(filter(None, changed)) == [" M params.yaml", "?? dvc.lock", "?? registry/", "?? reports/metrics.json"]


def test_nothing_is_written_into_the_home_folder(built: Path) -> None:
    assert list((built.parent / "home").rglob("*")) == []


def test_a_second_repro_and_a_comment_run_nothing(built_copy: Path, shell: Shell) -> None:
    assert ran(shell("dvc", "repro", cwd=built_copy).stdout) == []
    edit(built_copy / "params.yaml", "  epochs: 10", "  # not so many\n      epochs: 10")
    assert ran(shell("dvc", "repro", cwd=built_copy).stdout) == []


def test_editing_evaluate_does_not_retrain(built_copy: Path, shell: Shell) -> None:
    edit(built_copy / "params.yaml", "grid_images: 32", "grid_images: 30")
    with (built_copy / "pipeline/evaluate/report.html.j2").open("a") as file:
        file.write("<!-- changed -->\n")
    # register depends on none of what changes: not on the report, and metrics.json holds no timings
    assert ran(shell("dvc", "repro", cwd=built_copy).stdout) == ["evaluate"]
    # The copy has no mlflow.db: the run was made again from the outputs, once.
    _, runs = client_and_runs(built_copy)
    assert [run.info.status for run in runs] == ["FINISHED"]


@pytest.mark.exhaustive
def test_a_limit_that_the_data_still_keeps_does_not_retrain(built_copy: Path, shell: Shell) -> None:
    edit(built_copy / "params.yaml", "max_class_imbalance: 1.5", "max_class_imbalance: 1.6")
    # evaluate's report shows what validation found; its scores, which register depends on, stay the same
    assert ran(shell("dvc", "repro", cwd=built_copy).stdout) == ["validate", "evaluate"]


@pytest.mark.exhaustive
def test_registering_twice_makes_one_version(built_copy: Path, shell: Shell) -> None:
    for said in ("registered digits-classifier version 1", "digits-classifier version 1 is already registered"):
        assert said in shell("dvc", "repro", "--force", "--single-item", "register", cwd=built_copy).stdout
    client, runs = client_and_runs(built_copy)
    assert len(client.search_model_versions("name = 'digits-classifier'")) == 1
    assert len(runs) == 1


def test_a_refused_model_is_a_result_with_its_reasons(built_copy: Path, shell: Shell) -> None:
    edit(built_copy / "params.yaml", "min_accuracy: 0.90", "min_accuracy: 0.999")
    edit(built_copy / "params.yaml", "max_calibration_error: 0.08", "max_calibration_error: 0.0")
    said = shell("dvc", "repro", cwd=built_copy).stdout
    assert ran(said) == ["register"]
    assert "not registered: train a better model" in said
    registration = json.loads((built_copy / "reports/registration.json").read_text())
    assert registration["verdict"] == "rejected"
    assert [rule["name"] for rule in registration["rules"] if not rule["passed"]] == ["accuracy", "calibration error"]
    client, runs = client_and_runs(built_copy)
    assert client.search_model_versions("name = 'digits-classifier'") == []
    assert runs[0].data.tags["gate"].startswith("refused: accuracy 0.9")
    assert "< 0.999; calibration error" in runs[0].data.tags["gate"]


def test_bad_data_stops_the_pipeline_before_training(built_copy: Path, shell: Shell) -> None:
    edit(built_copy / "params.yaml", "min_images_per_class: 5 ", "min_images_per_class: 500 ")
    done = shell("dvc", "repro", cwd=built_copy, check=False)
    assert done.returncode != 0
    assert ran(done.stdout) == ["validate"]
    assert "error: " in done.stderr
    assert "enough-images-per-class" in done.stderr
    assert json.loads((built_copy / "reports/validation.json").read_text())["verdict"] == "failed"
    assert not (built_copy / "data/validated.json").exists()


def test_after_a_promotion_a_second_clone_pulls_the_outputs_and_runs_register_only(
    registered: Path, tmp_path: Path, shell: Shell
) -> None:
    for stage in ("staging", "production"):
        shell("python", "-m", "pipeline", "promote", "1", stage, cwd=registered)
    someone = ("-c", "user.name=somebody", "-c", "user.email=somebody@localhost")
    shell("dvc", "remote", "add", "--default", "store", str(tmp_path / "remote"), cwd=registered)
    shell("dvc", "push", cwd=registered)
    shell("git", "add", "-A", cwd=registered)
    shell("git", *someone, "commit", "-q", "-m", "results", cwd=registered)
    clone = tmp_path / "clone"
    shell("git", "clone", "-q", str(registered), str(clone), cwd=tmp_path)
    shell("dvc", "pull", "--quiet", cwd=clone)
    assert not (clone / "mlflow.db").exists()
    assert ran(shell("dvc", "repro", cwd=clone).stdout) == ["register"]
    runs, original = client_and_runs(clone)[1], provenance.read_training(registered / "models/training.json")
    assert [run.data.tags["training_id"] for run in runs] == [original.training_id]
    shell("dvc", "repro", "--force", "--single-item", "evaluate", cwd=clone)
    client, runs = client_and_runs(clone)
    assert len(runs) == 1
    assert runs[0].data.metrics["test/accuracy"] >= 0.9
    assert len(client.search_model_versions("name = 'digits-classifier'")) == 1


@pytest.mark.exhaustive
def test_experiments_run_twice_without_a_git_identity_and_compare(built_copy: Path, shell: Shell) -> None:
    for epochs in ("1", "2"):
        shell("dvc", "exp", "run", "-n", f"epochs-{epochs}", "-S", f"{EPOCHS}={epochs}", cwd=built_copy)
    shown = json.loads(shell("dvc", "exp", "show", "--json", cwd=built_copy).stdout)
    assert {entry["name"] for entry in shown[1]["experiments"]} == {"epochs-1", "epochs-2"}
    changes = json.loads(shell("dvc", "metrics", "diff", "--json", "epochs-1", "epochs-2", cwd=built_copy).stdout)
    change = changes["reports/metrics.json"]["accuracy"]
    assert change["new"] - change["old"] == pytest.approx(change["diff"])
    assert "test_images" not in changes["reports/metrics.json"]  # only what differs
    known = {score.key for score in METRICS} | {"weakest_class_recall"}
    assert set(changes["reports/metrics.json"]) <= known
    _, runs = client_and_runs(built_copy)
    assert sorted(run.data.params["train.epochs"] for run in runs) == ["1", "2"]


@pytest.mark.exhaustive
def test_a_temporary_experiment_shows_in_the_projects_own_store(built_copy: Path, shell: Shell) -> None:
    shell("dvc", "exp", "run", "--temp", "-S", f"{EPOCHS}=1", cwd=built_copy)
    _, runs = client_and_runs(built_copy)
    assert [run.data.params["train.epochs"] for run in runs] == ["1"]


@pytest.mark.parametrize(
    ("stage", "maker"), [("validate", "ingest"), ("train", "ingest"), ("evaluate", "ingest"), ("register", "train")]
)
def test_a_stage_without_its_input_names_the_stage_that_makes_it(
    new_clone: Callable[[Path], Path], tmp_path: Path, shell: Shell, stage: str, maker: str
) -> None:
    project = new_clone(tmp_path / "project")
    done = shell("python", "-m", "pipeline", stage, cwd=project, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert f"does not exist yet: the {maker} stage makes it; `dvc repro {maker}` runs it" in done.stderr
    assert done.stderr.count("\n") == 1


def test_register_without_its_server_fails_and_names_it(built_copy: Path, shell: Shell) -> None:
    (built_copy / "reports/registration.json").unlink()
    done = shell("python", "-m", "pipeline", "register", cwd=built_copy, check=False, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert done.returncode == 1
    assert done.stderr == (
        "error: the tracking store http://127.0.0.1:9 does not answer (Connection refused): "
        "start it, or change MLFLOW_TRACKING_URI\n"
    )
    assert not (built_copy / "reports/registration.json").exists()


def test_without_network_or_mirror_the_shipped_params_run_on_digits_and_say_so(built_copy: Path, shell: Shell) -> None:
    shutil.copy(Path(__file__).parents[2] / "params.yaml", built_copy)
    edit(built_copy / "params.yaml", "dataset: ", "dataset: fashion-mnist  # ")  # whatever the user tries out
    before = (built_copy / "params.yaml").read_text()
    done = shell("dvc", "repro", cwd=built_copy, check=False, **NO_NETWORK)
    assert done.returncode != 0  # dvc alone never switches
    assert "python -m pipeline run --dataset digits" in done.stderr
    assert (built_copy / "params.yaml").read_text() == before
    shell("dvc", "checkout", cwd=built_copy, check=False)
    printed = shell("python", "-m", "pipeline", "run", cwd=built_copy, **NO_NETWORK).stdout
    assert "Falling back to digits, which needs no network" in printed
    assert "\n  git add dvc.lock params.yaml" in printed
    assert "\n  baseline       0.9889, kernel ridge (Nystroem)\n" in printed
    assert "\n  gate           passed: digits-classifier version " in printed
    assert printed.splitlines()[-1].endswith("To try again: python -m pipeline run --dataset fashion-mnist")
    after = (built_copy / "params.yaml").read_text()
    pairs = zip(before.splitlines(), after.splitlines(), strict=True)
    assert [new.split("#")[0].strip() for old, new in pairs if old != new] == [
        "dataset: digits",
        "horizontal_flip: false",
        *(f"{key}: null" for key in LIMITS),
    ]


@pytest.mark.exhaustive
def test_mlflow_run_with_params_makes_a_child_run_and_shows_its_result(built_copy: Path, shell: Shell) -> None:
    before = (built_copy / "params.yaml").read_text()
    mlflow_run = ("mlflow", "run", ".", "--env-manager", "local")
    shell(*mlflow_run, "-P", "epochs=1", "-P", "seed=7", cwd=built_copy)
    client, (run,) = client_and_runs(built_copy)
    assert run.info.status == "FINISHED"
    assert (run.data.params["train.epochs"], run.data.params["train.seed"]) == ("1", "7")
    (project,) = client.search_runs(["0"])
    assert client.get_parent_run(run.info.run_id).info.run_id == project.info.run_id
    assert project.info.status == "FINISHED"
    assert (project.data.params["epochs"], project.data.params["batch_size"]) == ("1", "params.yaml")
    assert project.data.metrics["test/accuracy"] == run.data.metrics["test/accuracy"]
    assert run.info.run_id in project.data.tags["mlflow.note.content"]
    pairs = zip(before.splitlines(), (built_copy / "params.yaml").read_text().splitlines(), strict=True)
    assert [new.split("#")[0].strip() for old, new in pairs if old != new] == ["seed: 7", "epochs: 1"]
    shell(*mlflow_run, cwd=built_copy)  # nothing changed: the result of the same training is shown again
    assert len(client_and_runs(built_copy)[1]) == 1
    assert {each.data.metrics["test/accuracy"] for each in client.search_runs(["0"])} == {run.data.metrics["test/accuracy"]}
    shell(*mlflow_run, "-e", "experiment", "-P", f"change={EPOCHS}=2", cwd=built_copy)
    assert sorted(each.data.params["train.epochs"] for each in client_and_runs(built_copy)[1]) == ["1", "2"]


@pytest.mark.exhaustive
def test_mlflow_run_builds_its_environment_with_uv(built_copy: Path, shell: Shell, tmp_path: Path) -> None:
    known = {name: value for name, value in os.environ.items() if name.startswith(("UV_", "PIP_"))}
    probe = ("uv", "pip", "install", "--quiet", "--dry-run", "--no-cache", "--target", str(tmp_path / "probe"), "wheel")
    if shell(*probe, cwd=tmp_path, check=False, **known).returncode != 0:
        pytest.skip("needs a package index: give its address as UV_INDEX_URL")
    edit(built_copy / "params.yaml", "  epochs: 10", "  epochs: 1")
    envs = tmp_path / "envs"
    cache = {"UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(Path.home() / ".cache/uv"))}
    shell("mlflow", "run", ".", "--env-manager", "uv", cwd=built_copy, MLFLOW_ENV_ROOT=str(envs), **cache)
    assert len(list(envs.glob("*/bin/dvc"))) == 1
    client, (run,) = client_and_runs(built_copy)
    assert run.info.status == "FINISHED"
    assert client.get_parent_run(run.info.run_id).data.tags["mlflow.project.env"] == "uv"


def test_versions_lists_what_is_registered(built: Path, shell: Shell) -> None:
    row = shell("python", "-m", "pipeline", "versions", cwd=built).stdout.splitlines()[2].split()
    accuracy = json.loads((built / "reports/metrics.json").read_text())["accuracy"]
    assert row[:5] == ["1", "–", f"{accuracy:.4f}", "–", "passed"]


def test_a_database_deleted_between_two_repros_costs_nothing_computed(built_copy: Path, shell: Shell) -> None:
    assert not (built_copy / "mlflow.db").exists()
    shutil.rmtree(built_copy / "mlartifacts", ignore_errors=True)
    assert ran(shell("dvc", "repro", cwd=built_copy).stdout) == []
