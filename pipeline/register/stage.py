"""register: metrics and model → a new version in the registry, or the reasons why not, in reports/registration.json."""

import json
import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

from pipeline import tracking
from pipeline.errors import RegistryError
from pipeline.params import RegisterParams
from pipeline.register import registry
from pipeline.register.gate import Evidence, Rule, judge, read_evidence
from pipeline.register.smoke import IMAGES, SmokeTest
from pipeline.tracking import Published, Source, manifest
from pipeline.tracking.manifest import MANIFEST
from pipeline.workspace import Workspace, write_text


def run(params: RegisterParams, workspace: Workspace) -> None:
    """Register the model if it passes the gate; a refused model is a result, not an error.

    Raises:
        MissingInputError: an earlier stage has not run.
        RegistryError: the model does not load and predict as it was evaluated.
        TrackingError: the registry cannot be used or does not answer.
    """
    facts = read_evidence(workspace)
    rules = judge(params, facts.performance)
    for rule in rules:
        print(f"  {'FAILED' if rule.verdict == 'failed' else rule.verdict:<8}{rule}")
    with SmokeTest() if all(rule.passed for rule in rules) else nullcontext() as smoke:
        client = tracking.connect(workspace)
        run_id = tracking.run_for(client, workspace)
        version = _register(client, run_id, facts, rules, smoke, workspace) if smoke else None
    _write(facts, rules, version, workspace)
    client.set_tag(run_id, "gate", _verdict(rules))
    tracking.publish_to(client, run_id, Published({}, [workspace.registration], "register"))


def _register(client: Any, run_id: str, facts: Evidence, rules: Sequence[Rule], smoke: SmokeTest, workspace: Workspace) -> str:
    """Return the number of the model's version, which is created where there is none yet."""
    training = facts.training
    if known := registry.find_version(client, training):
        print(f"{training.model_name} version {known} is already registered")
        return known
    model = tracking.logged_model(client, client.get_run(run_id).info.experiment_id, run_id)
    if model is None:
        raise RegistryError(f"the run {run_id} has no model: `dvc repro -s -f register` logs it again")
    with tracking.model_folder(client, Source(f"run {run_id}", run_id, training.model_name)) as folder:
        files = manifest.of(folder)
    images, expected = facts.images[:IMAGES], facts.probabilities[:IMAGES]
    smoke.check(f"models:/{model.model_id}", files, training.weights_digest, images, expected)
    tags = {**registry.tags(training, facts.performance.accuracy), "gate": _verdict(rules), MANIFEST: files}
    card = workspace.need(workspace.model_card, "evaluate").read_text(encoding="utf-8")
    description = "\n".join([card, "### The gate it passed", "", *(f"- {rule}" for rule in rules)])
    version = registry.create_version(client, training, model.model_id, run_id, tags, description)
    print(f"registered {training.model_name} version {version}")
    return version


def _verdict(rules: Sequence[Rule]) -> str:
    failed = [str(rule) for rule in rules if not rule.passed]
    return f"refused: {'; '.join(failed)}" if failed else "passed"


def _write(facts: Evidence, rules: Sequence[Rule], version: str | None, workspace: Workspace) -> None:
    content = {
        "verdict": "rejected" if version is None else "accepted",
        "model_name": facts.training.model_name,
        "version": version,
        # NaN, which JSON does not know, is the recall of a class without test images.
        "rules": [
            {**asdict(rule), "value": None if math.isnan(rule.value) else rule.value, "text": str(rule)} for rule in rules
        ],
        "training_id": facts.training.training_id,
        "weights_digest": facts.training.weights_digest,
        "dataset_digest": facts.training.dataset_digest,
    }
    write_text(workspace.registration, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    if version is None:
        print("not registered: train a better model, or change the limits under `register` in params.yaml (null: no limit)")
