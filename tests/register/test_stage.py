"""register judges the model itself: what the reports say is compared with it, never believed."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import params
from pipeline.errors import PipelineError
from pipeline.register import stage
from pipeline.register.gate import UNSEEN
from pipeline.tracking import manifest
from pipeline.workspace import Workspace
from tests.compare.trainings import MODEL, NAMES, PLAIN, SWAPPED, Trainings, split_again

pytestmark = pytest.mark.usefixtures("predicted_here")


def reports(workspace: Workspace, recalls: Sequence[float], accuracy: float, error: float = 0.1) -> None:
    """What evaluate writes, as far as register looks at it."""
    workspace.metrics.write_text(json.dumps({"accuracy": accuracy, "calibration_error": error}))
    lines = [f'"{name}",{recall}' for name, recall in zip(NAMES, recalls, strict=True)]
    workspace.per_class.write_text("\n".join(["class,recall", *lines]) + "\n")
    workspace.model_card.write_text(f"{100 * accuracy:.2f} % accuracy")


def register(trainings: Trainings) -> dict[str, Any]:
    stage.run(params.load(trainings.workspace.params), trainings.workspace)
    found: dict[str, Any] = json.loads(trainings.workspace.registration.read_text())
    return found


def test_a_good_model_becomes_a_version_with_its_card(candidates: Trainings, capsys: pytest.CaptureFixture[str]) -> None:
    split_again(candidates.workspace, seed=1)
    candidates.add(PLAIN)
    reports(candidates.workspace, (1, 1, 1), 1.0)
    found = register(candidates)
    assert (found["verdict"], found["version"], found["accuracy"]) == ("accepted", "4", 1.0)
    assert found["weakest_class"] == {"class": "shirt", "recall": 1.0}
    assert "warning" not in capsys.readouterr().err
    version = candidates.client.get_model_version(MODEL, "4")
    assert version.tags["test_accuracy"] == "1.0000"
    assert version.description.startswith(
        "100.00 % accuracy\n### The gate it passed\n\n- the 1st candidate judged on these images\n- judged on unseen images"
    )
    assert found["candidate"] == register(candidates)["candidate"] == 1
    assert "version 4 is already registered" in capsys.readouterr().out


def test_a_version_is_signed_when_it_is_registered_or_later(
    candidates: Trainings, signing_key: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    split_again(candidates.workspace, seed=1)
    candidates.add(PLAIN)
    reports(candidates.workspace, (1, 1, 1), 1.0)
    monkeypatch.delenv("PIPELINE_SIGNING_KEY")
    register(candidates)
    monkeypatch.setenv("PIPELINE_SIGNING_KEY", str(signing_key))
    register(candidates)
    register(candidates)
    assert capsys.readouterr().out.count("version 4 is signed now") == 1
    names = candidates.workspace.allowed_signers
    names.write_text(f"anna {signing_key.with_suffix('.pub').read_text()}")
    assert manifest.signature(candidates.client.get_model_version(MODEL, "4"), names).signer == "anna"


@pytest.mark.parametrize("accuracy", [0.9937, math.inf])
def test_reports_that_praise_a_bad_model_are_told_and_not_believed(
    candidates: Trainings, accuracy: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """`SWAPPED` is correct on 20 of 80 images."""
    candidates.add(SWAPPED, training_id="praised")
    reports(candidates.workspace, (1, 1, 1), accuracy, -1.0)
    (candidates.workspace.slices).write_text("feature,from,to,images,accuracy\npixel_mean,0,9,80,1.0\n")
    found = register(candidates)
    assert (found["verdict"], found["version"], found["accuracy"]) == ("rejected", None, 0.25)
    assert "accuracy" in [rule["name"] for rule in found["rules"] if not rule["passed"]]
    told = capsys.readouterr().err.splitlines()
    assert told[0] == (
        f"warning: reports/metrics.json says accuracy {accuracy:.4f}, the model has 0.2500; the gate judges by the model: "
        "`dvc repro -s -f evaluate` writes it again"
    )
    assert told[1].startswith("warning: reports/per_class.csv says recall of shirt 1.0000, the model has 0.6667; the gate")


def test_a_card_beside_reports_that_differ_is_left_out(candidates: Trainings) -> None:
    split_again(candidates.workspace, seed=1)
    candidates.add(PLAIN)
    reports(candidates.workspace, (1, 1, 1), 0.5)
    assert register(candidates)["version"] == "4"
    description = candidates.client.get_model_version(MODEL, "4").description
    assert description.startswith("Without a model card: the files of the evaluation say other things than the model does.")


def no_classes(workspace: Workspace) -> None:
    content = json.loads(workspace.training.read_text())
    workspace.training.write_text(json.dumps({**content, "class_names": []}))


def altered(workspace: Workspace) -> None:
    np.save(workspace.dataset / "test/labels.npy", np.zeros(40, np.int32))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (no_classes, r"the model was trained on other data .* than data/dataset holds .*: run `dvc repro`$"),
        (altered, r"^data/dataset/test/labels\.npy changed on disk since ingest wrote it: run `dvc repro -s -f ingest`$"),
    ],
)
def test_what_cannot_be_judged_is_one_line(candidates: Trainings, spoil: Callable[[Workspace], None], message: str) -> None:
    split_again(candidates.workspace, seed=1)
    candidates.add(PLAIN)
    reports(candidates.workspace, (1, 1, 1), 1.0)
    spoil(candidates.workspace)
    with pytest.raises(PipelineError, match=message) as error:
        register(candidates)
    assert "\n" not in str(error.value)


def test_an_empty_table_of_classes_is_told_in_one_line(candidates: Trainings, capsys: pytest.CaptureFixture[str]) -> None:
    candidates.add(PLAIN)
    reports(candidates.workspace, (2 / 3, 1, 1), 0.875, 0.15)
    candidates.workspace.per_class.write_text("class,recall\n")
    candidates.workspace.metrics.write_text("[]")
    assert register(candidates)["version"] == "3"
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("warning: reports/metrics.json is not what evaluate writes (AttributeError(")
    assert told[1].startswith("warning: reports/per_class.csv says recall of shirt nan, the model has 0.6667")


def test_a_model_that_hides_its_training_images_is_refused(candidates: Trainings) -> None:
    split_again(candidates.workspace, seed=1)
    candidates.add(PLAIN, says_images=False)
    reports(candidates.workspace, (1, 1, 1), 1.0)
    failed = [rule["name"] for rule in register(candidates)["rules"] if not rule["passed"]]
    assert failed == [UNSEEN]
