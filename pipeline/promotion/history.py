"""history: list every promotion, rollback, archiving and refusal of this model; or show what was in production at a time."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipeline import tracking
from pipeline.errors import RegistryError
from pipeline.page import printable
from pipeline.project import Project
from pipeline.promotion import timeline, transitions
from pipeline.promotion.chain import History
from pipeline.promotion.record import Entry, Record, Version
from pipeline.promotion.writer import checked

if TYPE_CHECKING:
    from rich.table import Table

_WIDE, _MIDDLE = 110, 76  # characters; below, the table leaves columns out
_STATES = {"done": "", "intent": ", interrupted", "undone": ", reverted"}
_STYLES = {"refusal": "red", "force": "yellow"}


def run(at: str | None, as_json: bool, project: Project) -> None:
    """Print the records, or what was in production at the time `at`.

    Raises:
        RegistryError: `at` is not a time, or in the future; or, after all was printed, records are missing or altered, or
            production is not what they say.
        TrackingError: the registry cannot be used or does not answer, or the records' experiment was deleted.
    """
    time = None if at is None else _parse(at, datetime.now(UTC))
    model = project.model
    client = tracking.connect(project.workspace)
    with tracking.store_guard(project.workspace):
        history = checked(client, project)
        difference = _difference(client, model, history.entries)
    if as_json:
        content = [_as_json(entry) for entry in history.entries] if time is None else _production(history.entries, time)
        print(
            _escaped(
                json.dumps({"model": model, **content} if isinstance(content, dict) else content, indent=2, ensure_ascii=False)
            )
        )
    elif time is None:
        _print(model, history)
    else:
        print(f"{model}: {_describe_production(history.entries, time)}")
    if sentences := [*_changes(model, history), *difference]:
        raise RegistryError("; ".join(sentences))


def _difference(client: Any, model: str, entries: Sequence[Entry]) -> list[str]:
    """Return how production differs from what the records say, with the way out."""
    if not client.search_registered_models(f"name = '{model}'"):
        return []
    now = transitions.current_stages(client, model)
    if (move := timeline.unrecorded(entries, now)) is None:
        return []
    difference = timeline.describe_difference(move, now)
    return [f"{difference}: it was changed without promote, `python -m pipeline doctor --fix` records it"]


def _changes(model: str, history: History) -> list[str]:
    if not history.problems:
        return []
    found = "; ".join(filter(None, [*(problem.text for problem in history.problems), history.restorable]))
    way = (
        f'`python -m pipeline doctor --accept "why"` acknowledges {"them" if len(history.gaps) > 1 else "it"}'
        if history.gaps
        else ""
    )
    fix = "`python -m pipeline doctor --fix` writes the tags again" if len(history.gaps) < len(history.problems) else ""
    return [f"the history of {model} was changed: {found}; {' and '.join(filter(None, [fix, way]))}"]


def _escaped(text: str) -> str:
    """Return JSON without the characters that a terminal would obey."""
    return re.sub("[\x7f-\x9f\u202a-\u202e\u2066-\u2069]", lambda found: f"\\u{ord(found[0]):04x}", text)


def _parse(text: str, now: datetime) -> datetime:
    """Return the time that `text` names, or now; UTC where it names no offset."""
    if text.strip() == "now":
        return now
    try:
        time = datetime.fromisoformat(text.strip())
        time = (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):  # the year 1 in another zone
        examples = "2026-01-31 or 2026-01-31T18:30 (both UTC), 2026-01-31T18:30+01:00, 2026-01-31T18:30Z"
        raise RegistryError(f"--at {text!r} is not a time: write it as {examples}") from None
    if time > now:
        raise RegistryError(f"--at {text}: {_format(time)} is in the future, it is {_format(now)}")
    return time


def _format(time: datetime | str) -> str:
    time = datetime.fromisoformat(time) if isinstance(time, str) else time
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _production(entries: Sequence[Entry], time: datetime) -> dict[str, Any]:
    """Return what was in production at `time`, and the record that put it there, or took the last one out."""
    last = _last_change(entries, time)
    version = timeline.production(entries, time)[-1] or Version("")
    return {
        "at": time.isoformat(),
        "version": version.number or None,
        "weights_digest": version.weights_digest or None,
        "run_id": version.run_id or None,
        "since": last.when if last else None,
        "record": last.number if last else None,
    }


def _last_change(entries: Sequence[Entry], time: datetime) -> Record | None:
    changes = [record for record in timeline.moves(entries, time) if "production" in (record.source, record.target)]
    return changes[-1] if changes else None


def _describe_production(entries: Sequence[Entry], time: datetime) -> str:
    version, last = timeline.production(entries, time)[-1], _last_change(entries, time)
    found = f"{f'version {version.number}' if version else 'no version'} was in production at {_format(time)}"
    if last:
        reason = f": {last.reason}" if last.reason else ""
        by = printable(f"{last.kind} by {last.who}{reason}")
        return f"{found}, since {_format(last.when)} (record {last.number}, {by})"
    if not entries:
        return f"{found} (there are no records yet)"
    first = entries[0].record.when
    before = ", without a promotion to production until then" if time >= datetime.fromisoformat(first) else ""
    return f"{found} (the first record is of {_format(first)}{before})"


def _as_json(entry: Entry) -> dict[str, Any]:
    """Return the record with all its rows; NaN, which JSON does not know, is null."""
    content = asdict(entry.record)
    for row in content["rows"]:
        if row["value"] is not None and not math.isfinite(row["value"]):
            row["value"] = None
    return {**content, "state": entry.state, "record_run_id": entry.run_id, "digest": entry.digest}


def _print(model: str, history: History) -> None:
    from rich.console import Console

    if not history.entries:
        print(f"{model} has no history yet: `python -m pipeline promote VERSION STAGE` writes the first record")
        return
    console = Console(highlight=False, markup=False, emoji=False)
    console.print(_table(model, history, console.width))
    for note in (*history.acknowledged, *history.notes):
        console.print(note, style="yellow")
    if console.width < _WIDE:
        console.print("a wider terminal shows more columns, --json everything", style="dim")


def _table(model: str, history: History, width: int) -> "Table":
    from rich.table import Table

    table = Table(title=f"{model}, oldest first", title_justify="left", box=None, header_style="bold", pad_edge=False)
    rows = [_cells(entry, history.signers.get(entry.record.number, "–")) for entry in history.entries]
    hidden: tuple[str, ...] = (
        () if width >= _WIDE else ("from", "replaced") if width >= _MIDDLE else ("from", "replaced", "who", "reason")
    )
    hidden += () if history.signers else ("signed by",)
    names = [name for name in rows[0] if name not in hidden]
    for name in names:
        table.add_column(name, justify="right" if name in ("", "version", "replaced") else "left", no_wrap=name != "reason")
    for entry, cells in zip(history.entries, rows, strict=True):
        style = "dim" if entry.state != "done" else _STYLES.get(entry.record.kind, "")
        table.add_row(*(cells[name] for name in names), style=style)
    return table


def _cells(entry: Entry, signer: str) -> dict[str, str]:
    record = entry.record
    cells = {
        "": str(record.number),
        "when (UTC)": _format(record.when)[:16],  # without seconds
        "who": record.who,
        "signed by": signer,
        "what": record.kind + _STATES[entry.state],
        "version": record.version or "–",
        "from": record.source or "–",
        "to": record.target or "–",
        "replaced": record.replaced or "–",
        "reason": "; ".join(filter(None, [record.reason, *record.failures])),
    }
    return {name: printable(cell) for name, cell in cells.items()}
