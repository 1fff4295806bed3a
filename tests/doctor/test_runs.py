"""doctor, where trainings are in state RUNNING: killed, alive, and on other machines."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import provenance, tracking
from pipeline.doctor import command, runs
from pipeline.doctor.finding import Registry
from pipeline.process import Process
from pipeline.project import Project
from pipeline.provenance import GitState, TrainingPlan
from pipeline.tracking import LiveRun, lock
from tests.doctor.cases import DoctorCase
from tests.stores import LIMITS

PROJECT = Path(__file__).parents[2]
_TRAINING = """
import os, signal, sys
from pathlib import Path
from pipeline import environment, provenance
from pipeline.params import TrackingParams
from pipeline.tracking import LiveRun
from pipeline.workspace import Workspace

environment.prepare()
plan = provenance.read(provenance.TrainingPlan, Path(sys.argv[1]))
live = LiveRun(Workspace.find(), plan, TrackingParams(seconds_per_epoch=60, seconds_per_stage=120))
live._stop_monitor()
live.log_epochs([{"epoch": "1", "timestamp_ms": "1700000000000", "train/loss": "0.5"}])
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1000")


@pytest.fixture
def plan(case: DoctorCase) -> TrainingPlan:
    return TrainingPlan(
        training_id="6f3c",
        dataset_name=case.name,
        dataset_digest="ab" * 32,
        image_shape=(2, 2, 1),
        class_names=("shirt", "bag"),
        architecture="notebook",
        parameters=10,
        params={},
        threads=1,
        warm_start={},
        started_ms=1_600_000_000_000,
        git=GitState(None, None, False, "", ()),
        environment={},
        model_summary="",
    )


@pytest.mark.slow
def test_a_killed_training_is_ended_at_its_last_metric_and_can_be_resumed(
    case: DoctorCase, plan: TrainingPlan, tmp_path: Path
) -> None:
    provenance.write(tmp_path / "plan.json", plan)
    command = [sys.executable, "-c", _TRAINING, str(tmp_path / "plan.json")]
    killed = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(PROJECT)}, check=False)
    assert killed.returncode == -signal.SIGKILL
    case.assert_fixes(r"^run [0-9a-f]{32} \(notebook-6f3c\) is in state RUNNING, and its process \d+ is dead$")
    experiment = tracking.experiment_id(case.client, case.registry.workspace, case.name)
    (run,) = case.client.search_runs([experiment], "tags.training_id = '6f3c'")
    assert (run.info.status, run.info.end_time) == ("KILLED", 1_700_000_000_000)
    with LiveRun(case.registry.workspace, plan, LIMITS) as live:
        assert case.client.get_run(run.info.run_id).info.status == "RUNNING"
        assert case.doctor() == (True, [])  # this process lives
        live._stop_monitor()


ELSEWHERE = replace(Process.current(), host="elsewhere")


def running(case: DoctorCase, process: Process | None, last: float) -> str:
    """The run of a training that sent its last metric `last` hours ago."""
    now = time.time()
    run_id = case.train(now - 9 * 3600, {tracking.PROCESS: str(process)} if process else {})
    case.client.log_metric(run_id, "system/cpu_utilization_percentage", 50.0, int((now - last * 3600) * 1000))
    return run_id


@pytest.mark.parametrize(
    ("process", "why"),
    [(ELSEWHERE, f"its process {os.getpid()} is on elsewhere"), (None, "it does not record its process")],
    ids=["elsewhere", "unrecorded"],  # two workers have two numbers, and would see two tests
)
def test_of_another_machine_only_long_silence_is_reported_and_nothing_is_ended(
    local_case: DoctorCase, process: Process | None, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    running(local_case, process, last=0.5)
    assert local_case.doctor() == (True, [])
    silent = running(local_case, process, last=2)
    local_case.assert_cannot_fix(rf"^run {silent} \(.*\) is in state RUNNING, and its last metric is of 2\d+-")
    command.run(False, Project.load(local_case.registry.workspace))
    assert f"that cannot be checked here, because {why}" in capsys.readouterr().out
    assert local_case.client.get_run(silent).info.status == "RUNNING"


def test_one_that_ends_just_now_is_left_as_it_ended(local_case: DoctorCase) -> None:
    run_id = running(local_case, replace(Process.current(), created=1.0), last=0)
    registry = Registry(local_case.client, Project.load(local_case.registry.workspace))
    (finding,) = runs.check(registry).findings
    assert finding.fix
    local_case.client.set_terminated(run_id, "FINISHED")
    with lock.held(local_case.client, local_case.model) as held:
        finding.fix(held)
    assert local_case.client.get_run(run_id).info.status == "FINISHED"


def test_a_record_whose_run_was_not_ended_is_ended(case: DoctorCase) -> None:
    entry = case.registry.entries()[-1]
    case.client.update_run(entry.run_id, "RUNNING")
    case.assert_fixes(
        rf"^run {entry.run_id} \(record 3 promote 2 → staging\) is in state RUNNING, and the move it records is over$"
    )
    assert case.client.get_run(entry.run_id).info.status == "FINISHED"
    assert case.registry.problems() == []


def test_a_version_whose_run_is_in_the_trash_gets_it_back(local_case: DoctorCase) -> None:
    run_id = local_case.client.get_model_version(local_case.model, "3").run_id
    local_case.client.delete_run(run_id)
    local_case.assert_fixes(*(rf"^version {number}: its run {run_id} is in MLflow's trash$" for number in range(1, 5)))
    assert local_case.client.get_run(run_id).info.lifecycle_stage == "active"


def test_a_version_whose_run_is_gone_for_good_is_reported(local_case: DoctorCase) -> None:
    run_id = local_case.client.get_model_version(local_case.model, "3").run_id
    local_case.client._tracking_client.store._hard_delete_run(run_id)  # as `mlflow gc`
    gone = [rf"^version {number}: its run {run_id} was deleted for good, as `mlflow gc` does$" for number in range(1, 5)]
    passed, problems = local_case.doctor()
    assert not passed
    assert sum(any(re.search(each, problem) for each in gone) for problem in problems) == 4, problems


def test_a_version_without_a_run_is_reported_and_stops_no_other_check(local_case: DoctorCase) -> None:
    client, model = local_case.client, local_case.model
    source = client.get_model_version(model, "3").source
    made = client.create_model_version(model, source, run_id=None)
    passed, problems = local_case.doctor()
    assert not passed
    assert [each for each in problems if each.startswith(f"version {made.version}: it has no run")]
