"""Runs, models and versions are created once, also where MLflow's client repeats a request, or two clones register at once."""

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipeline import provenance, tracking
from pipeline.errors import LockedError
from pipeline.provenance import TrainingRecord
from pipeline.register import registry
from pipeline.tracking import lock
from pipeline.workspace import Workspace
from tests import servers, stores
from tests.compare.trainings import MODEL, SWAPPED, Trainings, write_data
from tests.promotion.registry import Registry

PROJECT = Path(__file__).parents[2]


def twice(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method, as a client calls it whose first answer is lost."""

    def repeated(*arguments: Any, **options: Any) -> Any:
        method(*arguments, **options)
        return method(*arguments, **options)

    return repeated


@pytest.fixture
def training(trainings: Trainings) -> TrainingRecord:
    """A training with a run and a model, and no version."""
    write_data(trainings.workspace)
    trainings.add(SWAPPED, evaluated=False, training_id="new", weights_digest="ab" * 32)
    return provenance.read_training(trainings.workspace.training)


def create(client: Any, training: TrainingRecord) -> str:
    (run,) = client.search_runs(["1"], f"tags.training_id = '{training.training_id}'")
    model = tracking.logged_model(client, run.info.experiment_id, run.info.run_id)
    assert model is not None
    tags = registry.tags(training, 0.5)
    return registry.create_version(client, training, model.model_id, run.info.run_id, tags, "")


def numbers(client: Any) -> list[int]:
    return sorted(int(each.version) for each in client.search_model_versions(f"name = '{MODEL}'"))


def test_a_repeated_request_for_a_version_makes_one(
    trainings: Trainings, training: TrainingRecord, capsys: pytest.CaptureFixture[str]
) -> None:
    client = trainings.client
    client.create_model_version = twice(client.create_model_version)
    assert create(client, training) == "3"
    assert numbers(client) == [1, 2, 3]
    assert "deleted version 4: the request for version 3 was repeated" in capsys.readouterr().out
    assert create(client, training) == "3"
    assert lock.read(client, MODEL) == {}


def test_two_clones_that_register_a_model_at_once_make_one_version(trainings: Trainings, training: TrainingRecord) -> None:
    clients = [tracking.connect(trainings.workspace) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda client: create(client, training), clients)) == ["3", "3"]
    assert numbers(trainings.client) == [1, 2, 3]


def test_a_version_is_not_made_while_another_process_changes_the_model(
    trainings: Trainings, training: TrainingRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_WAIT", 0.1)
    with lock.held(trainings.client, MODEL), pytest.raises(LockedError, match="is being changed by"):
        create(trainings.client, training)
    assert numbers(trainings.client) == [1, 2]


def test_of_versions_that_were_made_twice_before_the_first_is_used_and_the_others_are_named(
    trainings: Trainings, training: TrainingRecord, capsys: pytest.CaptureFixture[str]
) -> None:
    client = trainings.client
    (run,) = client.search_runs(["1"], "tags.training_id = 'new'")
    model = tracking.logged_model(client, "1", run.info.run_id)
    assert model is not None
    for _ in range(2):
        client.create_model_version(MODEL, f"models:/{model.model_id}", run.info.run_id, tags=registry.tags(training, 0.5))
    assert registry.find_version(client, training) == "3"
    assert "has 2 versions of the same weights and data as version 3, which alone is used: delete 4" in capsys.readouterr().err


def test_a_repeated_request_for_a_run_makes_one(trainings: Trainings, training: TrainingRecord) -> None:
    client, workspace = trainings.client, trainings.workspace
    client.create_run = twice(client.create_run)
    client.create_logged_model = twice(client.create_logged_model)
    provenance.write(workspace.training, TrainingRecord(**{**vars(training), "training_id": "newer"}))
    run_id = stores.publish(client, workspace)
    assert [run.info.run_id for run in client.search_runs(["1"], "tags.training_id = 'newer'")] == [run_id]
    assert len(client.search_logged_models(["1"], f"source_run_id = '{run_id}'")) == 1


def test_a_repeated_request_for_a_record_makes_one(trainings: Trainings) -> None:
    moved = Registry(trainings.workspace, trainings.client, MODEL)
    trainings.client.create_run = twice(trainings.client.create_run)
    moved.move("2", "production")
    assert [(entry.record.number, entry.state) for entry in moved.entries()] == [(1, "done")]
    assert moved.problems() == []


def test_a_lock_whose_answer_was_lost_is_held(trainings: Trainings) -> None:
    client = trainings.client
    client.create_registered_model = twice(client.create_registered_model)
    with lock.held(client, MODEL) as held:
        held.keep()
    assert lock.read(client, MODEL) == {}


@pytest.mark.exhaustive
def test_a_server_that_loses_answers_gets_one_run_model_version_and_record(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(PROJECT / "tests/params.yaml", tmp_path)
    workspace = Workspace(tmp_path, tmp_path)
    write_data(workspace)
    creations = ("experiments/create", "runs/create", "logged-models", "registered-models/create", "model-versions/create")
    with servers.losing_answers(server, *creations) as (address, asked):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        client = tracking.connect(workspace)
        run_id = Trainings(workspace, client).add(SWAPPED, evaluated=False)
        training = provenance.read_training(workspace.training)
        experiment = client.get_run(run_id).info.experiment_id
        model = tracking.logged_model(client, experiment, run_id)
        assert model is not None
        before = numbers(client)
        version = registry.create_version(client, training, model.model_id, run_id, registry.tags(training, 0.5), "")
        found = [run.info.run_id for run in client.search_runs([experiment], f"tags.training_id = '{training.training_id}'")]
        assert found == [run_id]
        assert len(client.search_logged_models([experiment], f"source_run_id = '{run_id}'")) == 1
        assert len(numbers(client)) == len(before) + 1
        assert lock.read(client, MODEL) == {}
        with servers.losing_answers(server, "runs/create", "runs/set-tag", "registered-models/alias") as (once_more, _):
            monkeypatch.setenv("MLFLOW_TRACKING_URI", once_more)
            moved = Registry(workspace, tracking.connect(workspace), MODEL)
            before_it = moved.entries()
            moved.move(version, "staging")
            assert len(moved.entries()) == len(before_it) + 1
            assert moved.problems() == []
    assert {path for path, count in Counter(asked).items() if count >= 2} >= {*creations} - {"experiments/create"}


CODE = """
import sys
from pipeline import environment, provenance, tracking
from pipeline.register import registry
from pipeline.workspace import Workspace
environment.prepare()
workspace = Workspace.find()
client = tracking.connect(workspace)
training = provenance.read_training(workspace.training)
run_id = tracking.publish(client, workspace, tracking.Content.of_outputs(workspace))
model = tracking.logged_model(client, client.get_run(run_id).info.experiment_id, run_id)
print("ready", flush=True)
sys.stdin.readline()
print(registry.create_version(client, training, model.model_id, run_id, registry.tags(training, 0.5), ""))
"""


@pytest.mark.exhaustive
@pytest.mark.usefixtures("training")
def test_two_processes_that_register_a_model_at_once_make_one_version(trainings: Trainings) -> None:
    shutil.copy(PROJECT / "dvc.yaml", trainings.workspace.root)
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(PROJECT)!r})\n{CODE}"]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": trainings.workspace.root}
    processes = [subprocess.Popen(command, **pipes) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        print(file=process.stdin, flush=True)
    assert [process.communicate()[0] for process in processes] == ["3\n", "3\n"]
    assert numbers(trainings.client) == [1, 2, 3]
