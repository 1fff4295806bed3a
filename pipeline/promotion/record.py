"""The record of a promotion, rollback, archiving or refusal: its fields, its digest, and its text for people."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

from pipeline.page import plain, printable

Kind = Literal["promote", "rollback", "archive", "refusal", "force", "accept"]  # the last acknowledges gaps of the history
State = Literal["intent", "done", "undone"]
Verdict = Literal["passed", "failed", "no rule", "nothing to compare", "accepted"]
_SMALL = 0.0001  # a smaller p value is shown as "< 0.0001"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One rule of a gate with its verdict."""

    rule: str
    verdict: Verdict
    value: float | None = None
    comparison: Literal["≥", "≤", ""] = ""
    limit: float | None = None
    detail: str = ""

    @property
    def shown_value(self) -> str:
        """The value in four digits; empty where there is none."""
        if self.value is None:
            return ""
        return f"< {_SMALL:.4f}" if 0 < self.value < _SMALL else f"{self.value:.4g}"

    @property
    def shown_limit(self) -> str:
        """The limit, as in "≥ 0.9"; empty where there is none."""
        return "" if self.limit is None else f"{self.comparison} {self.limit:.4g}"

    @property
    def measured(self) -> str:
        """Value and limit, as in "0.9312 (must be ≥ 0.9)"."""
        return f"{self.shown_value or '–'} (must be {self.shown_limit})" if self.shown_limit else self.shown_value


@dataclass(frozen=True)
class Version:
    """A version: its number names another one once the registered model was deleted and made again."""

    number: str
    weights_digest: str = ""  # "" where it is not known, as in older records
    run_id: str = ""

    def is_same(self, other: "Version | None") -> bool:
        """Return whether number, weights and run agree, as far as both are known."""
        if other is None or self.number != other.number:
            return False
        known = ((self.weights_digest, other.weights_digest), (self.run_id, other.run_id))
        return all(one == another for one, another in known if one and another)


@dataclass(frozen=True, kw_only=True)
class Record:
    """What happened; never changed afterwards."""

    number: int = 0  # 1, 2, …
    previous: str = ""  # digest and outcome of the record before; empty for the first, without the outcome in older ones
    kind: Kind
    who: str
    when: str  # ISO 8601, UTC
    model: str
    version: str  # "" where it is about the history itself
    source: str  # the stage it came from
    target: str  # the stage it went to, or was refused
    replaced: str | None  # the version that was in `target`
    reason: str
    rows: tuple[Row, ...]
    git_commit: str | None
    evidence: str  # the page with its scores: runs:/RUN/PATH, on the version's run
    # Older records lack what follows.
    weights_digest: str = ""  # of the version: its number alone may name another one later
    run_id: str = ""  # of the version
    test_digest: str = ""  # `dataset.test_digest` of the test split it was judged on; "" where it was judged on none
    accuracy: float | None = None  # of the version on that test split
    candidates: int | None = None  # how many versions were judged on that test split so far, this one included

    def text(self) -> str:
        """Return canonical JSON: equal records are equal texts."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False, separators=(",", ":"))

    @property
    def subject(self) -> Version:
        """The version it is about."""
        return Version(self.version, self.weights_digest, self.run_id)

    @property
    def failures(self) -> list[str]:
        """The rules that failed, each with value and limit."""
        return [f"{row.rule} {row.measured}".strip() for row in self.rows if row.verdict == "failed"]

    def markdown(self) -> str:
        """Return the record as a note for the MLflow UI, the essential first: the UI folds it after some lines."""
        where = f"{self.source} → {self.target}" + (f" (replaced version {self.replaced})" if self.replaced else "")
        when = f"{self.when[:10]} {self.when[11:19]} UTC"
        what = f"version {self.version} of {self.model}, {where}" if self.version else f"changes of the history of {self.model}"
        lines = [f"**{self.kind}**: {what}, by {plain(printable(self.who))}, {when}"]
        if self.reason:
            lines.append(f"Reason: {plain(printable(self.reason))}")
        run_id, _, path = self.evidence.removeprefix("runs:/").partition("/")
        if path:
            lines.append(f"See {path} among the artifacts of [the version's run](#/runs/{run_id}).")
        if self.rows:
            cells = [
                (row.rule, row.shown_value, row.shown_limit.replace(" ", "\u00a0"), row.verdict, row.detail)
                for row in self.rows
            ]
            table = [f"| {' | '.join(map(plain, each))} |" for each in [("rule", "value", "limit", "verdict", ""), *cells]]
            lines.append("\n".join([table[0], "|---|---|---|---|---|", *table[1:]]))
        return "\n\n".join(lines)


@dataclass(frozen=True)
class Entry:
    """A record as the tracking store holds it."""

    record: Record
    state: State  # whether the move was made, as the next record holds it, or else the run's tag
    run_id: str
    status: str = field(default="", compare=False)  # of the run
    name: str = field(default="", compare=False)  # of the run
    tags: Mapping[str, str] = field(default_factory=dict, compare=False)
    text: str = field(default="", compare=False)  # of the record, as stored
    sealed: str = field(default="", compare=False)  # the outcome as the next record, or the registered model, holds it

    @property
    def digest(self) -> str:
        """SHA-256 of the stored text: of an older record, which lacks fields, `record.text()` is another."""
        return hashlib.sha256((self.text or self.record.text()).encode()).hexdigest()

    @property
    def seal(self) -> str:
        """What the next record holds of this one."""
        return f"{self.digest} {self.state}"


@dataclass(frozen=True)
class Problem:
    """Something that is not as it was written."""

    text: str
    key: str  # what an acknowledgement names: equal only for the same change
    repairs: int = 0  # the record whose run's tags, note or name it is about: they can be written again
