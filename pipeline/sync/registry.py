"""A registered model made again from its files: versions with their numbers, records, aliases.

Every step finds out what an interrupted sync did before, so that the command can be killed anywhere and run again. Until the
end the registered model has a tag that keeps everything else from changing it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline import tracking
from pipeline.promotion import ledger, transitions
from pipeline.sync.plan import Plan
from pipeline.sync.trainings import Trainings
from pipeline.tracking import Source, lock, logged_model, manifest
from pipeline.tracking.backup import LAST, NO_FILES, PLACEHOLDER, SavedVersion
from pipeline.tracking.lock import UNFINISHED, Lock
from pipeline.tracking.manifest import MANIFEST, ORIGINAL_CREATED, ORIGINAL_MODEL, ORIGINAL_RUN, SIGNATURE
from pipeline.tracking.runs import find_run
from pipeline.workspace import Workspace

_WAIT = 120  # seconds; a promotion holds the lock while its gate loads a model
_NOWHERE = "s3://placeholder/none"  # servers refuse a source that looks like a file of theirs; nothing is fetched from it
_OF_VERSION = "version"  # tag of a logged model that was made for a version


@dataclass(frozen=True)
class Restored:
    """What became of a registered model."""

    done: Sequence[str]
    problems: Sequence[str]


def restore(client: Any, plan: Plan, trainings: Trainings) -> Restored:
    """Write what `plan` says; the runs of its trainings were published before.

    Raises:
        LockedError: another process changes the model.
    """
    done, problems = [], []
    with lock.held(client, plan.name, _WAIT, completes=True) as held:
        _open(client, plan)
        for version in plan.versions:
            held.keep()
            problems += _restore_version(client, plan, version, trainings)
            done.append(f"version {version.version}")
            print(f"{plan.name} version {version.version}", flush=True)
        for version in plan.of_other_runs:
            for tag, text in _origin(version).items():
                client.set_model_version_tag(plan.name, str(version.version), tag, text)
            done.append(f"version {version.version}")
        for version in plan.without_files:
            lacking = _fill_files(client, plan, version, trainings)
            problems += lacking
            done += [] if lacking else [f"version {version.version}"]
        _reserve(client, plan)
        _restore_records(client, held, trainings.workspace, plan)
        done += [f"record {each.entry.record.number}" for each in plan.records]
        there = {str(each.version) for each in client.search_model_versions(f"name = '{plan.name}'")}
        for alias, number in plan.aliases.items():
            held.keep()
            if str(number) in there:
                client.set_registered_model_alias(plan.name, alias, str(number))
                done.append(f"alias {alias}")
        _finish(client, held, plan)
    return Restored(done, problems)


def _open(client: Any, plan: Plan) -> None:
    if plan.is_new:
        client.create_registered_model(plan.name, {UNFINISHED: "in progress"}, plan.model.description)
    else:
        client.set_registered_model_tag(plan.name, UNFINISHED, "in progress")


def _finish(client: Any, held: Lock, plan: Plan) -> None:
    """Set MLflow's stage fields, delete the placeholders and set the model's own tags; the last step lets others change it."""
    now = transitions.current_stages(client, plan.name)
    for number, stage in ((number, now.stage_of(number)) for number in now.tags):
        if stage != "none":
            held.keep()
            transitions.set_field(client, plan.name, number, stage)
    for each in client.search_model_versions(f"name = '{plan.name}'"):
        if PLACEHOLDER in each.tags:
            client.delete_model_version(plan.name, each.version)
    for name, text in plan.tags.items():
        client.set_registered_model_tag(plan.name, name, text)
    client.delete_registered_model_tag(plan.name, UNFINISHED)


def _restore_version(client: Any, plan: Plan, version: SavedVersion, trainings: Trainings) -> list[str]:
    """Make a version with its number; return what could not be as it was."""
    name, problems = f"{plan.name} version {version.version}", []
    _fill(client, plan.name, version.version - 1)
    experiment = tracking.experiment_id(client, trainings.workspace, _dataset(plan, version))
    run_id = find_run(client, experiment, version.tags.get("training_id", "")) or ""
    if not run_id:
        problems.append(f"{name}: nothing here knows its training, so it has no run")
    tags = {**version.tags, **_origin(version)}
    model_id, found = _model_of(client, experiment, run_id, plan.name)
    folder = trainings.models.of_version(version) if found != version.tags.get(MANIFEST) else None
    if found != version.tags.get(MANIFEST) and (folder or not found):
        model_id = _logged(client, experiment, run_id if folder else "", f"{plan.name}/{version.version}", version, folder)
    elif found != version.tags.get(MANIFEST):
        tags = {**tags, MANIFEST: found}
        tags.pop(SIGNATURE, None)
        tracking.warn(f"{name}: its files were made again from model.keras: its manifest is new, and nobody signed it")
    if not found and not folder:
        tags[NO_FILES] = "true"
        problems.append(_lacks_files(name))
    made = client.create_model_version(
        plan.name, f"models:/{model_id}", run_id or None, tags, description=version.description, model_id=model_id
    )
    if int(made.version) != version.version:
        client.delete_model_version(plan.name, made.version)
        problems.append(f"{name}: its number was given there and deleted; the next is {made.version}")
    return problems


def _dataset(plan: Plan, version: SavedVersion) -> str:
    return version.tags.get("dataset") or plan.name.removesuffix("-classifier")


def _lacks_files(name: str) -> str:
    return f"{name}: its files are nowhere here: copy mlartifacts/ from where it was trained beside this one, and sync again"


def _fill_files(client: Any, plan: Plan, version: SavedVersion, trainings: Trainings) -> list[str]:
    """Send the files of a version that an earlier sync made without."""
    name, folder = f"{plan.name} version {version.version}", trainings.models.of_version(version)
    if folder is None:
        return [_lacks_files(name)]
    experiment = tracking.experiment_id(client, trainings.workspace, _dataset(plan, version))
    _logged(client, experiment, "", f"{plan.name}/{version.version}", version, folder)
    client.delete_model_version_tag(plan.name, str(version.version), NO_FILES)
    return []


def _model_of(client: Any, experiment: str, run_id: str, model: str) -> tuple[str, str]:
    """Return the logged model of a run and the manifest of its files; twice "" where it has none."""
    logged = logged_model(client, experiment, run_id) if run_id else None
    if logged is None:
        return "", ""
    with tracking.model_folder(client, Source(f"run {run_id}", run_id, model)) as folder:
        return str(logged.model_id), manifest.of(folder)


def _origin(version: SavedVersion) -> dict[str, str]:
    known = {ORIGINAL_RUN: version.run_id, ORIGINAL_MODEL: version.model_id, ORIGINAL_CREATED: str(version.created_ms)}
    return {name: text for name, text in known.items() if text}


def _fill(client: Any, name: str, last: int) -> None:
    """Make placeholders up to the number `last`."""
    highest = max((int(each.version) for each in client.search_model_versions(f"name = '{name}'")), default=0)
    while highest < last:
        made = client.create_model_version(name, _NOWHERE, tags={PLACEHOLDER: "of a version that was deleted"})
        highest = int(made.version)


def _reserve(client: Any, plan: Plan) -> None:
    """Keep the numbers of versions that were deleted last; nothing else tells that they were given."""
    if plan.highest:
        _fill(client, plan.name, plan.highest)
        client.set_registered_model_tag(plan.name, LAST, str(plan.highest))


def _logged(client: Any, experiment: str, run_id: str, name: str, version: SavedVersion, folder: Path | None) -> str:
    """Return the id of the logged model with these files, which was made for the version `name`."""
    from mlflow.entities import LoggedModelOutput

    found = client.search_logged_models([experiment], f"tags.`{_OF_VERSION}` = '{name}'", max_results=1)
    tags = {key: version.tags.get(key, "") for key in ("training_id", "weights_digest")} | {_OF_VERSION: name}
    made = found[0] if found else client.create_logged_model(experiment, "classifier", run_id or None, tags, {}, "keras")
    if folder and str(made.status) != "READY":
        client.log_model_artifacts(made.model_id, str(folder))
        client.finalize_logged_model(made.model_id, "READY")
        if run_id:
            client.log_outputs(run_id, [LoggedModelOutput(made.model_id, step=0)])
    return str(made.model_id)


def _restore_records(client: Any, held: Lock, workspace: Workspace, plan: Plan) -> None:
    experiment = tracking.experiment_id(client, workspace, ledger.experiment_name(plan.name), tracking.PROMOTIONS)
    for each in plan.records:
        held.keep()
        ledger.create(client, experiment, each.entry, each.signatures)
    ended: dict[str, str] = {state: status for status, state in ledger.ENDS.items()}
    for found in ledger.read(client, plan.name).entries:  # also those of a sync that was cut off
        if found.status not in ledger.ENDS and found.tags.get("state") in ended:
            end = int(datetime.fromisoformat(found.record.when).timestamp() * 1000)
            client.set_terminated(found.run_id, ended[found.tags["state"]], end)
