"""Signed versions and records, as the commands treat them: refused, shown, or said to be forged."""

import json
import shutil
from pathlib import Path

import pytest

from pipeline.errors import RefusedError, RegistryError, SigningError
from pipeline.project import Project
from pipeline.promotion import command, history, signatures
from pipeline.promotion.writer import open_writer
from pipeline.tracking import Source, manifest
from pipeline.tracking.manifest import MANIFEST, SIGNATURE
from tests.doctor.cases import DoctorCase
from tests.promotion.checkouts import set_params
from tests.tracking.model_files import alter, stored_files

REQUIRED = {"require_signature: false": "require_signature: true"}


@pytest.fixture
def case(local_case: DoctorCase, ssh_keys: Path, monkeypatch: pytest.MonkeyPatch) -> DoctorCase:
    """A registry of which nothing is signed yet, and a checkout that names anna."""
    monkeypatch.setenv("COLUMNS", "1000")
    names = f'anna@example.org namespaces="pipeline-*" {(ssh_keys / "anna.pub").read_text()}'
    local_case.registry.workspace.allowed_signers.write_text(names)
    return local_case


def project(case: DoctorCase) -> Project:
    return Project.load(case.registry.workspace)


def version(case: DoctorCase, number: str) -> Source:
    return Source(f"version {number}", case.client.get_model_version(case.model, number).run_id, case.model, number)


def sign(case: DoctorCase, number: str) -> None:
    """Signs a version as register does."""
    entry = case.client.get_model_version(case.model, number)
    for name, value in manifest.signed(case.model, entry.run_id, entry.tags).items():
        case.client.set_model_version_tag(case.model, number, name, value)


def test_a_signed_version_says_by_whom(case: DoctorCase, signing_key: Path) -> None:
    assert signatures.check(case.client, version(case, "3"), project(case)) == ""
    assert signing_key.exists()
    sign(case, "3")
    set_params(case.registry.workspace, REQUIRED)
    assert signatures.check(case.client, version(case, "3"), project(case)) == "anna@example.org"
    with pytest.raises(RegistryError, match=r"nobody whom allowed_signers names signed toys-classifier version 4, .* signs it"):
        signatures.check(case.client, version(case, "4"), project(case))


@pytest.mark.parametrize("name", [MANIFEST, "weights_digest", SIGNATURE])
def test_a_tag_that_was_signed_cannot_be_changed(case: DoctorCase, signing_key: Path, name: str) -> None:
    assert signing_key.exists()
    sign(case, "3")
    other = case.client.get_model_version(case.model, "4").tags
    forged = {MANIFEST: json.dumps({"model.keras": "0" * 64}), "weights_digest": "0" * 64, SIGNATURE: other.get(SIGNATURE, "x")}
    case.client.set_model_version_tag(case.model, "3", name, forged[name])
    problem = "toys-classifier version 3 is not what was registered, or not by whom it says: its signature is "
    with pytest.raises(RegistryError, match=f"^{problem}"):
        signatures.check(case.client, version(case, "3"), project(case))
    assert any(found.startswith("toys-classifier version 3 is not what was registered") for found in case.doctor()[1])


@pytest.mark.slow
def test_a_file_and_the_manifest_exchanged_together_are_found_by_the_signature_alone(
    case: DoctorCase, signing_key: Path
) -> None:
    assert signing_key.exists()
    number = case.register(case.train())
    sign(case, number)
    folder = stored_files(case.client, case.model, number)
    alter(folder)
    case.client.set_model_version_tag(case.model, number, MANIFEST, manifest.of(folder))
    forged = f"toys-classifier version {number} is not what was registered, or not by whom it says: its signature is not valid"
    problems = case.doctor()[1]
    assert len(problems) == 1
    assert problems[0].startswith(forged)
    case.client.delete_model_version_tag(case.model, number, SIGNATURE)
    assert case.doctor()[1] == []


def test_the_signature_of_a_foreign_key_does_not_count(
    case: DoctorCase, signing_key: Path, other_key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_SIGNING_KEY", str(other_key))
    sign(case, "3")
    with pytest.raises(RegistryError, match="by a key that allowed_signers does not name"):
        signatures.check(case.client, version(case, "3"), project(case))
    assert signing_key.exists()


def test_where_signatures_are_required_an_unsigned_version_is_refused_and_that_is_recorded(
    case: DoctorCase, signing_key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert signing_key.exists()
    set_params(case.registry.workspace, REQUIRED)
    with pytest.raises(RefusedError, match="none of the records is signed by anyone"):
        command.promote("3", "staging", "", False, False, project(case))
    is_healthy, problems = case.doctor(accept="signed from now on")
    assert (is_healthy, len(problems)) == (False, 4)  # each version is unsigned, too
    with pytest.raises(RefusedError, match="version 3 was refused for staging: nobody whom allowed_signers names signed"):
        command.promote("3", "staging", "", False, False, project(case))
    assert case.registry.entries()[-1].record.kind == "refusal"
    capsys.readouterr()
    history.run(None, False, project(case))
    printed = capsys.readouterr().out
    assert printed.splitlines()[1].split()[:5] == ["when", "(UTC)", "who", "signed", "by"]
    assert printed.count("anna@example.org") == 2
    assert (
        "none of the records is signed by anyone whom allowed_signers names (accepted by record 4: signed from now on)"
        in printed
    )


def test_where_signatures_are_required_nothing_is_moved_without_a_key(case: DoctorCase) -> None:
    set_params(case.registry.workspace, REQUIRED)
    with pytest.raises(SigningError, match="set PIPELINE_SIGNING_KEY"), open_writer(case.client, project(case)):
        pytest.fail("opened")


def test_who_the_system_says_and_who_signed_are_told_apart(
    case: DoctorCase, signing_key: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert signing_key.exists()
    monkeypatch.setenv("LOGNAME", "chief")
    command.archive("4", "", project(case))
    history.run(None, False, project(case))
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.split()[3:6] == ["chief", "anna@example.org", "archive"]


def test_a_record_with_a_forged_signature_is_named(case: DoctorCase, signing_key: Path) -> None:
    assert signing_key.exists()
    entry = case.registry.move("3", "staging")
    stolen = case.registry.entries()[-1].tags["signature.outcome"]
    case.client.set_tag(entry.run_id, "signature", stolen)
    with pytest.raises(RegistryError, match="record 4: its signature is not valid "):
        history.run(None, False, project(case))
    assert case.doctor()[1][0].startswith("the history was changed: record 4: its signature is not valid ")


def test_without_ssh_keygen_signed_records_are_one_line(
    case: DoctorCase, signing_key: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert signing_key.exists()
    case.registry.move("3", "staging")
    monkeypatch.delenv("PIPELINE_SIGNING_KEY")
    assert shutil.which("ssh-keygen")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SigningError, match=r"install openssh-client$"):
        history.run(None, False, project(case))
