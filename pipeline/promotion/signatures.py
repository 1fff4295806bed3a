"""The signatures of records and of versions, checked against the checkout's `allowed_signers`."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipeline import signing
from pipeline.errors import RegistryError
from pipeline.project import Project
from pipeline.promotion.ledger import OUTCOME_SIGNATURE, SIGNATURE
from pipeline.promotion.record import Entry, Problem
from pipeline.signing import Signature
from pipeline.tracking import Source, manifest
from pipeline.workspace import Workspace


def check(client: Any, source: Source, project: Project) -> str:
    """Return who signed the version, "" where nobody did.

    Raises:
        RegistryError: its signature is not valid, or it has none that counts and params.yaml requires one.
        SigningError: there is a signature, and no ssh-keygen.
    """
    found = manifest.signature(client.get_model_version(source.model_name, source.version), project.workspace.allowed_signers)
    if found.problem:
        raise RegistryError(
            f"{source.model_name} {source.name} is not what was registered, or not by whom it says: {found.problem}"
        )
    if not found.signer and project.params.promote.require_signature:
        raise RegistryError(
            f"nobody whom allowed_signers names signed {source.model_name} {source.name}, and promote.require_signature is "
            f"true: `dvc repro -s -f register` with {signing.KEY} set signs it, in the checkout where it was trained"
        )
    return found.signer


@dataclass(frozen=True)
class Signatures:
    """The signatures of the records, checked."""

    entries: Sequence[Entry]
    found: Sequence[tuple[Signature, Signature]]  # of the record, of its outcome
    required: bool

    @classmethod
    def of(cls, entries: Sequence[Entry], workspace: Workspace, required: bool) -> "Signatures":
        """Check the signatures of `entries`."""
        allowed = workspace.allowed_signers

        def verify(entry: Entry) -> tuple[Signature, Signature]:
            time = datetime.fromisoformat(entry.record.when).astimezone(UTC)
            record = signing.verify(entry.text, entry.tags.get(SIGNATURE, ""), signing.RECORD, allowed, time)
            signature = entry.tags.get(OUTCOME_SIGNATURE, "") if entry.state != "intent" else ""
            return record, signing.verify(entry.seal, signature, signing.OUTCOME, allowed, time)

        with ThreadPoolExecutor() as pool:  # 4 processes a record, each of some milliseconds
            return cls(entries, list(pool.map(verify, entries)), required)

    @property
    def signers(self) -> Mapping[int, str]:
        """Number → who signed the record, of those whose signatures are valid; two names where another one ended it."""
        return {
            entry.record.number: " and ".join(dict.fromkeys(filter(None, [record.signer, outcome.signer])))
            for entry, (record, outcome) in zip(self.entries, self.found, strict=True)
            if record.signer and not outcome.problem and (outcome.signer or entry.state == "intent" or not self.required)
        }

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong with them; a record without one only where signatures are required."""
        signers = self.signers
        first = min(signers, default=0)  # through the chain, it vouches for all before it
        for entry, (record, outcome) in zip(self.entries, self.found, strict=True):
            number, problem = entry.record.number, record.problem or outcome.problem
            if problem:
                yield Problem(f"record {number}: {problem}", f"signature {number} {entry.seal}")
            elif self.required and 0 < first < number and number not in signers:
                yield Problem(f"record {number} is not signed", f"unsigned {number} {entry.seal}")
        if self.required and self.entries and not first:
            yield Problem("none of the records is signed by anyone whom allowed_signers names", "unsigned")
