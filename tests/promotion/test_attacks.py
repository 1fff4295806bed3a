"""What was done to the gate of promote, and does not work: files on a run, in an entry, another split of the same images."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.compare import models
from pipeline.errors import DatasetError, RefusedError, RegistryError
from pipeline.project import Project
from pipeline.promotion import command
from pipeline.promotion.record import Row
from pipeline.register.gate import UNSEEN
from pipeline.tracking import manifest
from pipeline.tracking.manifest import MANIFEST
from tests.compare.trainings import MODEL, NAMES, PLAIN, SWAPPED, Trainings, split_again
from tests.promotion.checkouts import BETTER, LABELS, MEDIUM, WEAK, move_without_gate, promote_to, records, stage_of
from tests.tracking.model_files import stored_files

pytestmark = pytest.mark.usefixtures("predicted_here")


def rows(candidates: Trainings) -> dict[str, Row]:
    return {row.rule: row for row in records(candidates)[-1].rows}


def test_predictions_and_slices_on_the_run_are_not_believed(
    candidates: Trainings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A version that is correct on 20 of 80 images gets stored predictions and slices without mistakes."""
    run = candidates.add(SWAPPED, training_id="forged")
    version = candidates.register(run)
    forged = pd.read_parquet(candidates.workspace.predictions)
    forged["predicted"] = forged["label"]
    forged[list(NAMES)] = np.eye(3, dtype=np.float32)[forged["label"]]
    forged = pd.concat([forged] * 3, ignore_index=True)
    forged.to_parquet(tmp_path / "predictions.parquet", index=False)
    (tmp_path / "slices.csv").write_text("feature,from,to,images,accuracy\npixel_mean,0,9,80,1.0\n")
    for name in ("predictions.parquet", "slices.csv"):
        candidates.client.log_artifact(run, str(tmp_path / name), "evaluation")
    with pytest.raises(RefusedError, match=f"version {version} was refused for staging: failed accuracy, "):
        promote_to(candidates, version, "staging")
    assert rows(candidates)["accuracy"].value == 0.25
    assert f"{models.STORED} of version {version} is not what the model predicts" in capsys.readouterr().err


def test_without_an_evaluation_on_the_run_it_is_judged_all_the_same(candidates: Trainings) -> None:
    version = candidates.register(candidates.add(SWAPPED, training_id="unfinished", evaluated=False))
    with pytest.raises(RefusedError, match="failed accuracy"):
        promote_to(candidates, version, "staging")


@pytest.fixture
def executing(candidates: Trainings) -> Iterator[Path]:
    """Both versions' MLmodel names a loader and code that leaves a mark; the manifests are made to fit. Undone afterwards."""
    mark = candidates.workspace.root / "executed"
    for version in (MEDIUM, BETTER):
        folder = stored_files(candidates.client, MODEL, version)
        shutil.copytree(folder, candidates.workspace.root / "before" / version)
        (folder / "code").mkdir()
        (folder / "code/evil.py").write_text(f"open({str(mark)!r}, 'w')\ndef _load_pyfunc(path): pass\n")
        text = (folder / "MLmodel").read_text()
        assert "loader_module: mlflow.keras" in text
        (folder / "MLmodel").write_text(text.replace("loader_module: mlflow.keras", "loader_module: evil\n    code: code"))
        candidates.client.set_model_version_tag(MODEL, version, MANIFEST, manifest.of(folder))
    yield mark
    for version in (MEDIUM, BETTER):
        folder = stored_files(candidates.client, MODEL, version)
        shutil.rmtree(folder)
        shutil.copytree(candidates.workspace.root / "before" / version, folder)


def test_an_entry_with_code_and_a_loader_of_its_own_is_refused_everywhere_and_runs_nothing(
    candidates: Trainings, executing: Path
) -> None:
    refused = r"version 2.* are refused, nothing was loaded: it holds code/evil\.py, which this pipeline never logs"
    project = Project.load(candidates.workspace)
    for force, dry in ((False, True), (True, False)):
        with pytest.raises(RefusedError, match=refused):
            promote_to(candidates, MEDIUM, "staging", "I must", force=force, dry=dry)
    move_without_gate(candidates, MEDIUM, "staging", "production")
    move_without_gate(candidates, BETTER, "staging", "production")
    with pytest.raises(RefusedError, match=refused):
        command.rollback("", project)
    split_again(candidates.workspace, seed=1)
    with pytest.raises(RegistryError, match=refused):
        models.pair(candidates.client, MEDIUM, WEAK, project)
    assert not executing.exists()
    assert stage_of(candidates, BETTER) == "production"


def test_a_version_is_not_judged_on_its_own_training_images(candidates: Trainings) -> None:
    first = split_again(candidates.workspace, seed=1)
    version = candidates.register(candidates.add(PLAIN, training_id="of seed 1"))
    promote_to(candidates, version, "staging", dry=True)
    seen = len(first - split_again(candidates.workspace, seed=2))
    assert seen > 20
    with pytest.raises(RefusedError, match=rf"version {version} was refused for staging: failed {UNSEEN};"):
        promote_to(candidates, version, "staging")
    row = rows(candidates)[UNSEEN]
    assert (row.value, row.limit) == (seen, 0)
    assert row.detail.startswith(f"{seen} of the 40 test images were used to train it, or a version that it started from")


def test_an_entry_that_does_not_say_what_it_was_trained_on_is_refused(candidates: Trainings) -> None:
    split_again(candidates.workspace, seed=1)
    version = candidates.register(candidates.add(PLAIN, says_images=False, training_id="silent"))
    with pytest.raises(RefusedError, match=UNSEEN):
        promote_to(candidates, version, "staging")
    assert "hold no training_images.npy" in rows(candidates)[UNSEEN].detail


def test_versions_are_compared_on_images_that_neither_was_trained_on(candidates: Trainings) -> None:
    first = split_again(candidates.workspace, seed=1)
    old = candidates.register(candidates.add(SWAPPED, training_id="old"))
    move_without_gate(candidates, old, "staging", "production")
    left = 40 - len(first - split_again(candidates.workspace, seed=2))
    assert 0 < left < 40
    new = candidates.register(candidates.add(PLAIN, training_id="new"))
    move_without_gate(candidates, new, "staging")
    promote_to(candidates, new, "production")
    row = rows(candidates)["not worse than production"]
    assert row.detail.endswith(f"; compared on the {left} of 40 test images that neither was trained on")
    assert "accuracy 1.0000 vs." in row.detail


def test_altered_arrays_of_the_data_set_are_refused(candidates: Trainings) -> None:
    """Labels as the weak version predicts them make it perfect."""
    path = candidates.workspace.dataset / "test/labels.npy"
    labels = np.load(path)
    assert labels.tolist() == list(LABELS)
    np.save(path, np.array(SWAPPED, np.int32)[labels])
    with pytest.raises(DatasetError, match=r"data/dataset/test/labels\.npy changed on disk since ingest wrote it"):
        promote_to(candidates, WEAK, "staging")
    assert records(candidates) == []
