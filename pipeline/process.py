"""A process as it can be written down, and recognised later: does it still run?"""

import json
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Process:
    """Which process of which machine."""

    pid: str
    started: str  # tells it from a later one with the same pid
    host: str
    processes: str  # which processes `pid` counts among: containers may share a host name

    @classmethod
    def ours(cls) -> "Process":
        """The one that asks."""
        return cls(str(os.getpid()), _started(os.getpid()) or "", socket.gethostname(), _processes())

    @classmethod
    def read(cls, text: str) -> "Process | None":
        """What `text` wrote; None where it is something else."""
        try:
            return cls(**{name: str(value) for name, value in json.loads(text).items()})
        except (ValueError, TypeError, AttributeError):
            return None

    def text(self) -> str:
        """As JSON, for a tag."""
        return json.dumps(asdict(self))

    @property
    def is_here(self) -> bool:
        """Whether it is one of those that this machine can see."""
        return (self.host, self.processes) == (socket.gethostname(), _processes())

    @property
    def is_gone(self) -> bool:
        """Whether it provably runs no more; False where this machine cannot know."""
        return self.is_here and self.pid.isdecimal() and _started(int(self.pid)) not in (self.started, None)


def _processes() -> str:
    """Boot and process namespace, where the system tells them."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return "any"


def _started(pid: int) -> str | None:
    """When the process started, as this system counts it; "" where there is none, or a dead one not yet waited for.

    None where there is one that may not be looked at.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return ""
        stat = Path(f"/proc/{pid}/stat")
        if stat.exists():  # in ticks since the boot, which no change of the clock moves
            return stat.read_text(encoding="utf-8").rpartition(")")[2].split()[19]
        return f"{process.create_time():.0f}"
    except (psutil.Error, OSError):
        return None if psutil.pid_exists(pid) else ""
