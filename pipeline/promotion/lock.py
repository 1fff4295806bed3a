"""One writer at a time of a model's stages, on all machines: a registered model `<model>-lock`, whose creation is atomic.

It is deleted on release. It is taken over when its holder is provably gone (a process of this machine that no longer runs) or
its time is up. Whoever takes over renames it first, which only one can: the name it gets holds the token of the lock that was
found, so a second taker fails on the name, and a lock that was made meanwhile is seen by its token and put back.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline import provenance
from pipeline.errors import LockedError, RegistryError
from pipeline.process import Process

_LASTS = timedelta(minutes=15)  # longer than the checks of a promotion; each step of the move renews it
_NOTE = "Held while a stage of {model} changes; deleted afterwards. The next promotion takes over one that was left."


@dataclass(frozen=True)
class Holder:
    """Who holds a lock; its fields are the tags of the lock."""

    token: str  # of this holding, different for each
    user: str
    pid: str
    started: str  # of the process: tells it from a later one with the same pid
    host: str
    processes: str  # which processes `pid` counts among: containers may share a host name
    since: str  # ISO 8601, UTC

    def __str__(self) -> str:
        return f"{self.user} on {self.host} (process {self.pid}, since {self.since[:19]}Z)"

    @property
    def gone(self) -> bool:
        """Whether the holder provably runs no more; False where this machine cannot know."""
        return Process(self.pid, self.started, self.host, self.processes).is_gone


class Lock:
    """A lock that this process holds."""

    def __init__(self, client: Any, model: str, holder: Holder) -> None:
        self._client, self._name, self._holder = client, lock_name(model), holder

    def keep(self) -> None:
        """Renews the time; call it before each write.

        Raises:
            LockedError: the time was up, and another process took the lock.
        """
        tags = _tags(self._client, self._name)
        if tags.get("token") != self._holder.token:
            who = f"{_holder(tags)} has it now" if tags else "it is gone"
            raise LockedError(f"the lock {self._name} was lost ({who}): nothing more was written; run the command again")
        self._client.set_registered_model_tag(self._name, "expires", _expiry())

    def release(self) -> None:
        """Deletes the lock if it is still ours, and what takers left."""
        if _tags(self._client, self._name).get("token") != self._holder.token:
            return
        for entry in _set_aside(self._client, self._name):
            _delete(self._client, entry.name)
        _delete(self._client, self._name)


@contextmanager
def held(client: Any, model: str) -> Iterator[Lock]:
    """Holds the lock of the registered model `model`.

    Raises:
        LockedError: another process holds it; the message names who.
    """
    lock = _take(client, model)
    try:
        yield lock
    finally:
        lock.release()


def lock_name(model: str) -> str:
    """The name of the registered model that is the lock of `model`."""
    return f"{model}-lock"


def holder_of(client: Any, model: str) -> Holder | None:
    """Who holds the lock of `model`; None where it is free."""
    tags = _tags(client, lock_name(model))
    return _holder(tags) if tags else None


def leftovers(client: Any, model: str) -> Sequence[Holder]:
    """Who left a lock of `model` behind; `held` and its end take them away.

    Raises:
        LockedError: another process holds it, or may.
    """
    name = lock_name(model)
    tags = _tags(client, name)
    if tags and not _is_over(tags):
        raise _taken(model, _holder(tags))
    return [_holder(each) for each in (tags, *(entry.tags for entry in _set_aside(client, name))) if each]


def _take(client: Any, model: str) -> Lock:
    ourselves = _ourselves()
    if not _create(client, model, ourselves):
        tags = _tags(client, lock_name(model))
        if tags and _is_over(tags):
            _remove(client, lock_name(model), tags["token"])
        if not _create(client, model, ourselves):
            raise _taken(model, holder_of(client, model))
    return Lock(client, model, ourselves)


def _taken(model: str, holder: Holder | None) -> LockedError:
    return LockedError(f"{model} is being changed by {holder or 'another process'}: try again when it is done")


def _set_aside(client: Any, name: str) -> Sequence[Any]:
    """Locks that `_remove` renamed."""
    return [entry for entry in client.search_registered_models(f"name LIKE '{name}-%'") if "token" in entry.tags]


def _is_over(tags: Mapping[str, str]) -> bool:
    return _holder(tags).gone or tags.get("expires", "") < datetime.now(UTC).isoformat()


def _remove(client: Any, name: str, token: str) -> None:
    """Removes the lock with this token; does nothing where another process was quicker."""
    from mlflow.exceptions import MlflowException

    aside = f"{name}-{token}"
    try:
        client.rename_registered_model(name, aside)
    except MlflowException as error:  # two at once: the second finds no row, or the name taken
        if error.error_code == "RESOURCE_ALREADY_EXISTS" or _tags(client, name).get("token") != token:
            return
        raise
    if _tags(client, aside).get("token") != token:  # released and taken anew between look and grasp
        client.rename_registered_model(aside, name)


def _create(client: Any, model: str, holder: Holder) -> bool:
    from mlflow.exceptions import MlflowException

    tags = {**asdict(holder), "expires": _expiry()}
    try:
        client.create_registered_model(lock_name(model), tags=tags, description=_NOTE.format(model=model))
    except MlflowException as error:
        # MLflow looks up the one that is there before it says so, and may find it gone.
        if error.error_code in ("RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST"):
            return False
        raise
    return True


def _delete(client: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.delete_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise


def _tags(client: Any, name: str) -> Mapping[str, str]:
    """The tags of the registered model; none where there is no such model."""
    from mlflow.exceptions import MlflowException

    try:
        tags: Mapping[str, str] = client.get_registered_model(name).tags
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return {}
    return tags


def _holder(tags: Mapping[str, str]) -> Holder:
    try:
        return Holder(**{name: tags[name] for name in Holder.__dataclass_fields__})
    except KeyError:
        raise RegistryError(
            f"a registered model stands where the lock belongs, and was not made by promote ({dict(tags)}): delete it in the UI"
        ) from None


def _expiry() -> str:
    return (datetime.now(UTC) + _LASTS).isoformat()


def _ourselves() -> Holder:
    return Holder(
        token=uuid.uuid4().hex,
        user=provenance.user(),
        since=datetime.now(UTC).isoformat(),
        **asdict(Process.ours()),
    )
