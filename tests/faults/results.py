"""What became of each fault, kept in .cache/faults.jsonl, and the table of docs/reliability.md that is made of it.

`FAULTS=all` may run in pieces (`pytest -k`): the newest result of each fault counts, and the table says of which code it is.
"""

import hashlib
import json
import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock

from tests.faults.judge import Verdict
from tests.faults.table import FAULTS, Fault

PROJECT = Path(__file__).parents[2]
RESULTS = PROJECT / ".cache/faults.jsonl"
LOGS = PROJECT / ".cache/faults"
PAGE = PROJECT / "docs/reliability.md"
BEGIN, END = "<!-- made by FAULTS=all: begin -->", "<!-- end -->"
_PACKAGES = ("mlflow", "dvc", "tensorflow", "keras")


def note(fault: Fault, survived: bool, verdict: Verdict, output: str) -> None:
    """Keep a result, and what the commands printed."""
    content = {
        "id": fault.id,
        "survived": survived,
        "lost": [*verdict.lost, *verdict.differing],
        "doubled": list(verdict.doubled),
        "code": code_digest(),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    LOGS.mkdir(parents=True, exist_ok=True)
    (LOGS / f"{fault.id.replace('/', '-')}.txt").write_text(output, encoding="utf-8")
    with FileLock(RESULTS.with_suffix(".lock")), RESULTS.open("a", encoding="utf-8") as file:
        print(json.dumps(content), file=file)


@cache
def code_digest() -> str:
    """Return the digest of pipeline/, so that a table does not mix what was measured before and after a change unseen."""
    files = sorted((PROJECT / "pipeline").rglob("*.py"))
    return hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in files)).hexdigest()[:8]


def rewrite_page() -> None:
    """Write the table of the results there are into docs/reliability.md."""
    if not RESULTS.exists():
        return
    lines = RESULTS.read_text(encoding="utf-8").splitlines()
    newest = {found["id"]: found for found in map(json.loads, lines)}
    with FileLock(RESULTS.with_suffix(".lock")):
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        PAGE.write_text(f"{before}{BEGIN}\n{table(FAULTS, newest)}\n{END}{after}", encoding="utf-8")


def table(faults: Sequence[Fault], newest: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table, one line per kind of fault, and where and when it was measured."""
    done = [fault for fault in faults if fault.id in newest]
    rows = ["| fault | injected | survived | lost something | doubled something |", "|---|---|---|---|---|"]
    for row in dict.fromkeys(fault.row for fault in done):
        rows.append(_line(row, [newest[fault.id] for fault in done if fault.row == row]))
    found = [newest[fault.id] for fault in done]
    rows.append(_line("**all**", found))
    codes = Counter(each["code"] for each in found)
    first, last = min(each["when"] for each in found), max(each["when"] for each in found)
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    of_code = "; ".join(f"{count} with pipeline/ {code}" for code, count in codes.items())
    where = (
        f"{os.cpu_count()} cores ({_processor()}), {platform.system()} {platform.release()}, Python {platform.python_version()}"
    )
    when = f"{first[:16].replace('T', ' ')} – {last[11:16]} UTC" if first[:10] == last[:10] else f"{first[:10]} – {last[:10]}"
    text = f"{len(done)} of {len(faults)} faults injected, {when}, {where}, {packages} ({of_code})."
    return "\n".join([*rows, "", text])


def _line(row: str, found: Sequence[Mapping[str, Any]]) -> str:
    survived, lost = sum(each["survived"] for each in found), sum(bool(each["lost"]) for each in found)
    return f"| {row} | {len(found)} | {survived} | {lost} | {sum(bool(each['doubled']) for each in found)} |"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
