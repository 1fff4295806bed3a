"""doctor, on registries in which somebody used the UI or a process was killed; in SQLite, and on a server over PostgreSQL."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.doctor import command
from pipeline.errors import LockedError
from pipeline.project import Project
from pipeline.promotion import ledger, lock, transitions
from pipeline.workspace import Workspace
from tests.doctor.defective import Patient
from tests.promotion.registry import killed_at

PROJECT = Path(__file__).parents[2]
Shell = Callable[..., Any]
PRODUCTION, STAGING, ARCHIVED = (("production",) * 3, ("staging",) * 3, ("archived",) * 3)
FIELD = "MLflow's stage field"


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1000")


def test_of_a_healthy_registry_it_says_what_it_looked_at(patient: Patient, capsys: pytest.CaptureFixture[str]) -> None:
    assert patient.doctor() == (True, [])
    assert patient.doctor(fix=True) == (True, [])
    command.run(False, Project.load(patient.registry.workspace))
    looked_at = "the lock, the files of 4 versions, the stages of 4 versions, 3 records of the history, 0 runs in state RUNNING"
    assert capsys.readouterr().out.startswith(f"{patient.model}: nothing is wrong\nlooked at {looked_at}\n")
    assert patient.registry.shown() == {"1": PRODUCTION, "2": STAGING}
    assert len(patient.registry.entries()) == 3
    assert lock.holder_of(patient.client, patient.model) is None


def move_alias(patient: Patient) -> None:
    patient.client.set_registered_model_alias(patient.model, "staging", "3")


def delete_alias(patient: Patient) -> None:
    patient.client.delete_registered_model_alias(patient.model, "staging")


def change_field(patient: Patient) -> None:
    transitions._set_field(patient.client, patient.model, "3", "production")


def archive_by_field(patient: Patient) -> None:
    transitions._set_field(patient.client, patient.model, "1", "archived")


def edit_tag(patient: Patient) -> None:
    patient.client.set_model_version_tag(patient.model, "2", "stage", "Prod")


def archive_by_tag(patient: Patient) -> None:
    patient.client.set_model_version_tag(patient.model, "4", "stage", "archived")


def second_alias(patient: Patient) -> None:
    patient.client.set_registered_model_alias(patient.model, "staging", "1")


AS_IT_WAS = {"1": PRODUCTION, "2": STAGING}


@pytest.mark.parametrize(
    ("plant", "found", "after"),
    [
        (
            move_alias,
            [
                f"version 2: alias none, tag `stage` staging, {FIELD} staging$",
                f"version 3: alias staging, tag `stage` none, {FIELD} none$",
            ],
            {"1": PRODUCTION, "3": STAGING},
        ),
        (delete_alias, [f"version 2: alias none, tag `stage` staging, {FIELD} staging$"], {"1": PRODUCTION}),
        (change_field, [f"version 3: alias none, tag `stage` none, {FIELD} production$"], AS_IT_WAS),
        (archive_by_field, [f"version 1: alias production, tag `stage` production, {FIELD} archived$"], AS_IT_WAS),
        (edit_tag, [f"version 2: alias staging, tag `stage` Prod, {FIELD} staging$"], AS_IT_WAS),
        (archive_by_tag, [f"version 4: alias none, tag `stage` archived, {FIELD} none$"], {**AS_IT_WAS, "4": ARCHIVED}),
        (
            second_alias,
            [
                f"version 1: alias production and staging, tag `stage` production, {FIELD} production$",
                f"version 2: alias none, tag `stage` staging, {FIELD} staging$",
            ],
            {"1": PRODUCTION},
        ),
    ],
)
def test_what_the_ui_put_out_of_step_follows_the_alias(
    local_patient: Patient, plant: Callable[[Patient], None], found: list[str], after: dict[str, Any]
) -> None:
    plant(local_patient)
    local_patient.is_mended_of(*found)
    assert local_patient.registry.shown() == after
    assert len(local_patient.registry.entries()) == 3


def test_all_of_it_at_once(patient: Patient) -> None:
    for plant in (second_alias, change_field, archive_by_tag):
        plant(patient)
    patient.is_mended_of("^version 1: ", "^version 2: ", "^version 3: ", "^version 4: ")
    assert patient.registry.shown() == {"1": PRODUCTION, "4": ARCHIVED}


def test_an_mlflow_without_stages_has_no_field_to_disagree(local_patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    change_field(local_patient)
    monkeypatch.delattr(type(local_patient.client), "transition_model_version_stage")
    assert local_patient.doctor() == (True, [])
    edit_tag(local_patient)
    local_patient.is_mended_of("version 2: alias staging, tag `stage` Prod$")


def production_on(version: str) -> Callable[[Patient], None]:
    return lambda patient: patient.client.set_registered_model_alias(patient.model, "production", version)


def no_production(patient: Patient) -> None:
    patient.client.delete_registered_model_alias(patient.model, "production")


def deleted(patient: Patient) -> None:
    patient.client.delete_model_version(patient.model, "1")


@pytest.mark.parametrize(
    ("plant", "found", "after", "record"),
    [
        (
            production_on("3"),
            "production is version 3; by the history it is version 1",
            {"1": ARCHIVED, "2": STAGING, "3": PRODUCTION},
            ("3", "none", "production", "1"),
        ),
        (
            production_on("2"),
            "production is version 2; by the history it is version 1",
            {"1": ARCHIVED, "2": PRODUCTION},
            ("2", "staging", "production", "1"),
        ),
        (
            no_production,
            "production is empty; by the history it is version 1",
            {"1": ARCHIVED, "2": STAGING},
            ("1", "production", "archived", None),
        ),
        (
            deleted,
            "production is empty; by the history it is version 1, which was deleted",
            {"2": STAGING},
            ("1", "production", "none", None),
        ),
    ],
)
def test_production_moved_outside_of_promote_stays_and_gets_its_record(
    patient: Patient, plant: Callable[[Patient], None], found: str, after: dict[str, Any], record: tuple[str, ...]
) -> None:
    plant(patient)
    in_production = transitions.standing(patient.client, patient.model).aliases.get("production")
    patient.is_mended_of(f"^{found}$")
    assert patient.registry.shown() == after
    written = patient.registry.entries()[-1].record
    assert (written.version, written.source, written.target, written.before) == record
    assert (written.kind, written.reason[:15]) == ("force", "found by doctor")
    assert ledger.in_production(patient.registry.entries())[-2:] == ["1", in_production]
    assert patient.registry.breaks() == []


def test_a_registry_in_which_nobody_ever_promoted(local_patient: Patient) -> None:
    experiment = local_patient.client.get_experiment_by_name(ledger.experiment_name(local_patient.model))
    for run in local_patient.client.search_runs([experiment.experiment_id]):
        local_patient.client.delete_run(run.info.run_id)
    local_patient.client.delete_registered_model_tag(local_patient.model, ledger.HEAD)
    local_patient.is_mended_of("^production is version 1; by the history it is empty$")
    assert [entry.record.version for entry in local_patient.registry.entries()] == ["1"]


@pytest.mark.slow
@pytest.mark.parametrize("point", ["intent", "tags", "new-alias", "alias", "stage", "archived"])
def test_a_move_that_was_killed_is_finished_or_undone(patient: Patient, point: str) -> None:
    killed_at(patient.registry, "2", point)
    patient.is_mended_of("^the lock .* was left behind$", "^record 4: the force of version 2 to production was cut short$")
    moved = point not in ("intent", "tags")
    assert patient.registry.shown() == ({"1": ARCHIVED, "2": PRODUCTION} if moved else AS_IT_WAS)
    assert patient.registry.entries()[-1].state == ("done" if moved else "undone")
    assert patient.registry.breaks() == []


@pytest.mark.slow
@pytest.mark.parametrize("point", ["locked", "done"])
def test_a_lock_whose_holder_was_killed_is_taken_away(patient: Patient, point: str) -> None:
    killed_at(patient.registry, "2", point)
    patient.is_mended_of("^the lock .* was left behind$")
    assert lock.holder_of(patient.client, patient.model) is None


def test_what_a_killed_taker_of_a_lock_left_is_taken_away(patient: Patient) -> None:
    with lock.held(patient.client, patient.model):
        patient.client.rename_registered_model(lock.lock_name(patient.model), f"{lock.lock_name(patient.model)}-f00")
    patient.is_mended_of("^the lock .* was left behind$")
    assert patient.client.search_registered_models(f"name LIKE '{patient.model}-%'") == []


def test_while_somebody_changes_stages_it_does_not_look(local_patient: Patient) -> None:
    change_field(local_patient)
    for fix in (False, True):
        message = f"^{local_patient.model} is being changed by .*: try again when it is done$"
        with lock.held(local_patient.client, local_patient.model), pytest.raises(LockedError, match=message):
            local_patient.doctor(fix)


def test_a_registered_model_in_the_place_of_the_lock_is_left_alone(local_patient: Patient) -> None:
    change_field(local_patient)
    name = lock.lock_name(local_patient.model)
    local_patient.client.create_registered_model(name)
    changed = f"^version 3: .* {FIELD} production$"
    local_patient.is_hopeless(f"^a registered model named {name} stands where the lock belongs$", changed)
    local_patient.client.delete_registered_model(name)
    local_patient.is_mended_of(changed)


def test_without_a_store_it_says_so_and_makes_none(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    for fix in (False, True):
        assert command.run(fix, Project.load(workspace))
        assert "there is no tracking store yet" in capsys.readouterr().out
    assert not workspace.database.exists()


@pytest.mark.slow
def test_the_exit_code_says_whether_something_is_wrong(own_patient: Patient, shell: Shell) -> None:
    change_field(own_patient)
    told = []
    for options in ((), ("--fix",), ()):
        command = ("python", "-m", "pipeline", "doctor", *options)
        done = shell(*command, cwd=own_patient.registry.workspace.root, check=False, PYTHONPATH=str(PROJECT))
        told.append((done.returncode, done.stdout.splitlines()[-1].partition(" of ")[0]))
    assert told == [(1, "`python -m pipeline doctor --fix` mends 1"), (0, "mended 1"), (0, "looked at the lock, the files")]


@pytest.mark.slow
def test_what_the_pipeline_itself_made_is_healthy(built: Path, shell: Shell) -> None:
    said = shell("python", "-m", "pipeline", "doctor", cwd=built).stdout
    assert said.startswith("digits-classifier: nothing is wrong\nlooked at the lock, the files of 1 version, ")
