"""sync: publish trainings, versions, records and aliases that the tracking store lacks; nothing there is overwritten."""

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline import tracking
from pipeline.environment import shown_url
from pipeline.errors import RegistryError, TrackingError
from pipeline.page import printable
from pipeline.project import Project
from pipeline.promotion import backup as records
from pipeline.sync import plan as plans
from pipeline.sync import registry
from pipeline.sync.trainings import Models, Trainings
from pipeline.tracking import backup, place
from pipeline.workspace import Workspace


def run(uri: str, project: Project) -> None:
    """Publish to the configured store, or to the one at `uri`.

    Raises:
        RegistryError: something contradicts what the store has, or is lost; the rest was published.
        PipelineError: the store cannot be used or does not answer, or another process changes a model.
    """
    workspace = project.workspace
    own = tracking.tracking_uri(workspace)
    _save(project)
    if uri:
        os.environ["MLFLOW_TRACKING_URI"] = uri
    target = tracking.tracking_uri(workspace)
    with tracking.store_guard(workspace), tempfile.TemporaryDirectory() as scratch:
        client = tracking.connect(workspace, create=True)
        trainings = Trainings(workspace, Models(_roots(workspace, own, target)), Path(scratch))
        done, problems = _publish(client, project, trainings)
        if target == own:
            _save(project)
    print(_summary(done, target))
    for problem in problems:
        print(f"  {printable(problem)}", file=sys.stderr)
    if problems:
        raise RegistryError(f"{len(problems)} of these could not be published, nothing was overwritten: see docs/sync.md")


def _save(project: Project) -> None:
    """Bring registry/ up to date with the configured store, if that can be reached."""
    try:
        client = tracking.connect(project.workspace)
        with tracking.store_guard(project.workspace):
            for model in {project.model, *backup.models(project.workspace)}:
                records.save(client, project.workspace, model)
    except TrackingError as error:
        if place.database(tracking.tracking_uri(project.workspace)) is None:
            tracking.warn(f"{error}; what registry/ holds is published")


def _roots(workspace: Workspace, *uris: str) -> Sequence[Path]:
    """Return the artifact folders on this machine: of the stores and of the checkout."""
    files = (place.database(uri) for uri in uris)
    folders = (workspace.artifacts, *(file.parent / workspace.artifacts.name for file in files if file))
    return list(dict.fromkeys(folder.resolve() for folder in folders if folder.is_dir()))


def _publish(client: Any, project: Project, trainings: Trainings) -> tuple[list[str], list[str]]:
    """Return what was published, and what could not be."""
    done: list[str] = []
    problems: list[str] = []
    found = []
    for model in backup.models(project.workspace):
        try:
            found.append(plans.make(client, project.workspace, model))
        except RegistryError as error:
            problems.append(str(error))
    versions = [version for each in found for version in each.versions]
    folders = {version.tags.get("training_id", ""): trainings.models.of_version(version) for version in versions}
    for line in trainings.publish(client, {key: folder for key, folder in folders.items() if folder}):
        (problems if line.startswith("not ") else done).append(line)
        print(line, flush=True)
    for each in found:
        problems += each.conflicts
        if not each.is_empty:
            restored = registry.restore(client, each, trainings)
            done += restored.done
            problems += restored.problems
    return done, problems


def _summary(done: Sequence[str], uri: str) -> str:
    store = shown_url(uri)
    if not done:
        return f"nothing to publish: {store} has what this checkout has"
    kinds = ("run", "version", "record", "alias")
    counts = {kind: sum(line.startswith(f"{kind} ") for line in done) for kind in kinds}
    width = max(map(len, kinds)) + 2
    rows = [f"  {kind + ('es' if kind == 'alias' else 's'):<{width}}{count:>4}" for kind, count in counts.items() if count]
    return "\n".join([f"published to {store}", *rows, "", "next:", "  python -m pipeline doctor   # check it"])
