"""register: the model of the run → a new version in the registry, or the reasons why not, in reports/registration.json."""

import csv
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import dataset, provenance, tracking
from pipeline.errors import EvaluationError, RegistryError
from pipeline.params import Params
from pipeline.provenance import TrainingRecord
from pipeline.register import evidence, registry
from pipeline.register.evidence import HeldOut
from pipeline.register.fresh import FreshProcess
from pipeline.register.gate import Performance, Rule, judge
from pipeline.tracking import Source, backup, entry, manifest
from pipeline.tracking.manifest import MANIFEST
from pipeline.workspace import Workspace, write_text

_ROUNDING = 0.001  # two images may be predicted otherwise in another batch size or on another machine, and a bin's edge move


def run(params: Params, workspace: Workspace) -> None:
    """Register the model if it passes the gate; a refused model is a result, not an error.

    Raises:
        MissingInputError: an earlier stage has not run.
        RegistryError: the model does not load and predict, or is not the one that was trained.
        TrackingError: the registry cannot be used or does not answer.
    """
    with tracking.store_guard(workspace):
        _run(params, workspace)


def _run(params: Params, workspace: Workspace) -> None:
    with FreshProcess() as fresh:
        training = provenance.read_training(workspace.need(workspace.training, "train"))
        test = evidence.read_test(workspace, params.evaluate)
        _check_same_data(training, test)
        client, run_id = tracking.published_run(workspace)
        backup.check_not_lost(client, workspace, training.model_name)
        name = f"the model of run {run_id}"
        model = tracking.logged_model(client, client.get_run(run_id).info.experiment_id, run_id)
        if model is None:
            raise RegistryError(f"{name} was deleted just now: run the command again")
        with tracking.model_folder(client, Source(f"run {run_id}", run_id, training.model_name)) as folder:
            number = tracking.candidate_number(client, run_id, training.weights_digest, test.digest)
            entered = _Entered(run_id, model.model_id, manifest.of(folder), number, test.digest)
            images = workspace.dataset / "test/images.npy"
            classes = test.data.description.classes
            loaded = fresh.predict(folder, name, training.weights_digest, images, classes, meanwhile=test.prepare)
            found = test.measure(loaded.probabilities, _trained_on(folder, name, test))
    tracking.count_candidate(client, run_id, test.digest, number)
    rules = judge(params.register, found)
    print(f"{tracking.as_candidate(number)}:")
    for rule in rules:
        print(f"  {'FAILED' if rule.verdict == 'failed' else rule.verdict:<8}{rule}")
    version, result = _register(client, entered, training, found, rules, workspace)
    _write(training, entered, found, rules, version, workspace)
    backup.save(client, workspace, training.model_name)
    tracking.published_run(workspace)
    print(result)


@dataclass(frozen=True)
class _Entered:
    """The logged model that is to become a version."""

    run_id: str
    model_id: str
    manifest: str  # of its files, as they were judged
    candidate: int  # which one it is of those judged on these test images
    test_digest: str


def _check_same_data(training: TrainingRecord, test: HeldOut) -> None:
    here = test.data.description
    if (training.dataset_digest, training.class_names) != (here.digest, here.class_names):
        raise EvaluationError(
            f"the model was trained on other data ({training.dataset_name} {training.dataset_digest[:12]}) than data/dataset "
            f"holds ({here.name} {here.digest[:12]}): run `dvc repro`"
        )


def _trained_on(folder: Path, name: str, test: HeldOut) -> NDArray[np.uint64] | None:
    """Return the digests of the images that the model was trained on, as its files say; None where they do not."""
    found = entry.training_images(folder, name)
    if found is not None and len(np.setdiff1d(dataset.trained_on(test.data), found, assume_unique=True)):
        raise RegistryError(
            f"{entry.IMAGES} of {name} lacks images that it was trained on: delete that model in the MLflow UI, then "
            "run `dvc repro -s -f train register`"
        )
    return found


def _register(
    client: Any,
    model: _Entered,
    training: TrainingRecord,
    found: Performance,
    rules: Sequence[Rule],
    workspace: Workspace,
) -> tuple[str | None, str]:
    """Return the number of the model's version, which is created where there is none yet, and what to print once it is shown.

    A model that was refused has no version.
    """
    differing = list(_differing(found, workspace))
    if tracking.read_evaluation(workspace.need(workspace.evaluation, "evaluate")).weights_digest != training.weights_digest:
        differing.append(f"{workspace.shown(workspace.evaluation)} is of another model")
    for problem in differing:
        tracking.warn(f"{problem}; the gate judges by the model: `dvc repro -s -f evaluate` writes it again")
    if not all(rule.passed for rule in rules):
        limits = "change the limits under `register` in params.yaml (null: no limit)"
        return None, f"not registered: train a better model, or {limits}"
    if known := registry.find_version(client, training):
        _sign(client, model, client.get_model_version(training.model_name, known))
        return known, f"{training.model_name} version {known} is already registered"
    tags = {**registry.tags(training, found.accuracy), "gate": tracking.verdict(_failed(rules)), MANIFEST: model.manifest}
    tags |= manifest.signed(training.model_name, model.run_id, tags)
    card = workspace.need(workspace.model_card, "evaluate").read_text(encoding="utf-8")
    if differing:
        card = "Without a model card: the files of the evaluation say other things than the model does."
    passed = [f"- {text}" for text in (tracking.as_candidate(model.candidate), *map(str, rules))]
    description = "\n".join([card, "### The gate it passed", "", *passed])
    version = registry.create_version(client, training, model.model_id, model.run_id, tags, description)
    return version, f"registered {training.model_name} version {version}"


def _sign(client: Any, model: _Entered, version: Any) -> None:
    """Sign a version that was registered without a key, if its files are those that were just judged."""
    same = (version.run_id, version.tags.get(MANIFEST)) == (model.run_id, model.manifest)
    if same and manifest.SIGNATURE not in version.tags:
        for name, value in manifest.signed(version.name, version.run_id, version.tags).items():
            client.set_model_version_tag(version.name, version.version, name, value)
            print(f"{version.name} version {version.version} is signed now")


def _differing(found: Performance, workspace: Workspace) -> Iterator[str]:
    """Yield what the files of the evaluation say about the model that is not so; one line per file."""
    shares = {name: int(np.sum(found.labels == label)) for label, name in enumerate(found.recalls)}
    recalls = {f"recall of {name}": (value, shares[name]) for name, value in found.recalls.items() if shares[name]}
    whole = {"accuracy": (found.accuracy, len(found.labels)), "calibration_error": (found.calibration_error, len(found.labels))}
    for path, known in ((workspace.metrics, whole), (workspace.per_class, recalls)):
        shown = workspace.shown(workspace.need(path, "evaluate"))
        try:
            said = _read(path)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
            yield f"{shown} is not what evaluate writes ({' '.join(repr(problem).split())[:100]})"
            continue
        for name, (value, images) in known.items():
            if not abs(said.get(name, math.nan) - value) <= max(_ROUNDING, 2 / images):
                yield f"{shown} says {name} {said.get(name, math.nan):.4f}, the model has {value:.4f}"
                break


def _read(path: Path) -> dict[str, float]:
    """Return the scores in metrics.json, or the recalls in per_class.csv."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        return {name: float(value) for name, value in json.loads(text).items()}
    return {f"recall of {row['class']}": float(row["recall"] or "nan") for row in csv.DictReader(text.splitlines())}


def _failed(rules: Sequence[Rule]) -> Sequence[str]:
    return [str(rule) for rule in rules if not rule.passed]


def _write(
    training: TrainingRecord,
    model: _Entered,
    found: Performance,
    rules: Sequence[Rule],
    version: str | None,
    workspace: Workspace,
) -> None:
    weakest = found.weakest
    content = {
        "verdict": "rejected" if version is None else "accepted",
        "model_name": training.model_name,
        "version": version,
        "candidate": model.candidate,
        "accuracy": found.accuracy,
        "baseline": {"accuracy": found.baseline.accuracy, "classifier": found.baseline.name} if found.baseline else None,
        # NaN, which JSON does not know, is the recall of a class without test images.
        "weakest_class": {"class": weakest, "recall": _number(found.recalls[weakest])},
        "rules": [{**asdict(rule), "value": _number(rule.value), "text": str(rule)} for rule in rules],
        "training_id": training.training_id,
        "weights_digest": training.weights_digest,
        "dataset_digest": training.dataset_digest,
        "test_digest": model.test_digest,
    }
    write_text(workspace.registration, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
