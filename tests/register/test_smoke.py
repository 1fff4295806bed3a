"""A registered model loads and predicts in a fresh process, or is refused there with the reason."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline import dataset, provenance, tracking
from pipeline.errors import RegistryError
from pipeline.register.smoke import Loaded, SmokeTest
from pipeline.tracking.manifest import MANIFEST
from pipeline.workspace import Workspace
from tests.compare.trainings import MODEL, PLAIN, SHOWN, Trainings, write_data
from tests.tracking.model_files import DAMAGES, stored_files


@pytest.fixture
def trainings(workspace: Workspace) -> Trainings:
    """Version 1 of a model, in a store of its own."""
    write_data(workspace)
    made = Trainings(workspace, tracking.connect(workspace))
    made.register(made.add(PLAIN))
    return made


def smoke(made: Trainings, sure: float = 0.9) -> Loaded:
    """Loads version 1; `sure` is the probability that evaluate is said to have stored."""
    images = np.asarray(dataset.read(made.workspace.dataset).test.images)
    expected = np.full((len(images), 3), (1 - sure) / 2, np.float32)
    expected[range(len(images)), SHOWN] = sure
    tag = made.client.get_model_version(MODEL, "1").tags[MANIFEST]
    digest = provenance.read_training(made.workspace.training).weights_digest
    with SmokeTest() as test:
        return test.check(f"models:/{MODEL}/1", tag, digest, images, expected)


def test_a_model_that_predicts_as_stored_reports_its_cost_and_leaves_the_store_alone(trainings: Trainings) -> None:
    files = stored_files(trainings.client, MODEL, "1")
    before = {path: path.stat().st_mtime_ns for path in files.rglob("*")}
    loaded = smoke(trainings)
    assert 0 < loaded.milliseconds < 1000
    assert loaded.bytes == sum(path.stat().st_size for path in before if path.is_file())
    assert {path: path.stat().st_mtime_ns for path in files.rglob("*")} == before


@pytest.mark.parametrize("damage", DAMAGES)
def test_files_that_are_not_those_registered_are_not_loaded(trainings: Trainings, damage: Callable[[Path], str]) -> None:
    message = damage(stored_files(trainings.client, MODEL, "1"))
    with pytest.raises(
        RegistryError, match=f"models:/{MODEL}/1 does not load and predict in a fresh process: .*{message}[^\n]*$"
    ):
        smoke(trainings)


def test_predictions_other_than_the_stored_ones_are_refused(trainings: Trainings) -> None:
    with pytest.raises(RegistryError, match=r"predicts differently in a fresh process: a probability differs by 0\.1000 from"):
        smoke(trainings, sure=0.8)
