"""Locks that nobody holds any more."""

from pipeline.doctor.finding import Examined, Finding, Registry
from pipeline.promotion import lock
from pipeline.promotion.lock import Holder, Lock


def examine(registry: Registry) -> Examined:
    """Looks for locks that were left behind.

    Raises:
        LockedError: somebody holds the lock, so that stages may be between two steps.
    """
    if stranger := _stranger(registry):
        return Examined("the lock", [stranger])
    return Examined("the lock", [_left(registry, holder) for holder in lock.leftovers(registry.client, registry.model)])


def _left(registry: Registry, holder: Holder) -> Finding:
    return Finding(
        f"the lock {lock.lock_name(registry.model)} of {holder} was left behind",
        "its process is gone, or gave no sign of life for too long; nothing waits for it: whoever comes next takes it over",
        "takes it over and deletes it",
        _by_holding_it,
    )


def _by_holding_it(_: Lock) -> None:
    """Whoever holds the lock has taken over what was left, and deletes it at the end."""


def _stranger(registry: Registry) -> Finding | None:
    name = lock.lock_name(registry.model)
    found = registry.client.search_registered_models(f"name = '{name}'")
    if all("token" in entry.tags for entry in found):
        return None
    return Finding(
        f"a registered model named {name} stands where the lock belongs",
        "promote did not make it, and no stage can change while it is there",
        "nothing, it is not ours: rename or delete it in the MLflow UI",
    )
