"""What the checks found, as validation.json for programs and validation.html for people."""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline import page
from pipeline.baseline import Baseline
from pipeline.dataset import Dataset
from pipeline.validate.check import Flagged, Outcome

SHOWN_ROWS = 12
"""Flagged rows on the page, per expectation; validation.json has more of them."""
_COLUMNS = 120  # of a warning on stdout


def as_json(outcomes: Sequence[Outcome], data: Dataset, baseline: Baseline) -> str:
    """Return the content of validation.json; equal arguments give equal bytes."""
    content = {
        "verdict": "failed" if _of(outcomes, "failed") else "passed",
        "warnings": len(_of(outcomes, "warned")),
        "dataset": data.description.name,
        "dataset_digest": data.description.digest,
        "images": sum(data.description.counts.values()),
        "baseline": {"classifier": baseline.name, "test_accuracy": baseline.accuracy},
        "expectations": [_entry(outcome) for outcome in outcomes],
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def as_html(outcomes: Sequence[Outcome], data: Dataset) -> str:
    """Return the content of validation.html: the verdict, what failed and what warned with their images, and the rest."""
    flagged = [*_of(outcomes, "failed"), *_of(outcomes, "warned")]
    return page.render(
        Path(__file__).with_name("report.html.j2"),
        description=data.description,
        images=sum(data.description.counts.values()),
        total=len(outcomes),
        failed=len(_of(outcomes, "failed")),
        flagged=[(outcome, [_shown(row, data) for row in outcome.flagged[:SHOWN_ROWS]]) for outcome in flagged],
        passed=_of(outcomes, "passed"),
    )


def error_line(outcomes: Sequence[Outcome], report: str) -> str:
    """Return one line for what failed: the expectations, the first flagged rows, where to look, the way out."""
    failed = _of(outcomes, "failed")
    details = "; ".join(_detail(outcome) for outcome in failed[:3])
    more = f"; and {', '.join(outcome.id for outcome in failed[3:])}" if failed[3:] else ""
    return (
        f"the data failed {len(failed)} of {len(outcomes)} expectations: {details}{more}; see {report}; to continue: "
        f"{'; '.join(dict.fromkeys(outcome.remedy for outcome in failed[:3]))} (params.yaml)"
    )


def summary(outcomes: Sequence[Outcome], images: int, baseline: Baseline) -> str:
    """Return what to print where nothing failed: that all passed, or for each warning its way out; and the baseline."""
    warned = _of(outcomes, "warned")
    found = f"{len(outcomes) - len(warned)} passed, {len(warned)} warned" if warned else "all passed"
    share = f"{100 * baseline.accuracy:.2f} % of {len(baseline.labels):,} test images correct"
    last = f"baseline of the model: {baseline.name}, {share}"
    return "\n".join([f"{len(outcomes)} expectations on {images:,} images: {found}", *map(_warning, warned), last])


def _of(outcomes: Sequence[Outcome], verdict: str) -> list[Outcome]:
    return [outcome for outcome in outcomes if outcome.verdict == verdict]


def _detail(outcome: Outcome) -> str:
    rows = outcome.flagged[:3]
    mark = ": " if len(rows) == outcome.flagged_count else ", e.g. "
    return f"{outcome.id}: {outcome.finding}{_limit(outcome)}{mark if rows else ''}{', '.join(map(str, rows))}"


def _limit(outcome: Outcome) -> str:
    return f", limit {outcome.limit}" if outcome.observed_min is not None else ""


def _warning(outcome: Outcome) -> str:
    """Return how many rows are flagged, the first of them, and the limit: as much as fits into a line of a terminal.

    Files have a line of their own, uncut, and two of them: the second is often the copy of the first.
    """
    line = f"warning: {outcome.id}: {outcome.finding}"
    example, files = [], [f"{row.brief} ({row.text})" for row in outcome.flagged[:2] if row.file]
    if not files:
        example = [part for row in outcome.flagged[:1] for part in (f", e.g. {row.brief}", f" ({row.text})")]
    for more in (*example, _limit(outcome)):
        if len(line + more) > _COLUMNS:
            break
        line += more
    lines = [textwrap.shorten(line, _COLUMNS, placeholder=" …"), *(f"  e.g. {file}" for file in files), f"  {outcome.remedy}"]
    return "\n".join(lines)


def _entry(outcome: Outcome) -> dict[str, Any]:
    entry = {key: value for key, value in asdict(outcome).items() if key not in ("id", "passed")}
    flagged = [
        {key: value for key, value in row.items() if value is not None and key != "text"} for row in entry.pop("flagged")
    ]
    return {"id": outcome.id, "verdict": outcome.verdict, **entry, "first_flagged": flagged}


def _shown(row: Flagged, data: Dataset) -> dict[str, Any]:
    """Return what the page shows of a row: its images, where it is one or a pair, its places and the value."""
    splits: dict[Any, Any] = {**data.splits()}
    places = ((row.split, row.row), (row.other_split, row.other_row))
    images = [page.embedded_pixels(splits[split].images[index]) for split, index in places if index is not None]
    text = row.text if row.label_probability is None else f"label: {row.class_name}, {row.text}"
    return {"images": images, "places": row.places, "text": text}
