"""What the machine forbids (rights, room) and two ingests at once: one line each, and nothing half written."""

import ctypes
import os
import resource
import subprocess
import sys
from collections.abc import Callable

import pytest

from pipeline import dataset
from pipeline.workspace import Workspace
from tests.ingest.damage import IMAGES, PROJECT, outputs, set_up


def without_rights() -> None:
    """Takes from root its right to read and write what the file modes forbid (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH)."""
    if os.geteuid() == 0:
        drop_from_bounding_set = 24  # PR_CAPBSET_DROP, see prctl(2)
        for capability in (1, 2):
            assert ctypes.CDLL(None).prctl(drop_from_bounding_set, capability, 0, 0, 0) == 0


def without_room() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))


def started(workspace: Workspace, limits: Callable[[], None] | None = None) -> "subprocess.Popen[str]":
    command, path = [sys.executable, "-m", "pipeline", "ingest"], {**os.environ, "PYTHONPATH": str(PROJECT)}
    return subprocess.Popen(
        command, cwd=workspace.root, env=path, preexec_fn=limits, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.parametrize(
    ("kind", "locked", "limits", "line"),
    [
        ("folder", "data/source/cat/03.png", without_rights, "data/source/cat/03.png cannot be read (Permission denied)"),
        ("folder", "data/source/dog", without_rights, "data/source/dog cannot be read (Permission denied)"),
        ("idx", f"data/source/{IMAGES}", without_rights, f"data/source/{IMAGES} cannot be read (Permission denied)"),
        ("npz", "data/source/pets.npz", without_rights, "data/source/pets.npz cannot be read (Permission denied)"),
        ("folder", "data", without_rights, "data cannot be written (Permission denied): make room or set the rights"),
        ("folder", None, without_room, "data/dataset cannot be written (File too large): make room or set the rights"),
        ("idx", None, without_room, "data/dataset cannot be written (File too large): make room or set the rights"),
    ],
)
def test_what_the_machine_forbids_is_one_line_and_leaves_nothing(
    workspace: Workspace, kind: str, locked: str | None, limits: Callable[[], None], line: str
) -> None:
    set_up(workspace, kind)
    if locked:
        (workspace.root / locked).chmod(0o555 if locked == "data" else 0)
    process = started(workspace, limits)
    _, said = process.communicate()
    assert (process.returncode, said.count("\n")) == (1, 1), said
    assert said.startswith("error: ")
    assert line in said.replace(f"{workspace.root}/", "")
    assert outputs(workspace) == {}
    assert not list(workspace.root.rglob("*.part*"))


def test_two_ingests_at_once_leave_what_one_leaves(workspace: Workspace) -> None:
    set_up(workspace, "folder")
    processes = [started(workspace) for _ in range(2)]
    assert [(process.communicate(), process.returncode)[1] for process in processes] == [0, 0]
    both = outputs(workspace)
    started(workspace).communicate()
    assert outputs(workspace) == both
    assert len(dataset.read(workspace.dataset).train) > 20
