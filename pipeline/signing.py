"""Signatures by SSH keys, as git makes them: `ssh-keygen -Y sign` with the key `$PIPELINE_SIGNING_KEY` names.

Each kind of text has a namespace of its own, so that a signature of one is none of another. Whose signatures count is what
the file `allowed_signers` of the repository says (ssh-keygen(1), "ALLOWED SIGNERS").
"""

import os
import subprocess
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipeline.errors import SigningError
from pipeline.page import printable

KEY = "PIPELINE_SIGNING_KEY"
RECORD, OUTCOME, VERSION = "pipeline-record", "pipeline-outcome", "pipeline-version"  # the namespaces
_TIMEOUT = 60  # seconds: a hardware key waits for a touch


@dataclass(frozen=True)
class Signature:
    """What came out of the check of a signature: either is empty, both where there is none or none can be checked."""

    signer: str = ""  # as allowed_signers names the key
    problem: str = ""


def key() -> Path | None:
    """Return the key to sign with; None where nothing is to be signed."""
    text = os.environ.get(KEY, "").strip()
    return Path(text).expanduser() if text else None


def sign(text: str, namespace: str) -> str | None:
    """Return the signature of `text`; None where `$PIPELINE_SIGNING_KEY` is not set.

    Raises:
        SigningError: the key is missing or locked, or there is no ssh-keygen.
    """
    path = key()
    if path is None:
        return None
    if not path.is_file():
        raise SigningError(f"{KEY}={path} is not a file: name an SSH key, or unset it to sign nothing")
    done = _ssh_keygen(["sign", "-q", "-f", str(path), "-n", namespace], text)
    if done.returncode:
        raise SigningError(
            f"{KEY}={path} cannot sign ({_last_line(done)}): a key with a passphrase must be in the agent first, "
            f"`ssh-add {path}`"
        )
    return done.stdout


def verify(text: str, signature: str, namespace: str, allowed_signers: Path, time: datetime | None = None) -> Signature:
    """Check that `signature` is one of `text`, by somebody whom `allowed_signers` names.

    Args:
        text: What was signed.
        signature: As `sign` returned it; "" for none.
        namespace: As of `sign`.
        allowed_signers: May be missing: then nothing is checked.
        time: When it was signed; the key must have been valid then. None: now.

    Raises:
        SigningError: there is no ssh-keygen.
    """
    if not signature or not allowed_signers.is_file():
        return Signature()
    with tempfile.NamedTemporaryFile("w", suffix=".sig", encoding="utf-8", errors="replace") as file:
        file.write(signature)
        file.flush()
        options = ["-s", file.name, "-f", str(allowed_signers)]
        options += [f"-Overify-time={time.strftime('%Y%m%d%H%M%SZ')}"] if time else []
        names = _ssh_keygen(["find-principals", *options]).stdout.splitlines()
        if not names:
            return Signature(problem=f"its signature is by a key that {allowed_signers.name} does not name for that time")
        done = _ssh_keygen(["verify", *options, "-I", names[0], "-n", namespace], text)
    if done.returncode:
        return Signature(problem=f"its signature is not valid ({_last_line(done)})")
    return Signature(printable(names[0]))


def check_ready(allowed_signers: Path, required: bool) -> None:
    """Check that what will be signed will count, before hours of work depend on it.

    Raises:
        SigningError: the key cannot sign, `allowed_signers` does not name it, or it is required and not set.
    """
    signature = sign("", RECORD)
    if signature is None:
        if required:
            raise SigningError(f"promote.require_signature is true: set {KEY} to the SSH key that you sign with")
        return
    add = f'add it, as in `echo "you@example.org $(cat {key()}.pub)" >> {allowed_signers.name}`'
    if required and not allowed_signers.is_file():
        raise SigningError(f"there is no {allowed_signers.name} in the checkout that names the key {key()}: {add}")
    if verify("", signature, RECORD, allowed_signers).problem:
        raise SigningError(
            f"{allowed_signers.name} does not name the key {KEY}={key()}, so its signatures would not count: {add}"
        )


def _ssh_keygen(arguments: list[str], text: str = "") -> subprocess.CompletedProcess[str]:
    """Run `ssh-keygen -Y`, without a terminal or a window in which it could ask for a passphrase."""
    command = ["ssh-keygen", "-Y", *arguments]
    variables = {**os.environ, "SSH_ASKPASS_REQUIRE": "never", "LC_ALL": "C"}
    try:
        return subprocess.run(
            command,
            input=text,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT,
            env=variables,
            start_new_session=True,
            check=False,
        )
    except FileNotFoundError:
        raise SigningError("there is no ssh-keygen to sign or check records with: install openssh-client") from None
    except subprocess.TimeoutExpired:
        raise SigningError(
            f"ssh-keygen did not answer within {_TIMEOUT} s: touch the hardware key, or start ssh-agent"
        ) from None


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = done.stderr.strip().splitlines()
    return printable(lines[-1]).removeprefix("Enter passphrase: ") if lines else f"exit code {done.returncode}"
