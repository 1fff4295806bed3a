"""register: metrics and model → a new version in the registry, or the reasons why not, in reports/registration.json."""

import json
import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

from pipeline import dataset, predictions, tracking
from pipeline.errors import RegistryError
from pipeline.params import RegisterParams
from pipeline.register import evidence, registry
from pipeline.register.evidence import Evidence
from pipeline.register.gate import Rule, judge
from pipeline.register.registry import Candidate
from pipeline.register.smoke import PICTURES, SmokeTest
from pipeline.tracking import Published, Source, manifest
from pipeline.tracking.manifest import MANIFEST
from pipeline.workspace import Workspace, replacing


def run(params: RegisterParams, workspace: Workspace) -> None:
    """Asks the gate; a refused model is a result, not a crash.

    Raises:
        MissingInputError: a stage before has not run.
        RegistryError: the model does not load and answer as it was evaluated.
        TrackingError: the registry cannot be used or does not answer.
    """
    facts = evidence.read(workspace)
    rules = judge(params, facts.metrics["accuracy"], facts.recalls, facts.metrics["calibration_error"], facts.slices)
    accepted = all(rule.passed for rule in rules)
    with SmokeTest() if accepted else nullcontext() as smoke_test:
        client = tracking.connect(workspace)
        run_id = tracking.run_for(client, workspace)
        version, is_new = _version(client, run_id, facts, rules, smoke_test, workspace) if smoke_test else (None, False)
    _write(facts, rules, version, workspace)
    client.set_tag(run_id, "gate", _verdict(rules))
    tracking.publish_to(client, run_id, Published({}, [workspace.registration], "register"))
    _say(facts, rules, version, is_new)


def _version(
    client: Any, run_id: str, facts: Evidence, rules: Sequence[Rule], smoke_test: SmokeTest, workspace: Workspace
) -> tuple[str, bool]:
    """The version's number, and whether it was made now."""
    training = facts.training
    candidate = Candidate(training.model_name, training.weights_digest, training.dataset_digest)
    known = registry.find_version(client, candidate)
    if known:
        return known, False
    model = tracking.logged_model(client, client.get_run(run_id).info.experiment_id, run_id)
    if model is None:
        raise RegistryError(f"the run {run_id} has no model: `dvc repro -s -f register` logs it again")
    with tracking.model_folder(client, Source(f"run {run_id}", run_id, training.model_name)) as folder:
        files = manifest.of(folder)
    _smoke(smoke_test, f"models:/{model.model_id}", files, facts, workspace)
    tags = {"gate": _verdict(rules), "training_id": training.training_id, MANIFEST: files}
    if training.git.commit:
        tags["git_commit"] = training.git.commit
    card = workspace.need(workspace.model_card, "evaluate").read_text(encoding="utf-8")
    description = "\n".join([card, "### The gate it passed", "", *(f"- {rule}" for rule in rules)])
    return registry.create_version(client, candidate, model.model_id, run_id, tags, description), True


def _smoke(smoke_test: SmokeTest, uri: str, files: str, facts: Evidence, workspace: Workspace) -> None:
    test = dataset.read(workspace.need(workspace.dataset, "ingest")).test
    path = workspace.need(workspace.predictions, "evaluate")
    stored = predictions.read(path, facts.training.class_names, workspace.shown(path)).probabilities
    if len(stored) != len(test):
        raise RegistryError("reports/predictions.parquet and the test split differ in length: run `dvc repro -s -f evaluate`")
    smoke_test.check(uri, files, facts.training.weights_digest, test.images[:PICTURES], stored[:PICTURES])


def _verdict(rules: Sequence[Rule]) -> str:
    failed = [str(rule) for rule in rules if not rule.passed]
    return f"refused: {'; '.join(failed)}" if failed else "passed"


def _write(facts: Evidence, rules: Sequence[Rule], version: str | None, workspace: Workspace) -> None:
    content = {
        "verdict": "rejected" if version is None else "accepted",
        "model_name": facts.training.model_name,
        "version": version,
        "rules": [_as_json(rule) for rule in rules],
        "training_id": facts.training.training_id,
        "weights_digest": facts.training.weights_digest,
        "dataset_digest": facts.training.dataset_digest,
    }
    with replacing(workspace.registration) as aside:
        aside.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _as_json(rule: Rule) -> dict[str, Any]:
    """JSON knows no NaN, which a recall is where the test split lacks the class."""
    return {**asdict(rule), "value": None if math.isnan(rule.value) else rule.value, "text": str(rule)}


def _say(facts: Evidence, rules: Sequence[Rule], version: str | None, is_new: bool) -> None:
    for rule in rules:
        print(f"  {'passed' if rule.passed else 'FAILED'}  {rule}")
    name = facts.training.model_name
    if version is None:
        print(f"REFUSED: {name} gets no new version; raise the model or change the limits under `register` in params.yaml")
    else:
        print(f"{name} version {version} {'registered' if is_new else 'is registered already'}")
