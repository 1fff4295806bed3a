"""What a forked command does to itself: note each write to MLflow, and end with its whole process group at one of them.

`$FAULT` says what, as JSON: `command`, which is concerned; `log`, the file for the names of its writes; `kill`, after how many
of them it is killed; `full`, see `test_faults`.
"""

import json
import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

_WRITES = (
    *("create", "log", "set", "update", "delete", "finalize", "transition", "rename", "record", "restore", "add", "link"),
    *("_log", "upload"),
)
_READ = ("search", "get-", "graphql", "batch-get")
_inside = threading.local()


def prepare(words: Sequence[str]) -> None:
    """Watch the writes of this process, if `$FAULT` concerns it."""
    fault = json.loads(os.environ.get("FAULT") or "{}")
    if list(words[:2]) == ["pipeline", fault.get("command")]:
        _watch(Path(fault["log"]), fault.get("kill", 0))


def _watch(log: Path, kill: int) -> None:
    import requests
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as Registry
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as Tracking

    done: list[str] = []

    def count(name: str) -> None:
        done.append(name)
        with log.open("a", encoding="utf-8") as file:
            print(name, file=file)
        if len(done) == kill:
            os.killpg(os.getpgrp(), signal.SIGKILL)

    for kind in (Tracking, Registry, LocalArtifactRepository):
        for base in kind.__mro__[:-1]:
            for name, method in list(vars(base).items()):
                if name.startswith(_WRITES) and callable(method):
                    setattr(base, name, _counted(name, method, count))
    send = requests.Session.request

    def request(session: Any, method: str, url: str, *rest: Any, **options: Any) -> Any:
        answer = send(session, method, url, *rest, **options)
        if method != "GET" and not any(word in url for word in _READ) and "system/" not in str(options):
            count(f"{method} {url.partition('/mlflow')[2]}")
        return answer

    setattr(requests.Session, "request", request)  # noqa: B010  # mypy allows no assignment to a method


def _counted(name: str, method: Callable[..., Any], count: Callable[[str], None]) -> Callable[..., Any]:
    def write(*arguments: Any, **options: Any) -> Any:
        if getattr(_inside, "write", False) or _of_monitor(arguments, options):
            return method(*arguments, **options)
        _inside.write = True
        try:
            result = method(*arguments, **options)
        finally:
            _inside.write = False
        count(name)
        return result

    return write


def _of_monitor(arguments: Sequence[Any], options: Any) -> bool:
    """Whether these are the figures of the machine, which come when they come."""
    metrics = options.get("metrics") or (arguments[2] if len(arguments) > 2 else None)
    return isinstance(metrics, list) and any(getattr(each, "key", "").startswith("system/") for each in metrics)
