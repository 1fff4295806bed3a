"""What the checks found, as validation.json for programs and validation.html for people."""

import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import page
from pipeline.dataset import Dataset, Split
from pipeline.validate.check import Fault, Outcome, said

SHOWN_ROWS = 12
"""Rows at fault on the page, per expectation; validation.json has more of them."""
_SIDE = 96  # pixels on the page


def as_json(outcomes: Sequence[Outcome], data: Dataset) -> str:
    """The content of validation.json; equal outcomes give equal bytes."""
    content = {
        "verdict": _verdict(all(outcome.passed for outcome in outcomes)),
        "dataset": data.description.name,
        "dataset_digest": data.description.digest,
        "pictures": sum(data.description.counts.values()),
        "expectations": [_entry(outcome) for outcome in outcomes],
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def as_html(outcomes: Sequence[Outcome], data: Dataset) -> str:
    """The content of validation.html: the verdict, what failed with the pictures at fault, all the others."""
    failed = [outcome for outcome in outcomes if not outcome.passed]
    return page.render(
        Path(__file__).with_name("report.html.j2"),
        description=data.description,
        pictures=sum(data.description.counts.values()),
        failed=[(outcome, [_shown(fault, data) for fault in outcome.faults[:SHOWN_ROWS]]) for outcome in failed],
        passed=[outcome for outcome in outcomes if outcome.passed],
    )


def error_line(outcomes: Sequence[Outcome], report: str) -> str:
    """One line for those that failed: which, the observed value, the first rows at fault, where to look, the way out."""
    failed = [outcome for outcome in outcomes if not outcome.passed]
    details = "; ".join(_detail(outcome) for outcome in failed[:3])
    more = f"; and {', '.join(outcome.id for outcome in failed[3:])}" if failed[3:] else ""
    return (
        f"the data failed {len(failed)} of {len(outcomes)} expectations: {details}{more}: "
        f"see {report}, then mend the data, or the limits under `validate` in params.yaml"
    )


def _detail(outcome: Outcome) -> str:
    found = f"observed {outcome.observed}, limit {outcome.limit}"
    if outcome.faults and outcome.observed != outcome.fault_share:
        found += f"; {outcome.fault_share}"
    rows = ", ".join(str(fault) for fault in outcome.faults[:3])
    more = ", …" if outcome.fault_count > 3 else ""
    return f"{outcome.id} ({found}{': ' if rows else ''}{rows}{more})"


def _entry(outcome: Outcome) -> dict[str, Any]:
    entry = asdict(outcome)
    del entry["passed"]
    faults = [{key: value for key, value in fault.items() if value is not None} for fault in entry.pop("faults")]
    return {"id": entry.pop("id"), "verdict": _verdict(outcome.passed), **entry, "first_faults": faults}


def _verdict(passed: bool) -> str:
    return "passed" if passed else "failed"


def _shown(fault: Fault, data: Dataset) -> dict[str, str]:
    """What the page shows of a row: its name, the value, and the picture where the row is one."""
    picture = ""
    if fault.split is not None and fault.row is not None:
        split: Split = getattr(data, fault.split)
        picture = page.embedded_bytes(_png(split.images[fault.row]), ".png")
    return {"name": fault.name, "value": said(fault.value), "picture": picture}


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG of uint8 `(h, w, c)`, enlarged by whole steps; only the first channel where it has two or more than four."""
    from PIL import Image

    height, width, channels = pixels.shape
    colours = pixels if channels in (3, 4) else pixels[..., 0]
    zoom = max(1, _SIDE // max(height, width))
    image = Image.fromarray(np.ascontiguousarray(colours.repeat(zoom, axis=0).repeat(zoom, axis=1)))
    content = io.BytesIO()
    image.save(content, "png")
    return content.getvalue()
