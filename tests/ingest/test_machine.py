"""Missing permissions, a full disk, and two ingests at once: one line each, and no partial output."""

import ctypes
import os
import resource
import subprocess
import sys
from collections.abc import Callable

import pytest

from pipeline import dataset
from pipeline.workspace import Workspace
from tests.ingest.sources import IMAGES_FILE, PROJECT, outputs, set_up


def without_permissions() -> None:
    """Take from root its permission to ignore file modes (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH)."""
    if os.geteuid() == 0:
        drop_from_bounding_set = 24  # PR_CAPBSET_DROP, see prctl(2)
        for capability in (1, 2):
            assert ctypes.CDLL(None).prctl(drop_from_bounding_set, capability, 0, 0, 0) == 0


def with_full_disk() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))


def started(workspace: Workspace, limits: Callable[[], None] | None = None) -> "subprocess.Popen[str]":
    command, path = [sys.executable, "-m", "pipeline", "ingest"], {**os.environ, "PYTHONPATH": str(PROJECT)}
    return subprocess.Popen(
        command, cwd=workspace.root, env=path, preexec_fn=limits, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.parametrize(
    ("kind", "locked", "limits", "line"),
    [
        ("folder", "data/source/cat/03.png", without_permissions, "data/source/cat/03.png cannot be read (Permission denied)"),
        ("folder", "data/source/dog", without_permissions, "data/source/dog cannot be read (Permission denied)"),
        (
            "idx",
            f"data/source/{IMAGES_FILE}",
            without_permissions,
            f"data/source/{IMAGES_FILE} cannot be read (Permission denied)",
        ),
        ("npz", "data/source/pets.npz", without_permissions, "data/source/pets.npz cannot be read (Permission denied)"),
        (
            "folder",
            "data",
            without_permissions,
            "data cannot be written (Permission denied): free disk space, or check permissions",
        ),
        (
            "folder",
            None,
            with_full_disk,
            "data/dataset cannot be written (File too large): free disk space, or check permissions",
        ),
        ("idx", None, with_full_disk, "data/dataset cannot be written (File too large): free disk space, or check permissions"),
    ],
)
def test_missing_permission_or_full_disk_is_one_line_and_leaves_nothing(
    workspace: Workspace, kind: str, locked: str | None, limits: Callable[[], None], line: str
) -> None:
    set_up(workspace, kind)
    if locked:
        (workspace.root / locked).chmod(0o555 if locked == "data" else 0)
    process = started(workspace, limits)
    _, printed = process.communicate()
    assert (process.returncode, printed.count("\n")) == (1, 1), printed
    assert printed.startswith("error: ")
    assert line in printed.replace(f"{workspace.root}/", "")
    assert outputs(workspace) == {}
    assert not list(workspace.root.rglob("*.part*"))


def test_two_ingests_at_once_write_what_one_writes(workspace: Workspace) -> None:
    set_up(workspace, "folder")
    processes = [started(workspace) for _ in range(2)]
    assert [(process.communicate(), process.returncode)[1] for process in processes] == [0, 0]
    both = outputs(workspace)
    started(workspace).communicate()
    assert outputs(workspace) == both
    assert len(dataset.read(workspace.dataset).train) > 20
