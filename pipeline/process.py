"""A process as it is recorded in the tracking store, whether it still runs, and a stage that ends when its dvc dies."""

import json
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

_INTERVAL, _GRACE = 1.0, 30.0  # seconds
_TOLERANCE = 2.0  # seconds; the creation time is derived from the clock, which may be adjusted meanwhile


@dataclass(frozen=True)
class Process:
    """One process of one machine."""

    pid: int
    created: float  # Unix time; distinguishes it from a later process with the same pid
    host: str

    @classmethod
    def current(cls) -> "Process":
        """Return this process."""
        return cls(os.getpid(), psutil.Process().create_time(), socket.gethostname())

    @classmethod
    def parse(cls, text: str) -> "Process | None":
        """Return the process whose `str` is `text`; None for any other text."""
        try:
            fields = json.loads(text)
            return cls(int(fields["pid"]), float(fields["created"]), str(fields["host"]))
        except (ValueError, TypeError, KeyError):
            return None

    def __str__(self) -> str:
        return json.dumps(asdict(self))

    @property
    def is_local(self) -> bool:
        """Whether it belongs to this machine."""
        return self.host == socket.gethostname()

    @property
    def is_dead(self) -> bool:
        """Whether it certainly runs no more; False where this machine cannot know."""
        if not self.is_local:
            return False
        try:
            found = psutil.Process(self.pid)
            return abs(found.create_time() - self.created) > _TOLERANCE or found.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True


def end_with_dvc() -> None:
    """Start the watch if dvc started this process."""
    if "DVC_STAGE" in os.environ and (dvc := _dvc()):
        threading.Thread(target=_end_with, args=(dvc,), daemon=True).start()


def _dvc() -> psutil.Process | None:
    """Return the nearest dvc among the ancestors; there may be a shell in between."""
    for ancestor in psutil.Process().parents():
        try:
            if any(Path(word).name == "dvc" for word in ancestor.cmdline()[:3]):
                return ancestor
        except psutil.Error:  # it ended meanwhile, or belongs to another user
            continue
    return None


def _end_with(dvc: psutil.Process) -> None:
    while dvc.is_running() and dvc.status() != "zombie":
        time.sleep(_INTERVAL)
    print("error: the dvc process that started this stage has died: run `dvc repro` to resume", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)  # so that the MLflow run is ended; a script's background job would ignore SIGINT
    time.sleep(_GRACE)
    os._exit(1)
