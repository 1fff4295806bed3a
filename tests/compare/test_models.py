"""Stored predictions of versions and runs, from a real SQLite MLflow with real Keras models."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from pipeline.compare import models
from pipeline.errors import EvaluationError, MissingInputError, PipelineError, RegistryError
from pipeline.project import Project
from tests.compare.trainings import LABELS, MODEL, NAMES, PLAIN, SWAPPED, Trainings, write_data
from tests.tracking.model_files import DAMAGES, stored_files

TURNED = (0, 0, 2, 2, 2, 1, 1, 0)  # other labels of the same images: `SWAPPED` is correct on 7, `PLAIN` on 2


def run_of(trainings: Trainings, version: str) -> str:
    return str(trainings.client.get_model_version("fashion-mnist-classifier", version).run_id)


def test_a_version_an_alias_and_the_beginning_of_a_run_are_the_same_model(versions: Trainings) -> None:
    run = run_of(versions, "1")
    names = {}
    for wanted in ("1", "production", run, run[:8], run[:4]):
        found = models.pair(versions.client, wanted, "staging", Project.load(versions.workspace))
        assert found.a.source.run_id == run
        assert not found.same_model
        names[wanted] = found.a.source.name
    assert names["1"] == names["production"] == "version 1 (production)"
    assert names[run] == names[run[:4]] == f"run {run[:8]}"


def test_stored_predictions_are_those_of_the_evaluation(versions: Trainings) -> None:
    found = models.pair(versions.client, "1", "2", Project.load(versions.workspace))
    assert found.scored_again == ""
    assert found.images is not None
    assert found.images.shape == (8, 2, 2, 1)
    b = found.b
    assert b.class_names == NAMES
    assert b.source_index.tolist() == list(range(100, 108))
    assert b.labels.tolist() == list(LABELS)
    assert b.probabilities.dtype == np.float32
    assert_allclose(b.probabilities[0], [0.9, 0.05, 0.05], rtol=1e-6)
    assert b.correct.tolist() == [True, True, False, True, True, False, True, True]
    assert found.a.correct.tolist() == [True, True, False, False, False, True, False, False]
    assert (found.a.scores.accuracy, b.scores.accuracy) == (3 / 8, 6 / 8)
    assert b.scores.macro_f1 == pytest.approx((4 / 5 + 4 / 6 + 4 / 5) / 3)
    assert (found.a.record.params["train"]["epochs"], b.record.params["train"]["epochs"]) == (2, 5)


def test_where_the_data_is_not_here_the_stored_predictions_do_without_images(trainings: Trainings) -> None:
    found = models.pair(trainings.client, "1", "2", Project.load(trainings.workspace))
    assert found.images is None
    assert found.b.scores.accuracy == 6 / 8


def test_models_of_other_data_are_both_scored_again_on_the_data_here(trainings: Trainings) -> None:
    write_data(trainings.workspace, TURNED)
    found = models.pair(trainings.client, "1", "2", Project.load(trainings.workspace))
    assert (found.a.scores.accuracy, found.b.scores.accuracy) == (7 / 8, 2 / 8)
    assert found.a.data_digest == found.b.data_digest != found.a.record.dataset_digest
    for name in ("version 1 (production)", "version 2 (staging)"):
        assert f"{name} was trained and evaluated on fashion-mnist {found.a.record.dataset_digest[:12]}" in found.scored_again
    assert f"both were scored again on the test split of data/dataset ({found.a.data_digest[:12]})" in found.scored_again


def test_only_the_model_of_other_data_is_scored_again(trainings: Trainings) -> None:
    write_data(trainings.workspace, TURNED)
    here = trainings.add(PLAIN)
    found = models.pair(trainings.client, "1", here, Project.load(trainings.workspace))
    assert (found.a.scores.accuracy, found.b.scores.accuracy) == (7 / 8, 2 / 8)
    assert found.scored_again.startswith("version 1 (production) was trained")
    assert "; it was scored again" in found.scored_again


def test_without_data_models_of_different_data_cannot_be_compared(trainings: Trainings) -> None:
    run = trainings.client.get_run(run_of(trainings, "1"))
    write_data(trainings.workspace, TURNED)
    here = trainings.add(PLAIN)
    trainings.workspace.dataset.rename(trainings.workspace.dataset.with_name("gone"))
    with pytest.raises(MissingInputError, match=r"were evaluated on different data, and data/dataset.*`dvc repro ingest`"):
        models.pair(trainings.client, run.info.run_id, here, Project.load(trainings.workspace))


def test_a_model_file_that_is_not_the_trained_one_is_refused(trainings: Trainings) -> None:
    write_data(trainings.workspace)
    swapped = trainings.add(SWAPPED, training_id="other", dataset_digest="e" * 64, weights_digest="f" * 64)
    with pytest.raises(RegistryError, match=rf"^run {swapped[:8]} has a model file that is not the one that was trained"):
        models.pair(trainings.client, "1", swapped, Project.load(trainings.workspace))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_version_whose_files_are_not_those_registered_is_not_scored_again(
    trainings: Trainings, damage: Callable[[Path], str]
) -> None:
    write_data(trainings.workspace)
    version = trainings.register(trainings.add(PLAIN, training_id="other", dataset_digest="e" * 64))
    problem = damage(stored_files(trainings.client, MODEL, version))
    with pytest.raises(RegistryError, match=f"^{MODEL} version {version} is not what was registered: {problem}[^\n]*$"):
        models.pair(trainings.client, "1", version, Project.load(trainings.workspace))


@pytest.mark.parametrize("wanted", ["7", "champion", "dead", "dea"])
def test_what_is_not_there_is_one_line_with_what_is(versions: Trainings, wanted: str) -> None:
    message = rf"fashion-mnist-classifier has no version or alias '{wanted}' \(it has 1, 2\), and no run begins so: `python -m"
    with pytest.raises(RegistryError, match=message):
        models.pair(versions.client, wanted, "1", Project.load(versions.workspace))


def test_a_beginning_that_two_runs_share_is_refused_with_both(trainings: Trainings) -> None:
    first = run_of(trainings, "1")
    second = first[:6] + "0" * 26
    with closing(sqlite3.connect(trainings.workspace.database)) as database, database:
        columns = [name for _, name, *_ in database.execute("pragma table_info(runs)") if name != "run_uuid"]
        listed = ", ".join(columns)
        copy = f"insert into runs (run_uuid, {listed}) select ?, {listed} from runs where run_uuid = ?"  # noqa: S608
        database.execute(copy, (second, first))
    with pytest.raises(RegistryError, match=rf"^more than one run begins with '{first[:6]}'") as error:
        models.pair(trainings.client, first[:6], "1", Project.load(trainings.workspace))
    assert first in str(error.value)
    assert second in str(error.value)
    assert models.pair(trainings.client, first, "1", Project.load(trainings.workspace)).same_model


def no_evaluation(trainings: Trainings) -> str:
    return trainings.add(PLAIN, training_id="unfinished", evaluated=False)


def other_predictions(trainings: Trainings) -> str:
    run = trainings.add(PLAIN, training_id="overwritten")
    trainings.client.log_text(run, "no parquet", "evaluation/predictions.parquet")
    return run


def nothing_of_ours(trainings: Trainings) -> str:
    return str(trainings.client.create_run("0").info.run_id)


def other_classes(trainings: Trainings) -> str:
    trainings.workspace.dataset.rename(trainings.workspace.dataset.with_name("before"))
    write_data(trainings.workspace, names=("shirt", "dress", "bag"))
    return trainings.add(PLAIN, training_id="others")


def other_image_size(trainings: Trainings) -> str:
    trainings.workspace.dataset.rename(trainings.workspace.dataset.with_name("before"))
    write_data(trainings.workspace, side=3)
    return trainings.add(PLAIN, training_id="larger")


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (no_evaluation, r"has no evaluation: its run .* holds no evaluation/predictions\.parquet; `dvc repro -s -f evaluate`"),
        (other_predictions, r"evaluation/predictions\.parquet of run .* is not what evaluate writes"),
        (nothing_of_ours, r"has no provenance/training\.json on its run"),
        (other_classes, r"have different classes \(<coat> & 'co', dress\): only models of the same task can be compared"),
        (other_image_size, r"take images of 2×2×1 and of 3×3×1: only"),
    ],
)
def test_what_cannot_be_compared_is_one_line(trainings: Trainings, broken: Callable[[Trainings], str], message: str) -> None:
    write_data(trainings.workspace)
    run = broken(trainings)
    with pytest.raises(PipelineError, match=message) as error:
        models.pair(trainings.client, "1", run, Project.load(trainings.workspace))
    assert "\n" not in str(error.value)


def test_models_that_do_not_fit_the_data_here_are_refused(trainings: Trainings) -> None:
    write_data(trainings.workspace, side=3)
    with pytest.raises(EvaluationError, match=r"^version 1 \(production\) was trained on .*images of another size"):
        models.pair(trainings.client, "1", "2", Project.load(trainings.workspace))
