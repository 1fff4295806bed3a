"""A record in words: in the terminal, and as the note of its run in the MLflow UI."""

from pipeline.page import plain
from pipeline.promotion.record import Record, Row

_SMALL = 0.0001  # a p value below it is said to be so


def in_words(record: Record) -> str:
    """The record as Markdown, the essential first: the UI folds what comes after some lines."""
    where = f"{record.source} → {record.target}" + (f" (there was version {record.before})" if record.before else "")
    when = f"{record.when[:10]} {record.when[11:19]} UTC"
    lines = [f"**{record.kind}**: version {record.version} of {record.model}, {where}, by {record.who}, {when}"]
    lines += [f"Reason: {plain(' '.join(record.reason.split()))}"] if record.reason else []
    run_id, _, path = record.evidence.removeprefix("runs:/").partition("/")
    lines += [f"Look at {path} among the artifacts of [the version's run](#/runs/{run_id})."] if path else []
    if record.rows:
        table = [
            _line(row.rule, _value(row), _limit(row).replace(" ", "\u00a0"), row.verdict, row.detail) for row in record.rows
        ]
        lines.append("\n".join([_line("rule", "value", "limit", "verdict", ""), "|---|---|---|---|---|", *table]))
    return "\n\n".join(lines)


def said(row: Row) -> str:
    """Value and limit of a row: "0.9312 (must be ≥ 0.9)"; what is missing is left out."""
    return f"{_value(row) or '–'} (must be {_limit(row)})" if row.limit is not None else _value(row)


def failed(record: Record) -> list[str]:
    """The rules that failed, each with value and limit."""
    return [f"{row.rule} {said(row)}".strip() for row in record.rows if row.verdict == "failed"]


def _value(row: Row) -> str:
    if row.value is None:
        return ""
    return f"< {_SMALL:.4f}" if 0 < row.value < _SMALL else f"{row.value:.4g}"


def _limit(row: Row) -> str:
    return "" if row.limit is None else f"{row.comparison} {row.limit:g}"


def _line(*cells: str) -> str:
    return f"| {' | '.join(plain(cell) for cell in cells)} |"
