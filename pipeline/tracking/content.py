"""What the run of a training is to hold, from files alone: those of a checkout, of DVC's cache, or of another run.

Nothing in these files names an MLflow id, so that a run can be made again from them in any store. They may come from anybody:
they are checked when they are read, and nothing in them is followed out of its folder.
"""

import csv
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, with_config

from pipeline import provenance
from pipeline.dataset import Description, SplitName
from pipeline.errors import TrackingError
from pipeline.provenance import Count, TrainingPlan, TrainingRecord
from pipeline.restore import way_back
from pipeline.tracking.judged import judged_tag
from pipeline.tracking.views import preview
from pipeline.workspace import Workspace, read_json, write_text

NOTE = "mlflow.note.content"  # tag: the run's description, Markdown
TRAINING, HISTORY = "provenance/training.json", "training/history.csv"
EVALUATION, REGISTRATION = "evaluation/evaluation.json", "register/registration.json"
PUBLISHED = "provenance/published.json"  # path → SHA-256 of each file of the run, written after they were
_DATASET = "data/dataset.json"
_CONTEXTS: Mapping[SplitName, str] = {"train": "training", "validation": "validation", "test": "testing"}  # MLflow's terms
_MAX_PARAM, MAX_TAG = 6000, 8000  # characters; MLflow cuts longer ones in mid-word, with a warning


@with_config(ConfigDict(extra="forbid", allow_inf_nan=False, str_max_length=100_000))
@dataclass(frozen=True, kw_only=True)
class EvaluationRecord:
    """What an evaluation adds to the run of a training: the content of reports/evaluation.json."""

    weights_digest: str  # of the model that was evaluated
    metrics: Mapping[Annotated[str, Field(max_length=250)], float]  # MLflow metric name → value
    tags: Mapping[Annotated[str, Field(pattern="^[a-z_]+$")], str]
    description: str  # Markdown, shown at the top of the run
    files: tuple[Annotated[str, Field(pattern=r"^\w[\w.-]*$")], ...]  # names of the evaluation's files in reports/
    preview: str = ""  # which of them is a PNG at twice the size it is shown at, below the description


@dataclass(frozen=True)
class _Rule:
    text: str
    passed: bool


@dataclass(frozen=True)
class _Registration:
    """Of reports/registration.json, what the run shows."""

    training_id: str
    rules: tuple[_Rule, ...]
    candidate: Count = 0
    test_digest: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = ""

    @property
    def tags(self) -> Mapping[str, str]:
        tags = {"gate": verdict([each.text for each in self.rules if not each.passed])}
        return tags | ({judged_tag(self.test_digest): str(self.candidate)} if self.candidate and self.test_digest else {})


def verdict(failed: Sequence[str]) -> str:
    """Return a gate's result, given the rules that the model failed."""
    return f"refused: {'; '.join(failed)}" if failed else "passed"


@dataclass(frozen=True)
class Point:
    """One point of a metric's curve."""

    name: str
    value: float
    timestamp_ms: int
    step: int


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a run is to hold. Of a training that is not finished yet: its plan."""

    plan: TrainingPlan
    files: Mapping[str, Path] = field(default_factory=dict)  # path on the run → file
    model: Path | None = None  # model.keras, or the folder of a logged model, sent as it is; None: not asked for
    training_images: Path | None = None  # goes into the logged model; without it register refuses the model
    dataset: Path | None = None  # the folder of the data, for the logged model's input example

    @classmethod
    def of_outputs(cls, workspace: Workspace) -> "Content":
        """Return what the outputs in a checkout hold; one that was not pulled does not stop the rest.

        Raises:
            PipelineError: there is no training yet, or a file is not what its stage writes.
        """
        workspace.need(workspace.training, "train")
        data = [workspace.dataset / "dataset.json", workspace.samples_png, workspace.profile]
        stages = {
            "training": [workspace.history],
            # With dvc.lock, `verify` finds the data in DVC's cache or remote.
            "provenance": [workspace.training, workspace.root / "dvc.lock"],
            "data": [*data, workspace.validation_html, workspace.validation_json],
            "register": [workspace.registration],
        }
        if workspace.evaluation.exists():
            names = read_evaluation(workspace.evaluation).files
            stages["evaluation"] = [workspace.evaluation, *(workspace.evaluation.with_name(name) for name in names)]
        found = {f"{folder}/{path.name}": path for folder, paths in stages.items() for path in paths if path.exists()}
        inputs = {"training_images": workspace.training_images, "dataset": workspace.dataset}
        existing = {name: path for name, path in inputs.items() if path.exists()}
        return cls.of_files(found, model=workspace.model, **existing)

    @classmethod
    def of_files(cls, files: Mapping[str, Path], **inputs: Path | None) -> "Content":
        """Return what `files` hold (path on the run → file), among them provenance/training.json.

        An evaluation and a registration count only where they are of this model. `inputs` are the other fields.

        Raises:
            PipelineError: there is no training.json, or a file is not what its stage writes.
        """
        if TRAINING not in files:
            raise TrackingError(f"there is no {TRAINING.split('/')[1]} among the files of the run: nothing says what it is")
        record = provenance.read_training(files[TRAINING])
        wanted = {path: file for path, file in files.items() if path != PUBLISHED}
        if EVALUATION in files and read_evaluation(files[EVALUATION]).weights_digest != record.weights_digest:
            wanted = {path: file for path, file in wanted.items() if not path.startswith("evaluation/")}
        if REGISTRATION in files and _read(_Registration, files[REGISTRATION], "register").training_id != record.training_id:
            wanted = {path: file for path, file in wanted.items() if not path.startswith("register/")}
        return cls(plan=record, files=wanted, **inputs)

    @property
    def record(self) -> TrainingRecord | None:
        """The finished training; None before it is."""
        return self.plan if isinstance(self.plan, TrainingRecord) else None

    @cached_property
    def evaluation(self) -> EvaluationRecord | None:
        """What the evaluation adds, if there is one."""
        return read_evaluation(self.files[EVALUATION]) if EVALUATION in self.files else None

    @cached_property
    def texts(self) -> Mapping[str, str]:
        """Path on the run → text, of those that are in no file."""
        found = dict(_texts(self.plan))
        if image := self.preview:
            found[image.with_suffix(".svg").as_posix()] = preview(self.files[image.as_posix()])
        return {path: text for path, text in found.items() if path not in self.files}

    @property
    def preview(self) -> Path | None:
        """The path on the run of the image below the description."""
        name = f"evaluation/{self.evaluation.preview}" if self.evaluation and self.evaluation.preview else ""
        return Path(name) if name in self.files else None

    @cached_property
    def params(self) -> Mapping[str, str]:
        """Name → value."""
        return logged_params(self.plan)

    @cached_property
    def tags(self) -> Mapping[str, str]:
        """Name → value, but for those that say who publishes, which are written when the run is created."""
        found = dict(self.evaluation.tags) if self.evaluation else {}
        if REGISTRATION in self.files:
            found |= _read(_Registration, self.files[REGISTRATION], "register").tags
        found |= plan_tags(self.plan)
        if self.record:
            found["weights_digest"] = self.record.weights_digest
        return {name: cut(value, MAX_TAG) for name, value in found.items()}

    @cached_property
    def points(self) -> Sequence[Point]:
        """Every point of every metric that each epoch has."""
        return read_history(self.files[HISTORY]) if HISTORY in self.files else ()

    @cached_property
    def scores(self) -> Mapping[str, float]:
        """The metrics with one value each, name → value."""
        found = {"fit_seconds": self.record.fit_seconds, "temperature": self.record.temperature} if self.record else {}
        return found | dict(self.evaluation.metrics if self.evaluation else {})

    def inputs(self, known: Collection[str]) -> Sequence[Any]:
        """Return each split as MLflow shows data sets, but for those named in `known`."""
        lacking = [split for split in _CONTEXTS if input_name(self.plan, split)["dataset_name"] not in known]
        if not lacking:  # making one imports pandas
            return []
        path = self.files.get(_DATASET)
        counts = _read(Description, path, "ingest").counts if path else {}
        return [_dataset_input(self.plan, split, counts.get(split)) for split in lacking]


def write_evaluation(path: Path, record: EvaluationRecord) -> None:
    """Write reports/evaluation.json."""
    write_text(path, json.dumps(asdict(record), indent=2, ensure_ascii=False) + "\n")


def read_evaluation(path: Path) -> EvaluationRecord:
    """Return the content of reports/evaluation.json.

    Raises:
        TrackingError: it is not what evaluate writes.
    """
    found: EvaluationRecord = _read(EvaluationRecord, path, "evaluate")
    return found


def _read(kind: Any, path: Path, stage: str) -> Any:
    try:
        return read_json(kind, path)
    except (OSError, ValueError) as error:
        raise TrackingError(f"{path} is not what {stage} writes ({error}): {way_back(path, stage)}") from None


def read_history(path: Path) -> Sequence[Point]:
    """Return the points in history.csv.

    Raises:
        TrackingError: it is not what train writes.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            found = [point for row in csv.DictReader(file) for point in epoch_points(row)]
        if not found:
            raise ValueError("no epochs")
        return found
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        reason = " ".join(str(error).split())[:100]
        raise TrackingError(f"{path} is not what train writes ({reason}): {way_back(path, 'train')}") from None


def epoch_points(row: Mapping[str, str]) -> Iterator[Point]:
    """Yield the points of one row of history.csv, with its timestamp."""
    for name, value in row.items():
        if name not in ("epoch", "timestamp_ms"):
            yield Point(name, float(value), int(row["timestamp_ms"]), int(row["epoch"]))


def logged_params(plan: TrainingPlan) -> Mapping[str, str]:
    """Return the params of a training's run, name → value."""
    flat = {f"{section}.{key}": value for section, keys in plan.params.items() for key, value in keys.items()}
    flat |= {"threads_used": plan.threads, "parameters": plan.parameters}
    return {key: cut(str(value), _MAX_PARAM, f", all of them in {TRAINING}") for key, value in flat.items()}


def cut(text: str, most: int, where: str = "") -> str:
    """Return `text` as MLflow can hold it; where it is cut, its end says so, and `where` the whole is."""
    if len(text) <= most:
        return text
    end = f" … ({len(text):,} characters{where})"
    return text[: most - len(end)] + end


def plan_tags(plan: TrainingPlan) -> Mapping[str, str]:
    """Return the tags of a training's run, name → value."""
    tags = {
        "training_id": plan.training_id,
        "dataset": plan.dataset_name,
        "dataset_digest": plan.dataset_digest,
        "architecture": plan.architecture,
        "git_dirty": str(plan.git.dirty).lower(),
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": "python -m pipeline train",
    }
    tags |= {f"warm_start.{name}": value for name, value in plan.warm_start.items()}
    if plan.git.commit:
        tags |= {"git_commit": plan.git.commit, "mlflow.source.git.commit": plan.git.commit}
    if plan.git.branch:
        tags["mlflow.source.git.branch"] = plan.git.branch
    return tags


def _texts(plan: TrainingPlan) -> Iterator[tuple[str, str]]:
    """Yield path on the run, and text."""
    yield "training/model_summary.txt", plan.model_summary
    yield "provenance/environment.json", json.dumps(dict(plan.environment), indent=2)
    if plan.params_file:
        yield "provenance/params.yaml", plan.params_file  # not today's file, which may have changed since
    if plan.git.diff:
        yield "provenance/changes.diff", plan.git.diff  # a tag would be cut at 8,000 characters
    if plan.git.untracked:
        yield "provenance/untracked_files.txt", "\n".join(plan.git.untracked)


def _dataset_input(plan: TrainingPlan, split: SplitName, images: int | None) -> Any:
    """Return a split: schema of the arrays, number of images, classes, and its context."""
    import numpy as np
    from mlflow.data.schema import TensorDatasetSchema
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.types import Schema, TensorSpec

    arrays = Schema([TensorSpec(np.dtype(np.uint8), (-1, *plan.image_shape), "images")])
    labels = Schema([TensorSpec(np.dtype(np.int32), (-1,), "labels")])
    schema = json.dumps(TensorDatasetSchema(arrays, labels).to_dict())
    source = json.dumps({"uri": "data/dataset"})
    profile = {"images": images, "image_shape": plan.image_shape, "classes": plan.class_names}
    identity = input_name(plan, split).values()
    entry = Dataset(*identity, "local", source, schema, json.dumps(profile, ensure_ascii=False))
    return DatasetInput(entry, [InputTag("mlflow.data.context", _CONTEXTS[split])])


def input_name(plan: TrainingPlan, split: str) -> Mapping[str, str]:
    """Return what identifies a split among MLflow's data sets; their digests hold 36 characters at most."""
    return {"dataset_name": f"{plan.dataset_name}-{split}", "dataset_digest": plan.dataset_digest[:36]}
