"""doctor, where files of versions are missing or altered."""

import shutil

import pytest

from pipeline.doctor import command
from pipeline.project import Project
from pipeline.tracking.manifest import MANIFEST
from tests.doctor.cases import DoctorCase
from tests.tracking.model_files import stored_files


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1000")


@pytest.mark.parametrize(
    ("stage", "remedy"),
    [
        ("production", "`python -m pipeline rollback` restores the previous production version"),
        ("staging", "`python -m pipeline archive 5` takes it out of staging"),
        ("archived", "it is not in use, so it can stay as it is"),
    ],
)
def test_an_altered_file_is_named_with_the_remedy(
    local_case: DoctorCase, stage: str, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = local_case.train()
    local_case.registry.move(local_case.register(run_id), stage)
    local_case.client.log_text(run_id, "other weights", "model/data/model.keras")
    name = "version 5" if stage == "archived" else rf"version 5 \({stage}\)"
    local_case.assert_cannot_fix(
        f"^{local_case.model} {name} is not what was registered: its file data/model.keras was altered;"
    )
    command.run(False, Project.load(local_case.registry.workspace))
    assert f"--fix    no automatic fix: {remedy}" in capsys.readouterr().out


def test_a_version_whose_files_are_gone_and_one_without_manifest_are_named(case_with_files: DoctorCase) -> None:
    version = case_with_files.register(case_with_files.train())
    shutil.rmtree(stored_files(case_with_files.client, case_with_files.model, version))
    case_with_files.client.delete_model_version_tag(case_with_files.model, "4", MANIFEST)
    without = f"^{case_with_files.model} version 4 has no manifest of its files"
    case_with_files.assert_cannot_fix(without, f"^{case_with_files.model} version {version} .*: its file MLmodel is missing;")


@pytest.mark.slow
@pytest.mark.exhaustive
def test_an_altered_file_on_a_server_is_named(server_case: DoctorCase) -> None:
    run_id = server_case.train()
    server_case.registry.move(server_case.register(run_id), "staging")
    server_case.client.log_text(run_id, "other weights", "model/data/model.keras")
    altered = r"version 5 \(staging\) is not what was registered: its file data/model.keras was altered;"
    server_case.assert_cannot_fix(f"^{server_case.model} {altered}")
