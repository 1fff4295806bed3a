"""doctor, on a history that somebody harmed; it never pretends to mend one."""

import pytest

from pipeline.promotion import ledger
from tests.doctor.defective import Patient


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1000")


BROKEN = "^the history is not as it was written: "


def test_a_missing_record_is_named_and_what_brings_it_back(patient: Patient) -> None:
    lost = patient.registry.entries()[0].run_id
    patient.client.delete_run(lost)
    patient.is_hopeless(f"{BROKEN}record 1 is missing; the MLflow UI can restore record 1")
    patient.client.restore_run(lost)
    assert patient.doctor() == (True, [])


def test_an_altered_record_is_named(local_patient: Patient) -> None:
    entry = local_patient.registry.entries()[1]
    local_patient.client.set_tag(entry.run_id, "record.1", entry.record.text().replace("somebody", "the boss"))
    local_patient.is_hopeless(f"{BROKEN}record 2 was altered: record 3 holds another digest of it$")


def test_a_production_whose_record_is_missing_gets_one_and_the_history_stays_broken(patient: Patient) -> None:
    patient.client.delete_run(patient.registry.entries()[1].run_id)
    moved = "production is version 1; by the history it is empty"
    is_well, (first, second) = patient.doctor()
    assert not is_well
    assert first == moved
    assert "record 2 is missing" in second
    assert patient.doctor(fix=True) == (False, [moved, second])
    assert patient.doctor() == (False, [second])
    assert ledger.in_production(patient.registry.entries()) == [None, "1"]


def test_a_record_that_cannot_be_read_is_named_and_the_stages_are_looked_at_all_the_same(local_patient: Patient) -> None:
    entry = local_patient.registry.entries()[1]
    local_patient.client.set_tag(entry.run_id, "record.1", "{")
    unreadable = f"^the history cannot be read: the run {entry.run_id} is not a record of a promotion"
    local_patient.is_hopeless(unreadable)
    local_patient.client.set_model_version_tag(local_patient.model, "2", "stage", "Prod")
    assert len(local_patient.doctor(fix=True)[1]) == 2
    local_patient.is_hopeless(unreadable)


def test_of_a_deleted_experiment_the_command_is_named_that_brings_it_back(patient: Patient) -> None:
    experiment = patient.client.get_experiment_by_name(ledger.experiment_name(patient.model)).experiment_id
    patient.client.delete_experiment(experiment)
    patient.is_hopeless(
        f"^the history cannot be read: .* mlflow experiments restore --experiment-id {experiment}` brings it back"
    )
    patient.client.restore_experiment(experiment)
    assert patient.doctor() == (True, [])


def test_a_registry_without_a_model_is_healthy(local_patient: Patient) -> None:
    local_patient.client.delete_registered_model(local_patient.model)
    assert local_patient.doctor() == (True, [])
    assert local_patient.doctor(fix=True) == (True, [])
