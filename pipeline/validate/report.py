"""What the checks found, as validation.json for programs and validation.html for people."""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline import page
from pipeline.dataset import Dataset, Split
from pipeline.validate.check import Fault, Outcome, said

SHOWN_ROWS = 12
"""Rows at fault on the page, per expectation; validation.json has more of them."""
_COLUMNS = 120  # of a warning on stdout


def as_json(outcomes: Sequence[Outcome], data: Dataset) -> str:
    """The content of validation.json; equal outcomes give equal bytes."""
    content = {
        "verdict": "failed" if _of(outcomes, "failed") else "passed",
        "warnings": len(_of(outcomes, "warned")),
        "dataset": data.description.name,
        "dataset_digest": data.description.digest,
        "pictures": sum(data.description.counts.values()),
        "expectations": [_entry(outcome) for outcome in outcomes],
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def as_html(outcomes: Sequence[Outcome], data: Dataset) -> str:
    """The content of validation.html: the verdict, what failed and what warned with the pictures at fault, all the others."""
    broken = [*_of(outcomes, "failed"), *_of(outcomes, "warned")]
    return page.render(
        Path(__file__).with_name("report.html.j2"),
        description=data.description,
        pictures=sum(data.description.counts.values()),
        total=len(outcomes),
        failed=len(_of(outcomes, "failed")),
        broken=[(outcome, [_shown(fault, data) for fault in outcome.faults[:SHOWN_ROWS]]) for outcome in broken],
        passed=_of(outcomes, "passed"),
    )


def error_line(outcomes: Sequence[Outcome], report: str) -> str:
    """One line for those that failed: which, the observed value, the first rows at fault, where to look, the way out."""
    failed = _of(outcomes, "failed")
    details = "; ".join(_detail(outcome) for outcome in failed[:3])
    more = f"; and {', '.join(outcome.id for outcome in failed[3:])}" if failed[3:] else ""
    return (
        f"the data failed {len(failed)} of {len(outcomes)} expectations: {details}{more}: "
        f"see {report}, then mend the data, or the limits or `warn` under `validate` in params.yaml"
    )


def summary(outcomes: Sequence[Outcome], pictures: int) -> str:
    """For stdout, where nothing failed: that all passed, or a short line for each warning; the report says more."""
    warned = _of(outcomes, "warned")
    found = f"{len(outcomes) - len(warned)} passed, {len(warned)} warned" if warned else "all passed"
    warnings = [_brief(f"warning: {outcome.id}: ", outcome) for outcome in warned]
    return "\n".join([f"{len(outcomes)} expectations on {pictures:,} pictures: {found}", *warnings])


def _of(outcomes: Sequence[Outcome], verdict: str) -> list[Outcome]:
    return [outcome for outcome in outcomes if outcome.verdict == verdict]


def _detail(outcome: Outcome) -> str:
    found = f"observed {outcome.observed}, limit {outcome.limit}"
    if outcome.faults and outcome.observed != outcome.fault_share:
        found += f"; {outcome.fault_share}"
    rows = ", ".join(str(fault) for fault in outcome.faults[:3])
    more = ", …" if outcome.fault_count > 3 else ""
    return f"{outcome.id} ({found}{': ' if rows else ''}{rows}{more})"


def _brief(start: str, outcome: Outcome) -> str:
    """How many are at fault, the first of them and the limit: as much as a line of a terminal holds."""
    line = start + (outcome.fault_share if outcome.faults else outcome.observed)
    for more in (*(f", e.g. {fault.brief}" for fault in outcome.faults[:1]), f", limit {outcome.limit}"):
        line += more if len(line + more) <= _COLUMNS else ""
    return textwrap.shorten(line, _COLUMNS, placeholder=" …")


def _entry(outcome: Outcome) -> dict[str, Any]:
    entry = asdict(outcome)
    del entry["passed"]
    faults = [{key: value for key, value in fault.items() if value is not None} for fault in entry.pop("faults")]
    return {"id": entry.pop("id"), "verdict": outcome.verdict, **entry, "first_faults": faults}


def _shown(fault: Fault, data: Dataset) -> dict[str, str]:
    """What the page shows of a row: its name, the value, and the picture where the row is one."""
    picture, other = _picture(fault.split, fault.row, data), _picture(fault.other_split, fault.other_row, data)
    value = said(fault.value)
    if fault.other_name:
        value = f"difference {value}"
    if fault.label_probability is not None:
        value = f"labelled {fault.class_name}, {value}"
    return {"name": fault.name, "value": value, "picture": picture, "other": other, "other_name": fault.other_name}


def _picture(name: str | None, row: int | None, data: Dataset) -> str:
    if name is None or row is None:
        return ""
    split: Split = getattr(data, name)
    return page.embedded_pixels(split.images[row])
