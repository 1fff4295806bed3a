"""Remove DVC's lock file if no process that it names can hold it; called by `setup/dvc` with its path.

A killed dvc leaves its process id there, or half a file. DVC takes any process that has this id today for the holder, and
refuses to work until somebody removes the file. A process that was started after the file was written, and is no dvc, holds
nothing.
"""

import re
import sys
from pathlib import Path

import psutil
from dvc.lock import make_lock

TOLERANCE = 2  # seconds; a file system may store whole seconds


def may_hold(pid: int, written: float) -> bool:
    """Return whether the process `pid` may be one that was in the file at the Unix time `written`."""
    try:
        process = psutil.Process(pid)
        return process.create_time() <= written + TOLERANCE or "dvc" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


path = Path(sys.argv[1])
with make_lock(f"{path}.lock", tmp_dir=str(path.parent)):  # which DVC holds while it changes the file
    holders = {int(pid) for pid in re.findall(r'"pid": *(\d+)', path.read_text(encoding="utf-8"))}
    if not any(may_hold(pid, path.stat().st_mtime) for pid in holders):
        path.unlink()
