"""The files in registry/ and the store, as doctor compares them."""

import pytest

from pipeline.promotion import backup
from tests.doctor.cases import DoctorCase


@pytest.fixture
def case(local_case: DoctorCase, monkeypatch: pytest.MonkeyPatch) -> DoctorCase:
    """A registry that has files."""
    monkeypatch.setenv("COLUMNS", "1000")
    backup.save(local_case.client, local_case.registry.workspace, local_case.model)
    return local_case


def test_files_that_are_missing_are_written(case: DoctorCase) -> None:
    folder = case.registry.workspace.registry / case.model
    (folder / "version-3.json").unlink()
    (folder / "record-0002.json").unlink()
    case.assert_fixes(r"^registry/toys-classifier lacks 2 files: version 3, record 2$")


@pytest.mark.exhaustive
def test_what_the_store_lacks_is_for_sync(case: DoctorCase) -> None:
    case.client.delete_model_version(case.model, "4")
    case.assert_cannot_fix(r"^the store lacks version 4, which registry/toys-classifier holds$")


@pytest.mark.exhaustive
def test_files_of_another_registry_and_damaged_ones_are_named(case: DoctorCase) -> None:
    folder = case.registry.workspace.registry / case.model
    text = (folder / "version-3.json").read_text()
    (folder / "version-3.json").write_text(text.replace('"weights_digest": "', '"weights_digest": "other '))
    case.assert_cannot_fix(r"^version 3 in registry/toys-classifier is not the store's$")
    (folder / "version-3.json").write_text("{")
    case.assert_cannot_fix(r"^registry/toys-classifier/version-3.json is not what was written there \(")
