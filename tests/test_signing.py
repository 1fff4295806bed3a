"""Signatures by SSH keys: whose count, and what a key that cannot sign says."""

import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline import signing
from pipeline.errors import SigningError
from pipeline.signing import RECORD, VERSION, Signature

Sign = Callable[[str], str]
NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def allowed(tmp_path: Path, signing_key: Path) -> Path:
    """Names the key of anna."""
    path = tmp_path / "allowed_signers"
    path.write_text(f'anna@example.org namespaces="pipeline-*" {signing_key.with_suffix(".pub").read_text()}')
    return path


@pytest.fixture
def signature(signing_key: Path) -> str:
    assert signing_key.exists()
    made = signing.sign("text", RECORD)
    assert made is not None
    return made


def test_who_signed_is_who_allowed_signers_names(signature: str, allowed: Path) -> None:
    assert signing.verify("text", signature, RECORD, allowed, NOW) == Signature("anna@example.org")


@pytest.mark.parametrize(("text", "namespace"), [("texts", RECORD), ("text", VERSION)])
def test_a_signature_of_another_text_or_kind_is_none(signature: str, allowed: Path, text: str, namespace: str) -> None:
    found = signing.verify(text, signature, namespace, allowed, NOW)
    assert (found.signer, found.problem[:26]) == ("", "its signature is not valid")


@pytest.mark.parametrize(
    "damage", [lambda text: text[:100], lambda text: text.replace("U1NI", "U1NJ"), lambda _: "signed, anna"]
)
def test_what_is_no_signature_is_said(signature: str, allowed: Path, damage: Callable[[str], str]) -> None:
    assert signing.verify("text", damage(signature), RECORD, allowed, NOW).problem


def test_a_key_that_allowed_signers_does_not_name_counts_for_nothing(signature: str, allowed: Path, other_key: Path) -> None:
    allowed.write_text(f"bob {other_key.with_suffix('.pub').read_text()}")
    found = signing.verify("text", signature, RECORD, allowed, NOW)
    assert found == Signature(problem="its signature is by a key that allowed_signers does not name for that time")


@pytest.mark.parametrize(("valid", "signer"), [("20270101", "anna"), ("20260501", "")])
def test_a_key_must_have_been_valid_when_it_signed(
    signature: str, allowed: Path, signing_key: Path, valid: str, signer: str
) -> None:
    public = " ".join(signing_key.with_suffix(".pub").read_text().split()[:2])
    allowed.write_text(f'anna valid-before="{valid}" {public}\n')
    assert signing.verify("text", signature, RECORD, allowed, NOW).signer == signer


def test_without_key_or_list_nothing_is_signed_or_checked(
    signature: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert signing.verify("text", signature, RECORD, tmp_path / "none") == Signature()
    monkeypatch.delenv(signing.KEY)
    assert signing.sign("text", RECORD) is None


def one_line(error: pytest.ExceptionInfo[SigningError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_key_that_is_missing_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(signing.KEY, str(tmp_path / "none"))
    with pytest.raises(SigningError) as error:
        signing.sign("text", RECORD)
    assert one_line(error).endswith("is not a file: name an SSH key, or unset it to sign nothing")


def test_a_key_with_a_passphrase_never_asks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = tmp_path / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(key)], check=True)
    monkeypatch.setenv(signing.KEY, str(key))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    begun = time.monotonic()
    with pytest.raises(SigningError) as error:
        signing.sign("text", RECORD)
    assert time.monotonic() - begun < 10
    assert one_line(error).endswith(f"a key with a passphrase must be in the agent first, `ssh-add {key}`")


def test_without_ssh_keygen_the_package_is_named(
    signature: str, allowed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for use in (lambda: signing.sign("text", RECORD), lambda: signing.verify("text", signature, RECORD, allowed)):
        with pytest.raises(SigningError) as error:
            use()
        assert one_line(error).endswith("install openssh-client")


def test_that_signatures_will_count_is_checked_first(
    allowed: Path, signing_key: Path, other_key: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    signing.check_ready(allowed, required=True)
    signing.check_ready(tmp_path / "none", required=False)
    with pytest.raises(SigningError, match=r"there is no none in the checkout .* add it, as in `echo .* >> none`$"):
        signing.check_ready(tmp_path / "none", required=True)
    monkeypatch.setenv(signing.KEY, str(other_key))
    with pytest.raises(SigningError, match=r"^allowed_signers does not name the key PIPELINE_SIGNING_KEY="):
        signing.check_ready(allowed, required=False)
    monkeypatch.delenv(signing.KEY)
    signing.check_ready(allowed, required=False)
    with pytest.raises(SigningError, match=r"^promote.require_signature is true: set PIPELINE_SIGNING_KEY"):
        signing.check_ready(allowed, required=True)
    assert signing_key.exists()


def test_the_advice_makes_a_key_count(signing_key: Path, tmp_path: Path) -> None:
    advice = f'echo "you@example.org $(cat {signing_key}.pub)" >> allowed_signers'
    subprocess.run(["bash", "-c", advice], cwd=tmp_path, check=True)
    signing.check_ready(tmp_path / "allowed_signers", required=True)
