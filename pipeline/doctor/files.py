"""Versions whose files are not the ones that were registered."""

from typing import Any

from pipeline import tracking
from pipeline.doctor.finding import Examined, Finding, Registry, counted
from pipeline.errors import RegistryError
from pipeline.promotion import transitions
from pipeline.promotion.transitions import Standing
from pipeline.tracking import Source

# Nothing is mended: good files cannot be made up, and which version is used instead is a person's decision.
_WAYS_OUT = {
    "production": "`python -m pipeline rollback` puts the version before it into production",
    "staging": "`python -m pipeline archive {version}` takes it out of staging",
}


def examine(registry: Registry) -> Examined:
    """Fetches the files of each version and compares them with its manifest."""
    entries = registry.client.search_model_versions(f"name = '{registry.model}'")
    now = transitions.standing(registry.client, registry.model) if entries else Standing({}, {})
    found = [_check(registry, entry, now) for entry in sorted(entries, key=lambda entry: int(entry.version))]
    return Examined(f"the files of {counted(len(entries), 'version')}", [each for each in found if each])


def _check(registry: Registry, entry: Any, now: Standing) -> Finding | None:
    version = str(entry.version)
    stage = now.stage_of(version)
    name = f"version {version}" + (f" ({stage})" if stage in transitions.ALIASES else "")
    try:
        with tracking.model_folder(registry.client, Source(name, entry.run_id or "", registry.model, version)):
            return None
    except RegistryError as error:
        way_out = _WAYS_OUT.get(stage, "it is in no use, so leave it there").format(version=version)
        return Finding(
            str(error),
            "promote, rollback and whatever else of ours loads a version refuse this one; programs of others do not",
            f"nothing: {way_out}",
        )
