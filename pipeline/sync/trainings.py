"""The trainings that this checkout can prove, each from the best place that knows it, and their runs in a store.

Those places are the outputs, artifact folders that a lost or another local store left, and DVC's cache. A run that the store
has is left as it is, unless it is the one of the outputs; one that was deleted there stays deleted.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline import tracking
from pipeline.errors import PipelineError, RegistryError, UnreachableError
from pipeline.sync import cache
from pipeline.tracking import entry, manifest
from pipeline.tracking.backup import SavedVersion
from pipeline.tracking.content import TRAINING, Content
from pipeline.tracking.manifest import MANIFEST, ORIGINAL_RUN
from pipeline.tracking.publishing import missing, publish
from pipeline.tracking.runs import find_run
from pipeline.workspace import Workspace

_RUN = re.compile(r"^run_id: ([0-9a-f]{32})$", re.MULTILINE)
_MAX_TEXT = 100_000  # bytes of an MLmodel
_SHOWN_BY_MLFLOW = "images/"  # written again with the description
_OF_PROMOTIONS = "promotion/"  # what a gate compared: no stage's output


@dataclass(frozen=True)
class Models:
    """The folders of logged models below the artifact folders `roots`."""

    roots: Sequence[Path]

    @cached_property
    def _folders(self) -> Mapping[Path, str]:
        """Folder → the id of the run that logged it, as its MLmodel says."""
        files = (path for root in self.roots for path in sorted(root.glob("*/models/*/artifacts/MLmodel")))
        texts = {path.parent: path.read_text(errors="replace") for path in files if path.stat().st_size < _MAX_TEXT}
        return {folder: match.group(1) if (match := _RUN.search(text)) else "" for folder, text in texts.items()}

    def of_version(self, version: SavedVersion) -> Path | None:
        """Return a folder with exactly the files that were registered."""
        wanted = version.tags.get(MANIFEST)
        likely = sorted(self._folders, key=lambda folder: folder.parent.name != version.model_id)
        return next((folder for folder in likely if wanted and self._is_entry(folder) and manifest.of(folder) == wanted), None)

    def of_run(self, run_id: str) -> Path | None:
        """Return the folder of the model that a run logged."""
        return next((folder for folder, of in self._folders.items() if of == run_id and self._is_entry(folder)), None)

    def _is_entry(self, folder: Path) -> bool:
        with suppress(RegistryError, OSError):
            entry.check(folder, folder.name)
            return True
        return False


@dataclass(frozen=True)
class Trainings:
    """The trainings of a checkout."""

    workspace: Workspace
    models: Models
    scratch: Path  # an empty folder to use

    @cached_property
    def contents(self) -> Mapping[str, Content]:
        """Training id → what its run is to hold; of two places that know it, the first one counts."""
        found: dict[str, Content] = {}
        for content in (*self._outputs(), *self._folders(), *self._cached()):
            found.setdefault(content.plan.training_id, content)
        return found

    @cached_property
    def current(self) -> str:
        """The id of the training in the outputs; "" where there is none."""
        return next((content.plan.training_id for content in self._outputs()), "")

    def _outputs(self) -> Iterator[Content]:
        if self.workspace.training.exists():
            content = Content.of_outputs(self.workspace)
            left = (each.files for each in self._left.values() if each.plan.training_id == content.plan.training_id)
            pages = {path: file for files in left for path, file in files.items() if path.startswith(_OF_PROMOTIONS)}
            yield replace(content, files={**pages, **content.files})

    def _folders(self) -> Iterator[Content]:
        yield from self._left.values()

    @cached_property
    def _left(self) -> Mapping[str, Content]:
        """Run id → what the artifact folder of that run holds, the oldest folder first."""
        found = {}
        for root in self.models.roots:
            for path in sorted(root.glob(f"*/*/artifacts/{TRAINING}"), key=lambda path: path.parents[2].stat().st_mtime):
                folder = path.parents[1]
                files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()}
                files = {name: file for name, file in files.items() if not name.startswith(_SHOWN_BY_MLFLOW)}
                with _usable(folder):
                    run_id = folder.parent.name
                    found[run_id] = Content.of_files(files, model=self.models.of_run(run_id))
        return found

    def _cached(self) -> Iterator[Content]:
        for there in cache.find(self.workspace, self.scratch):
            with _usable(there.root):
                content = Content.of_outputs(there)
                yield replace(content, dataset=None, model=content.model if there.model.exists() else None)

    def publish(self, client: Any, folders: Mapping[str, Path]) -> Iterator[str]:
        """Publish the trainings that the store lacks; yield one line for each, or for its problem, which begins with "not".

        Args:
            client: As `tracking.connect` gives it.
            folders: Training id → the folder of its logged model, where that is known.
        """
        known = _runs(client)
        for training_id, content in self.contents.items():
            run = known.get(training_id)
            if run and run.info.lifecycle_stage == "deleted":
                continue
            whole = replace(content, model=folders.get(training_id, content.model))
            name = f"run {content.plan.architecture}-{training_id[:8]} of {content.plan.dataset_name}"
            try:
                if run and run.info.status == "FINISHED":
                    self._name_original(client, run, training_id)  # a killed sync may not have come to it
                    if training_id != self.current or not missing(client, self.run_of(client, whole), whole):
                        continue
                run_id = publish(client, self.workspace, whole)
                self._name_original(client, client.get_run(run_id), training_id)
                yield name
            except UnreachableError:
                raise
            except PipelineError as error:
                yield f"not published: {name}: {error}"

    def run_of(self, client: Any, content: Content) -> str:
        """Return the id of the training's run; "" where the store has none."""
        experiment = tracking.experiment_id(client, self.workspace, content.plan.dataset_name)
        return find_run(client, experiment, content.plan.training_id) or ""

    def _name_original(self, client: Any, run: Any, training_id: str) -> None:
        """Say on the run which one it was in the store whose folder is left here; of several, in the first."""
        left = (each for each, content in self._left.items() if content.plan.training_id == training_id)
        original = next(left, run.info.run_id)
        if original != run.info.run_id and ORIGINAL_RUN not in run.data.tags:
            client.set_tag(run.info.run_id, ORIGINAL_RUN, original)


def _runs(client: Any) -> Mapping[str, Any]:
    """Return training id → its run, a deleted one only where there is no other."""
    from mlflow.entities import ViewType

    found: dict[str, Any] = {}
    experiments = [each.experiment_id for each in client.search_experiments()]
    token = None
    while token is None or token:
        page = client.search_runs(experiments, "tags.training_id != ''", ViewType.ALL, max_results=1000, page_token=token)
        for run in page:
            if run.info.lifecycle_stage == "active" or run.data.tags["training_id"] not in found:
                found[run.data.tags["training_id"]] = run
        token = page.token or ""
    return found


@contextmanager
def _usable(place: Path) -> Iterator[None]:
    """Warn of a training whose files are damaged, and go on without it."""
    try:
        yield
    except PipelineError as error:
        tracking.warn(f"{place} is left out: {error}")
