"""`dvc plots` draws the curves of an evaluation and shows its images; `diff` puts two revisions side by side."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]
DRAWN = {"confusion", "calibration", "loss", "accuracy"}
SHOWN = {f"reports/{name}.png" for name in ("precision_recall", "confidence", "confused_pairs", "network")}
SOMEONE = ("-c", "user.name=somebody", "-c", "user.email=somebody@localhost")


@pytest.mark.parametrize("command", [("show",), ("diff", "HEAD")])
def test_curves_and_images_are_drawn(command: tuple[str, ...], built_copy: Path, shell: Callable[..., Any]) -> None:
    shell("git", "add", "-A", cwd=built_copy)
    shell("git", *SOMEONE, "commit", "-q", "-m", "evaluated", cwd=built_copy)
    table = built_copy / "reports/calibration.csv"
    if command[0] == "diff":
        table.unlink()  # a link into DVC's cache, which must stay as it is
        table.write_text("confidence,accuracy,images\n0.5,0.25,4\n")
    printed = json.loads(shell("dvc", "plots", *command, "--json", cwd=built_copy).stdout)
    assert "errors" not in printed
    assert set(printed["data"]) == DRAWN | SHOWN
    assert {revision for each in printed["data"]["calibration"] for revision in each["revisions"]} == (
        {"workspace"} if command[0] == "show" else {"HEAD", "workspace"}
    )
    shell("dvc", "plots", *command, "--out", "drawn", cwd=built_copy)
    page = (built_copy / "drawn/index.html").read_text(encoding="utf-8")
    with table.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            assert row["accuracy"] in page
