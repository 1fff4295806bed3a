"""Versions whose run does not hold all that its training, evaluation and registration wrote."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline import provenance, tracking
from pipeline.doctor.finding import Checked, Finding, Registry, counted
from pipeline.errors import PipelineError
from pipeline.tracking import Content
from pipeline.tracking.content import EVALUATION, PUBLISHED, TRAINING
from pipeline.tracking.stored import Stored
from pipeline.workspace import Workspace

_FOLDERS = ("training/", "provenance/", "data/", "evaluation/", "register/")  # which only `publish` writes to


def check(registry: Registry) -> Checked:
    """Compare the run of each version with what the run's own files say that it holds."""
    client = registry.client
    entries = sorted(client.search_model_versions(f"name = '{registry.model}'"), key=lambda entry: int(entry.version))
    found = [_check_version(client, entry, registry.project.workspace) for entry in entries]
    return Checked(f"the content of {counted(len(entries), 'run')}", [each for each in found if each])


def _check_version(client: Any, entry: Any, workspace: Workspace) -> Finding | None:
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(entry.run_id) if entry.run_id else None
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        run = None  # was deleted: another check says so
    if run is None or "training_id" not in run.data.tags:  # not of this pipeline
        return None
    lacking = list(_lacking(client, entry.run_id))
    if not lacking:
        return None
    return Finding(
        f"version {entry.version}: its run {entry.run_id} lacks {', '.join(lacking)}",
        "the process or the store failed while it was published; what is missing cannot be shown, compared or promoted by",
        f"no automatic fix: {_command(run.data.tags['training_id'], workspace)} completes it",
    )


def _lacking(client: Any, run_id: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        client.download_artifacts(run_id, "", name)
        paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        files = {path: file for path, file in paths.items() if path.startswith(_FOLDERS)}
        named = {TRAINING, EVALUATION, *Stored(client, run_id).published}
        try:
            content = Content.of_files(files) if TRAINING in files else None
        except PipelineError as error:
            yield f"a file that can be read ({error})"
            return
        if content and content.evaluation:
            named |= {f"evaluation/{each}" for each in content.evaluation.files}
        yield from sorted(named - {*files, PUBLISHED})
        if content:
            yield from tracking.missing(client, run_id, content)


def _command(training_id: str, workspace: Workspace) -> str:
    """Return the command that completes the run of the training."""
    try:
        here = workspace.training.exists() and provenance.read_training(workspace.training).training_id == training_id
    except PipelineError:
        here = False
    return "`dvc repro -s -f register`" if here else "`python -m pipeline sync` in the checkout where it was trained"
