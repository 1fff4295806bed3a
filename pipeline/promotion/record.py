"""The record of a move between registry stages, or of a refusal: what it holds, and its digest."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

Kind = Literal["promote", "rollback", "archive", "refusal", "force"]
State = Literal["intent", "done", "undone"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One rule of a gate, as it was judged."""

    rule: str
    verdict: Literal["passed", "failed", "no rule", "nothing to compare"]
    value: float | None = None
    comparison: Literal["≥", "≤", ""] = ""
    limit: float | None = None
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What happened, once and for all."""

    number: int = 0  # 1, 2, …
    previous: str = ""  # digest of the record before; empty for the first
    kind: Kind
    who: str
    when: str  # ISO 8601, UTC
    model: str
    version: str
    source: str  # the stage it came from
    target: str  # the stage it went to, or would have
    before: str | None  # the version that was in `target`
    reason: str
    rows: tuple[Row, ...]
    git_commit: str | None
    evidence: str  # the page that shows how good it is: runs:/RUN/PATH, on the version's run

    def text(self) -> str:
        """Canonical JSON: equal records are equal texts."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False, separators=(",", ":"))

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON."""
        return hashlib.sha256(self.text().encode()).hexdigest()


@dataclass(frozen=True)
class Entry:
    """A record where it is kept."""

    record: Record
    state: State
    run_id: str
    status: str = field(default="", compare=False)  # of the run
    tags: Mapping[str, str] = field(default_factory=dict, compare=False)
