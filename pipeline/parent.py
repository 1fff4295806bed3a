"""End a stage when the dvc process that started it dies: otherwise a second `dvc repro` could run beside it."""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

_INTERVAL, _GRACE = 1.0, 30.0  # seconds


def watch() -> None:
    """Start the watch if dvc started this process."""
    if "DVC_STAGE" in os.environ and (dvc := _dvc()):
        threading.Thread(target=_end_with, args=(dvc,), daemon=True).start()


def _dvc() -> Any:
    """Return the nearest dvc among the ancestors; there may be a shell in between."""
    import psutil

    for ancestor in psutil.Process().parents():
        try:
            if any(Path(word).name == "dvc" for word in ancestor.cmdline()[:3]):
                return ancestor
        except psutil.Error:  # it ended meanwhile, or belongs to another user
            continue
    return None


def _end_with(dvc: Any) -> None:
    while dvc.is_running() and dvc.status() != "zombie":
        time.sleep(_INTERVAL)
    print("error: the dvc process that started this stage has died: run `dvc repro` to resume", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)  # so that the MLflow run is ended; a script's background job would ignore SIGINT
    time.sleep(_GRACE)
    os._exit(1)
