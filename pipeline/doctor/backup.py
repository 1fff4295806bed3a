"""The files in registry/ and the store: what either lacks, and what they say differently."""

from collections.abc import Sequence

from pipeline.doctor.finding import Checked, Finding, Registry, counted
from pipeline.errors import RegistryError
from pipeline.promotion import backup as records
from pipeline.tracking import backup
from pipeline.tracking.lock import UNFINISHED, Lock

_SYNC = "no automatic fix here: `python -m pipeline sync`"


def check(registry: Registry) -> Checked:
    """Compare them; a model that never had files is not examined."""
    workspace, model = registry.project.workspace, registry.model
    if not (workspace.registry / model).exists():
        return Checked("no files of the registry")
    try:
        findings = _compare(registry)
    except RegistryError as error:
        meaning = "a registry that was lost can be made again from these files only if all of them can be read"
        findings = [Finding(str(error), meaning, "no automatic fix: do what the problem says")]
    return Checked("the files in registry/", findings)


def _compare(registry: Registry) -> Sequence[Finding]:
    client, workspace, model = registry.client, registry.project.workspace, registry.model
    saved, now = backup.read(workspace, model), backup.stored(client, model)
    if now.model and UNFINISHED in now.model.tags:
        meaning = "the model cannot be changed until that is done"
        return [Finding(f"a sync of {model} was cut off", meaning, f"{_SYNC} completes it")]
    written, there = records.read(workspace, model), records.stored(client, model)
    kept, known = saved.versions, now.versions
    lacking = [f"version {n}" for n, each in kept.items() if not each.deleted and n not in known]
    # Of those before its last one, the check of the history says more, and that they can be acknowledged.
    lacking += [f"record {n}" for n in written if n > max(there, default=0)]
    differing = [f"version {n}" for n, each in known.items() if n in kept and not each.is_same(kept[n])]
    differing += [f"record {n}" for n, each in there.items() if n in written and written[n].digest != each.digest]
    unsaved = [f"version {n}" for n in known if n not in kept] + [f"record {n}" for n in there if n not in written]
    shown = workspace.shown(workspace.registry / model)
    found = []
    if lacking:
        meaning = "they were deleted there, or the store was lost or is another one than before"
        problem = f"the store lacks {', '.join(lacking)}, which {shown} holds"
        found.append(Finding(problem, meaning, f"{_SYNC} publishes them where that is possible"))
    if differing:
        meaning = "the files are of another registry, so a lost store could not be made again from them"
        remedy = f"no automatic fix: set MLFLOW_TRACKING_URI to the store that they are of, or move {shown} away"
        found.append(Finding(f"{', '.join(differing)} in {shown} is not the store's", meaning, remedy))
    elif unsaved:
        problem = f"{shown} lacks {counted(len(unsaved), 'file')}: {', '.join(unsaved)}"
        meaning = "a store that was lost could not be made again from registry/ as it is"

        def fix(lock: Lock) -> None:
            lock.keep()
            records.save(client, workspace, model)

        found.append(Finding(problem, meaning, "writes them", fix))
    return found
