"""doctor, where files of versions are missing or altered, and where files are nobody's."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import tracking
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


def root(patient: Patient) -> Path:
    return patient.registry.workspace.artifacts / patient.name


def leave(folder: Path) -> Path:
    """What a run or a model leaves that is gone from the store: a megabyte."""
    (folder / "artifacts").mkdir(parents=True)
    (folder / "artifacts" / "model.keras").write_bytes(bytes(1_000_000))
    return folder


def test_files_of_no_run_and_no_model_are_deleted_and_nothing_else(own_patient: Patient, tmp_path: Path) -> None:
    here = root(own_patient)
    precious = leave(tmp_path / "precious") / "artifacts" / "model.keras"
    nobodys = [leave(here / (4 * "0123abcd")), leave(here / "models" / f"m-{4 * '0123abcd'}")]
    (nobodys[0] / "artifacts" / "out").symlink_to(tmp_path / "precious")
    (here / (4 * "4567abcd")).symlink_to(tmp_path / "precious")
    notes = leave(here / "notes")
    before = {path for path in here.rglob("*") if not any(path.is_relative_to(folder) for folder in nobodys)}
    named = ", ".join(f"mlartifacts/toys/{folder.relative_to(here)}" for folder in nobodys)
    own_patient.is_mended_of(f"^files of no run and no model, 2.0 MB: {named}$")
    assert set(here.rglob("*")) == before
    assert precious.exists()
    assert notes.exists()


@pytest.mark.slow
def test_what_lies_in_the_trash_is_kept_until_it_is_emptied(own_patient: Patient, tmp_path: Path) -> None:
    client, run_id = own_patient.client, own_patient.train()
    client.set_terminated(run_id)
    model = client.create_logged_model(client.get_run(run_id).info.experiment_id, "classifier", run_id)
    client.log_model_artifacts(model.model_id, str(leave(tmp_path / "model")))
    client.delete_run(run_id)
    client.delete_logged_model(model.model_id)
    assert own_patient.doctor(fix=True) == (True, [])
    folders = [root(own_patient) / run_id, root(own_patient) / "models" / model.model_id]
    for folder in folders:
        shutil.copytree(folder, tmp_path / folder.name)
    uri = tracking.tracking_uri(own_patient.registry.workspace)
    command = [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", uri]
    subprocess.run(command, env={**os.environ, "MLFLOW_TRACKING_URI": uri}, check=True, capture_output=True)
    for folder in folders:  # as where gc could not reach them
        shutil.copytree(tmp_path / folder.name, folder, dirs_exist_ok=True)
    own_patient.is_mended_of(rf"^files of no run and no model, 1\.0 MB: .*{run_id}, .*{model.model_id}$")


def test_what_a_version_is_made_of_is_kept(own_patient: Patient) -> None:
    folder = leave(root(own_patient) / (4 * "0123abcd"))
    own_patient.client.create_model_version(own_patient.model, folder.as_uri())
    is_well, (found,) = own_patient.doctor(fix=True)
    assert not is_well
    assert "version 5 has no manifest" in found
    assert folder.exists()


@pytest.mark.parametrize("why", ["other.db may be a store", "mlartifacts/toys is reached by a link"])
def test_where_it_cannot_be_told_whose_files_they_are_they_are_left_alone(
    own_patient: Patient, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = leave(root(own_patient) / (4 * "0123abcd"))
    if why.startswith("other.db"):
        (tmp_path / "other.db").touch()
    else:
        (tmp_path / "mlartifacts").rename(tmp_path / "disk")
        (tmp_path / "mlartifacts").symlink_to(tmp_path / "disk")
    assert command.run(True, Project.load(own_patient.registry.workspace))
    assert f"no artifacts, because {why}" in capsys.readouterr().out
    assert folder.exists()


@pytest.mark.slow
def test_of_a_server_only_the_files_of_versions_are_looked_at(
    shared_patient: Patient, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = leave(root(shared_patient) / (4 * "0123abcd"))
    assert command.run(True, Project.load(shared_patient.registry.workspace))
    assert "no artifacts, because the store is not mlflow.db of this checkout" in capsys.readouterr().out
    assert folder.exists()
    run_id = shared_patient.train()
    shared_patient.registry.move(shared_patient.register(run_id), "staging")
    shared_patient.client.log_text(run_id, "other weights", "model/model.keras")
    altered = r"version 5 \(staging\) is not what was registered: its file model.keras was altered;"
    shared_patient.is_hopeless(f"^{shared_patient.model} {altered}")
