"""A process as it is recorded in the tracking store, and whether it still runs."""

import json
import os
import socket
from dataclasses import asdict, dataclass

import psutil

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
