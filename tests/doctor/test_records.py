"""doctor, on a history that somebody changed; it never pretends to fix one."""

import pytest

from pipeline.promotion import ledger
from tests.doctor.cases import DoctorCase


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1000")


CHANGED = "^the history was changed: "


def test_a_missing_record_is_named_and_how_to_restore_it(case: DoctorCase) -> None:
    lost = case.registry.entries()[0].run_id
    case.client.delete_run(lost)
    case.assert_cannot_fix(f"{CHANGED}record 1 is missing; restore record 1 in the MLflow UI")
    case.client.restore_run(lost)
    assert case.doctor() == (True, [])


def test_an_altered_record_is_named(local_case: DoctorCase) -> None:
    entry = local_case.registry.entries()[1]
    local_case.client.set_tag(entry.run_id, "record.1", entry.record.text().replace("somebody", "the boss"))
    local_case.assert_cannot_fix(f"{CHANGED}record 2 was altered: record 3 holds a different digest of it$")


def test_a_production_whose_record_is_missing_gets_one_and_the_history_stays_changed(case: DoctorCase) -> None:
    case.client.delete_run(case.registry.entries()[1].run_id)
    moved = "production is version 1; according to the history it is empty"
    is_healthy, (first, second) = case.doctor()
    assert not is_healthy
    assert first == moved
    assert "record 2 is missing" in second
    assert case.doctor(fix=True) == (False, [moved, second])
    assert case.doctor() == (False, [second])
    assert case.registry.in_production() == [None, "1"]


def test_a_record_that_cannot_be_read_is_named_and_the_stages_are_looked_at_all_the_same(local_case: DoctorCase) -> None:
    entry = local_case.registry.entries()[2]
    local_case.client.set_tag(entry.run_id, "record.1", "{")
    unreadable = f"^the history was changed: record 3 cannot be read: run {entry.run_id} is not a valid promotion record"
    local_case.assert_cannot_fix(unreadable)
    local_case.client.set_model_version_tag(local_case.model, "2", "stage", "Prod")
    assert len(local_case.doctor(fix=True)[1]) == 2
    local_case.assert_cannot_fix(unreadable)


def test_of_a_deleted_experiment_the_command_is_named_that_brings_it_back(case: DoctorCase) -> None:
    experiment = case.client.get_experiment_by_name(ledger.experiment_name(case.model)).experiment_id
    case.client.delete_experiment(experiment)
    case.assert_cannot_fix(f"^the history cannot be read: .* mlflow experiments restore --experiment-id {experiment}`$")
    case.client.restore_experiment(experiment)
    assert case.doctor() == (True, [])


def test_a_registry_without_a_model_is_healthy(local_case: DoctorCase) -> None:
    local_case.client.delete_registered_model(local_case.model)
    assert local_case.doctor() == (True, [])
    assert local_case.doctor(fix=True) == (True, [])
