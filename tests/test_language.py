"""The project speaks the field's language: terms of its own that a reader would have to learn do not come back."""

import re
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
# Term → what the field says instead.
REPLACED = {
    r"pictures?": "image",
    r"near[- _]?cop(y|ies)": "near-duplicate",
    r"mend(s|ed|able|ing)?": "fix",
    r"suspects?": "label issue",
    r"at fault": "flagged, failed",
    r"likeness": "class similarity",
    r"band[- _]excess": "blank-band share",
    r"goes on after": "resumes after",
    r"derived? again": "reproduce",
    r"perhaps (a |an )?[A-Z]": "suggested label",
    r"rooms?": "package",
    r"standings?": "current stages",
    r"anew": "from scratch",
    r"(patient|shop|shelf|ward)s?": "a plain name of a fixture",
}
TEXT = {".py", ".md", ".yaml", ".yml", ".toml", ".j2", ".js", ".json", ".cfg", ""}


def texts() -> list[Path]:
    """The files that people read: all that git tracks but data, lock files and this list."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    paths = [PROJECT / name for name in listed.stdout.splitlines()]
    return [
        path for path in paths if path.suffix in TEXT and path.exists() and path != Path(__file__) and path.name != "LICENSE"
    ]


@pytest.mark.parametrize("term", REPLACED)
def test_a_term_that_was_replaced_does_not_come_back(term: str) -> None:
    pattern = re.compile(rf"(?<![A-Za-z])({term})(?![a-z])", 0 if "[A-Z]" in term else re.IGNORECASE)
    found = [
        f"{path.relative_to(PROJECT)}:{number}: {line.strip()[:100]}"
        for path in texts()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == [], f"say {REPLACED[term]}"
