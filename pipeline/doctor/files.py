"""Versions whose files are not the registered ones."""

from typing import Any

from pipeline import tracking
from pipeline.doctor.finding import Checked, Finding, Registry, counted
from pipeline.errors import RegistryError
from pipeline.promotion import transitions
from pipeline.promotion.transitions import CurrentStages
from pipeline.tracking import Source

# No automatic fix: intact files cannot be reconstructed, and which version replaces it is a person's decision.
_REMEDIES = {
    "production": "`python -m pipeline rollback` restores the previous production version",
    "staging": "`python -m pipeline archive {version}` takes it out of staging",
}


def check(registry: Registry) -> Checked:
    """Fetch the files of each version and compare them with its manifest."""
    entries = registry.client.search_model_versions(f"name = '{registry.model}'")
    now = transitions.current_stages(registry.client, registry.model) if entries else CurrentStages({}, {})
    found = [_check(registry, entry, now) for entry in sorted(entries, key=lambda entry: int(entry.version))]
    return Checked(f"the files of {counted(len(entries), 'version')}", [each for each in found if each])


def _check(registry: Registry, entry: Any, now: CurrentStages) -> Finding | None:
    version = str(entry.version)
    stage = now.stage_of(version)
    name = f"version {version}" + (f" ({stage})" if stage in transitions.ALIASES else "")
    try:
        with tracking.model_folder(registry.client, Source(name, entry.run_id or "", registry.model, version)):
            return None
    except RegistryError as error:
        remedy = _REMEDIES.get(stage, "it is not in use, so it can stay as it is").format(version=version)
        meaning = "promote, rollback and every command here refuse to load this version; other programs do not"
        return Finding(str(error), meaning, f"no automatic fix: {remedy}")
