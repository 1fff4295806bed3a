"""doctor, where files of versions are missing or altered, and where files are nobody's."""

import shutil

import pytest

from pipeline.doctor import command
from pipeline.project import Project
from pipeline.tracking.manifest import MANIFEST
from tests.doctor.defective import Patient
from tests.tracking.model_files import stored_files


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1000")


@pytest.mark.parametrize(
    ("stage", "way_out"),
    [
        ("production", "`python -m pipeline rollback` puts the version before it into production"),
        ("staging", "`python -m pipeline archive 5` takes it out of staging"),
        ("archived", "it is in no use, so leave it there"),
    ],
)
def test_an_altered_file_is_named_and_the_way_out_told(
    local_patient: Patient, stage: str, way_out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = local_patient.train()
    local_patient.registry.move(local_patient.register(run_id), stage)
    local_patient.client.log_text(run_id, "other weights", "model/model.keras")
    name = "version 5" if stage == "archived" else rf"version 5 \({stage}\)"
    local_patient.is_hopeless(f"^{local_patient.model} {name} is not what was registered: its file model.keras was altered;")
    command.run(False, Project.load(local_patient.registry.workspace))
    assert f"--fix  nothing: {way_out}" in capsys.readouterr().out


def test_a_version_whose_files_are_gone_and_one_without_manifest_are_named(own_patient: Patient) -> None:
    version = own_patient.register(own_patient.train())
    shutil.rmtree(stored_files(own_patient.client, own_patient.model, version))
    own_patient.client.delete_model_version_tag(own_patient.model, "4", MANIFEST)
    without = f"^{own_patient.model} version 4 has no manifest of its files"
    own_patient.is_hopeless(without, f"^{own_patient.model} version {version} .*: its file model.keras is missing;")


@pytest.mark.slow
def test_an_altered_file_on_a_server_is_named(shared_patient: Patient) -> None:
    run_id = shared_patient.train()
    shared_patient.registry.move(shared_patient.register(run_id), "staging")
    shared_patient.client.log_text(run_id, "other weights", "model/model.keras")
    altered = r"version 5 \(staging\) is not what was registered: its file model.keras was altered;"
    shared_patient.is_hopeless(f"^{shared_patient.model} {altered}")
