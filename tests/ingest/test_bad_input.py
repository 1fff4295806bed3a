"""Everything that can be wrong with the data, as one table: the damage, and the one line that the user sees.

Each case runs the stage as the command line does. Afterwards data/dataset is unchanged, and nothing is left beside it. What
only a download can meet (dead and refusing hosts, broken transfers, HTML in place of data, silence, wrong checksums) is in
test_known.py; what the machine does (permissions, full disk, two processes) in test_machine.py.
"""

import signal
import sys
from collections.abc import Iterator

import pytest

from pipeline import cli, dataset
from pipeline.workspace import Workspace
from tests.ingest import bad_folder, bad_idx, bad_npz
from tests.ingest.sources import (
    WRITERS,
    Damage,
    outputs,
    set_up,
)

CASES = {**bad_idx.CASES, **bad_npz.CASES, **bad_folder.CASES}


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    """Restore SIGTERM, which the command line handles its own way."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


def ingest(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> int | str | None:
    """Run `python -m pipeline ingest` in this process; return its exit code."""
    monkeypatch.chdir(workspace.root)
    monkeypatch.setattr(sys, "argv", ["pipeline", "ingest"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


@pytest.mark.parametrize("kind", WRITERS)
def test_the_data_that_the_cases_damage_is_valid(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    set_up(workspace, kind)
    assert ingest(workspace, monkeypatch) == 0
    assert dataset.read(workspace.dataset).description.name == "pets"


@pytest.mark.parametrize("earlier", [False, True], ids=["first time", "after good data"])
@pytest.mark.parametrize(("kind", "damage", "line"), CASES.values(), ids=CASES)
def test_bad_data_is_one_line_and_leaves_nothing(
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    damage: Damage,
    line: str,
    earlier: bool,
) -> None:
    source = set_up(workspace, kind)
    if earlier:
        assert ingest(workspace, monkeypatch) == 0
    before = outputs(workspace)
    damage(source)
    capsys.readouterr()
    assert ingest(workspace, monkeypatch) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert printed.count("\n") == 1
    assert line in printed.replace(f"{workspace.root}/", "")
    assert outputs(workspace) == before
    assert not list(workspace.root.rglob("*.part*"))
    assert workspace.dataset.exists() == earlier
