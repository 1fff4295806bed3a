"""One process at a time: two ingests must not write into the same files."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import SourceError
from pipeline.workspace import Workspace


@contextmanager
def alone(workspace: Workspace, work: str) -> Iterator[None]:
    """Holds the lock called `work`, waiting for whoever has it; the system frees it when a process dies.

    Raises:
        SourceError: the lock file cannot be written.
    """
    from filelock import FileLock, Timeout

    path = workspace.caches / f"{work}.lock"
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"waiting for another process: {work} …", file=sys.stderr)
            lock.acquire()
    except OSError as error:
        raise SourceError(f"{path} cannot be written ({error.strerror or error}): make room or set the rights") from None
    try:
        yield
    finally:
        lock.release()
