"""One writer at a time for the registry stages of a model, on all machines: a registered model `<model>-lock`.

Creating it is atomic, its tags name the owner, and releasing deletes it. A lock whose owner is dead, or whose time is up, is
taken over: deleted and created again. Of several processes that do so at once, each may delete what another has just created;
so each waits a moment, and owns the lock only if its own token is still there.
"""

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline import provenance
from pipeline.errors import LockedError
from pipeline.process import Process

_LEASE = timedelta(minutes=15)  # longer than the checks of a promotion
_SETTLE = 1.0  # seconds between taking a lock over and owning it; to delete one takes milliseconds
_PAUSE = 0.5  # seconds between two attempts
UNFINISHED = "sync"  # tag of a registered model that `sync` is making: until it is gone, nothing else changes the model
_NOTE = "Held while a registry stage of {model} changes, then deleted. The next promotion takes over one that was left behind."


@dataclass(frozen=True)
class Lock:
    """The lock of a model, as this process owns it."""

    client: Any
    model: str
    token: str

    def keep(self) -> None:
        """Check that the lock is still owned, and extend it; call it before each write.

        Raises:
            LockedError: the time was up, and another process took the lock over.
        """
        tags = read(self.client, self.model)
        if tags.get("token") != self.token:
            who = f"{describe(tags)} has it now" if tags else "it was deleted"
            raise LockedError(f"the lock of {self.model} was lost ({who}): nothing more was written; run the command again")
        if tags["expires"] < _after(_LEASE / 2):
            self.client.set_registered_model_tag(lock_name(self.model), "expires", _after(_LEASE))


@contextmanager
def held(client: Any, model: str, wait: float = 0, completes: bool = False) -> Iterator[Lock]:
    """Hold the lock of the registered model `model`; wait for it up to `wait` seconds.

    Args:
        client: As `tracking.connect` gives it.
        model: It need not exist.
        wait: For another process.
        completes: This is `sync`, which may change a model that it was making when it was killed.

    Raises:
        LockedError: another process holds it, and the message names the owner; or a `sync` of the model was cut off.
    """
    deadline = time.monotonic() + wait
    while True:
        try:
            lock = _acquire(client, model)
            break
        except LockedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE)
    try:
        if not completes and any(UNFINISHED in each.tags for each in client.search_registered_models(f"name = '{model}'")):
            raise LockedError(f"a sync of {model} was cut off: `python -m pipeline sync` completes it")
        yield lock
    finally:
        _delete(client, model, lock.token)


def lock_name(model: str) -> str:
    """Return the name of the registered model that is the lock of `model`."""
    return f"{model}-lock"


def read(client: Any, model: str) -> Mapping[str, str]:
    """Return the tags of the lock of `model`; none where it is free."""
    found = client.search_registered_models(f"name = '{lock_name(model)}'")
    return found[0].tags if found else {}


def describe(tags: Mapping[str, str]) -> str:
    """Return who owns the lock with these tags."""
    process = Process.parse(tags.get("process", ""))
    where = f" on {process.host} (process {process.pid}, since {tags.get('since', '')[:19]}Z)" if process else ""
    return f"{tags.get('user', 'another process')}{where}"


def check_free(client: Any, model: str) -> Mapping[str, str]:
    """Return the tags of the lock that a dead or silent owner left behind; none where there is no lock.

    Raises:
        LockedError: another process holds it.
    """
    tags = read(client, model)
    process = Process.parse(tags.get("process", ""))
    if tags and not (process and process.is_dead) and tags.get("expires", _after(_LEASE)) > _after(timedelta(0)):
        raise _locked(model, tags)
    return tags


def _locked(model: str, tags: Mapping[str, str]) -> LockedError:
    return LockedError(f"{model} is being changed by {describe(tags)}: try again when it is done")


def _acquire(client: Any, model: str) -> Lock:
    lock = Lock(client, model, uuid.uuid4().hex)
    if _create(lock) or read(client, model).get("token") == lock.token:  # MLflow's client repeats a request without an answer
        return lock
    if left := check_free(client, model):
        _delete(client, model, left["token"])
        if _create(lock):
            time.sleep(_SETTLE)
            if read(client, model).get("token") == lock.token:
                return lock
    raise _locked(model, read(client, model))


def _create(lock: Lock) -> bool:
    from mlflow.exceptions import MlflowException

    owner = {"token": lock.token, "user": provenance.user(), "process": str(Process.current())}
    tags = {**owner, "since": _after(timedelta(0)), "expires": _after(_LEASE)}
    try:
        lock.client.create_registered_model(lock_name(lock.model), tags, _NOTE.format(model=lock.model))
    except MlflowException as error:
        # MLflow looks up the existing one before it says so, and may find it gone.
        if error.error_code in ("RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST"):
            return False
        raise
    return True


def _delete(client: Any, model: str, token: str) -> None:
    """Delete the lock with this token; do nothing where another process was quicker."""
    from mlflow.exceptions import MlflowException

    try:
        if read(client, model).get("token") == token:
            client.delete_registered_model(lock_name(model))
    except MlflowException:
        if read(client, model).get("token") == token:
            raise


def _after(time: timedelta) -> str:
    return (datetime.now(UTC) + time).isoformat()
