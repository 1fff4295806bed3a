"""A stage ends when the dvc that started it is gone: a second `dvc repro` would otherwise be accepted beside it."""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

_INTERVAL, _GRACE = 1.0, 30.0  # seconds


def watch() -> None:
    """Start the watch in a process that dvc started; elsewhere it does nothing."""
    if "DVC_STAGE" in os.environ and (dvc := _dvc()):
        threading.Thread(target=_end_with, args=(dvc,), daemon=True).start()


def _dvc() -> Any:
    """The nearest dvc among the ancestors: there may be a shell between."""
    import psutil

    for ancestor in psutil.Process().parents():
        try:
            if any(Path(word).name == "dvc" for word in ancestor.cmdline()[:3]):
                return ancestor
        except psutil.Error:  # gone meanwhile, or somebody else's
            continue
    return None


def _end_with(dvc: Any) -> None:
    while dvc.is_running() and dvc.status() != "zombie":
        time.sleep(_INTERVAL)
    print("error: the dvc that started this stage is gone: `dvc repro` goes on from here", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)  # so that the MLflow run is ended; a script's background job would ignore SIGINT
    time.sleep(_GRACE)
    os._exit(1)
