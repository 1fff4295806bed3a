"""Renders benchmarks/RESULTS.md and the results table of README.md from the measured figures in benchmarks/results/.

    .venv/bin/python -m benchmarks.render

Each file there answers one question: its columns, notes, and runs (command, machine, date, versions, seeds, figures). The
benchmark scripts write their runs there.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
RESULTS, README = FOLDER / "RESULTS.md", FOLDER.parent / "README.md"
START, END = "<!-- results -->\n", "<!-- /results -->\n"
_HEAD = """# Measured results

Rendered by `python -m benchmarks.render` from `benchmarks/results/*.json`. Compare within a table, not between machines: on a
shared machine, the same training took 260 to 354 s on different occasions.

![Accuracy against seconds of training](accuracy_against_seconds.png)
"""
_README = {  # The architectures that README.md shows, and its words for them.
    "notebook": "a well-known tutorial CNN",
    "sprint": "the fastest",
    "default": "what `make run` trains",
    "compact": "under 100,000 parameters",
}


def results() -> str:
    """Return RESULTS.md: a table per question."""
    files = sorted((_read(path) for path in (FOLDER / "results").glob("*.json")), key=lambda content: int(content["order"]))
    usual = files[0]["runs"][0]["versions"]
    versions = ", ".join(f"{name} {version}" for name, version in usual.items())
    sections = [f"{_HEAD}\nVersions, where nothing else is said: {versions}.\n", *(_section(each, usual) for each in files)]
    return "\n".join(sections)


def readme_table() -> str:
    """Return the table of README.md: each architecture's first result with the most seeds."""
    lines = ["| architecture | parameters | test accuracy | seeds | training time vs. notebook |", "|---|---|---|---|---|"]
    content = _read(FOLDER / "results" / "architectures.json")
    figures = [each for run in content["runs"] for each in run["figures"]]
    columns = content["columns"]
    for name, words in _README.items():
        best = max((each for each in figures if each["architecture"] == name), key=lambda each: int(each["seeds"]))
        accuracy = _cell(best, "test_flip_averaged" if "test_flip_averaged" in best else "test", columns["test"])
        ratio = "1×" if name == "notebook" else _cell(best, "ratio", columns["ratio"])
        if ratio == "–":
            ratio = f"{_cell(best, 'fit_seconds', columns['fit_seconds'])} on {best['threads']} core"
        lines.append(f"| `{name}`, {words} | {best['parameters']:,} | {accuracy} | {best['seeds']} | {ratio} |")
    return "\n".join(lines) + "\n"


def with_table(readme: str) -> str:
    """Return the text of README.md with the table between its markers replaced."""
    before, _, rest = readme.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}{readme_table()}{END}{after}"


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _section(content: Any, usual: Mapping[str, str]) -> str:
    return "\n".join([f"## {content['question']}\n", *_table(content), "", *_below(content, usual)])


def _table(content: Any) -> Iterator[str]:
    """Yield the lines of the table; where there are several runs, the first column numbers them."""
    columns, runs = content["columns"], content["runs"]
    number = ["run"] if len(runs) > 1 else []
    yield f"| {' | '.join([*number, *(column['label'] for column in columns.values())])} |"
    yield "|---" * (len(number) + len(columns)) + "|"
    for count, run in enumerate(runs, 1):
        for figures in run["figures"]:
            cells = [_cell(figures, key, column) for key, column in columns.items()]
            yield f"| {' | '.join([*([str(count)] if number else []), *cells])} |"


def _below(content: Any, usual: Mapping[str, str]) -> Iterator[str]:
    """Yield the notes, then how each run was made."""
    yield from (f"{note}\n" for note in content["notes"])
    runs = content["runs"]
    for count, run in enumerate(runs, 1):
        command = f"`{run['command']}`" if run["command"] else None
        seeds = f"seed{'s' * (not run['seeds'].isdigit())} {run['seeds']}" if run["seeds"] else None
        parts = [part for part in (command, run["remark"], run["machine"], run["date"], seeds) if part]
        parts += [f"{name} {version}" for name, version in run["versions"].items() if usual.get(name) != version]
        yield f"{f'{count}. ' if len(runs) > 1 else ''}{' · '.join(parts)}"
    yield ""


def _cell(figures: Mapping[str, Any], key: str, column: Mapping[str, Any]) -> str:
    """Return a figure as text: a number, several, or a mean with its spread."""
    if "ratio" in column:
        slow, fast = (_middle(figures.get(name)) for name in column["ratio"])
        return f"{slow / fast:.3g}× faster" if slow and fast else "–"
    value, form = figures.get(key), column.get("format", "{}")
    if value is None:
        return "–"
    if isinstance(value, list):
        return ", ".join(form.format(each) for each in value)
    if isinstance(value, dict):
        bare = form.split("}")[0] + "}"
        spread = f" ± {bare.format(value['sd'])}" if "sd" in value else ""
        reach = f" ({bare.format(value['min'])}–{bare.format(value['max'])})" if "min" in value else ""
        return f"{form.format(_middle(value))}{spread}{reach}"
    return value if isinstance(value, str) else str(form.format(value))


def _middle(value: Any) -> float | None:
    return value.get("mean", value.get("median")) if isinstance(value, dict) else value


if __name__ == "__main__":
    RESULTS.write_text(results(), encoding="utf-8")
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
