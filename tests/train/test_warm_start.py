"""Training that starts from the weights of a registered version."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline import dataset, provenance, tracking
from pipeline.dataset import Split
from pipeline.errors import RegistryError, TrainingError
from pipeline.params import Params
from pipeline.register.evidence import HeldOut
from pipeline.register.gate import UNSEEN, judge
from pipeline.tracking import manifest
from pipeline.tracking.manifest import MANIFEST
from pipeline.train import stage
from pipeline.workspace import Workspace
from tests import data_sets, stores
from tests.tracking import model_files
from tests.train.recipes import SHORT, changed, whole


@pytest.fixture
def registered(trained_copy: Workspace) -> Workspace:
    """One training, registered as digits-classifier version 1, staging."""
    client = tracking.connect(trained_copy)
    model_files.register(client, "digits-classifier", stores.publish(client, trained_copy))
    client.set_registered_model_alias("digits-classifier", "staging", "1")
    return trained_copy


def warm(wanted: str = "1", **recipe: object) -> Params:
    return whole(changed(SHORT.model_copy(update={"warm_start": wanted}), **{"epochs": 1, **recipe}))


@pytest.mark.parametrize("wanted", ["1", "staging"])
def test_it_starts_from_the_weights_of_the_version_and_records_it(
    registered: Workspace, wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parent = provenance.read_training(registered.training)
    stage.run(warm(wanted, learning_rate=1e-12), registered)
    child = provenance.read_training(registered.training)
    assert child.warm_start == {
        "model_name": "digits-classifier",
        "version": "1",
        "training_id": parent.training_id,
        "weights_digest": parent.weights_digest,
    }
    assert "was trained on" not in capsys.readouterr().err
    assert np.array_equal(np.load(registered.training_images), dataset.trained_on(dataset.read(registered.dataset)))
    assert first_accuracy(registered) > 0.3  # two epochs have learned something; an untrained network has a tenth
    client = tracking.connect(registered)
    run = client.get_run(stores.publish(client, registered))
    assert run.data.tags["warm_start.training_id"] == parent.training_id
    assert run.data.params["train.warm_start"] == wanted


def test_test_images_that_the_version_was_trained_on_are_told_and_stay_known(
    registered: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another split of the same images, as another `ingest.seed` makes it: all 60 test images were training images before."""
    before = np.load(registered.training_images)
    everything = {
        part: np.concatenate([getattr(split, part) for split in dataset.read(registered.dataset).splits().values()])
        for part in ("images", "labels", "source_index")
    }
    cuts: dict[dataset.SplitName, slice] = {"train": slice(120, 420), "validation": slice(60, 120), "test": slice(60)}
    splits = {name: Split(**{part: values[cut] for part, values in everything.items()}) for name, cut in cuts.items()}
    shutil.rmtree(registered.dataset)
    registered.dataset.mkdir()
    description = data_sets.write(registered.dataset, "digits", tuple("0123456789"), splits, ())
    registered.validated.write_text(json.dumps({"dataset_digest": description.digest}))
    stage.run(warm(learning_rate=1e-12), registered)
    told = "version 1 of digits-classifier was trained on 60 of the 60 test images: `register` will refuse what starts from it"
    assert told in capsys.readouterr().err
    data, images = dataset.read(registered.dataset), np.load(registered.training_images)
    assert images.tolist() == np.union1d(before, dataset.trained_on(data)).tolist()
    found = HeldOut(data, warm().evaluate).measure(np.full((60, 10), 0.1, np.float32), images)
    assert found.seen == 60
    assert UNSEEN in [rule.name for rule in judge(warm().register, found) if not rule.passed]


def test_a_version_that_does_not_say_on_which_images_it_was_trained_is_refused(registered: Workspace) -> None:
    client = tracking.connect(registered)
    files = model_files.stored_files(client, "digits-classifier", "1")
    (files / "training_images.npy").unlink()
    client.set_model_version_tag("digits-classifier", "1", MANIFEST, manifest.of(files))
    with pytest.raises(TrainingError, match=r"version 1 does not say on which images it was trained \(it holds no training_im"):
        stage.run(warm(), registered)


def first_accuracy(workspace: Workspace) -> float:
    header, row = workspace.history.read_text().splitlines()[:2]
    return float(dict(zip(header.split(","), row.split(","), strict=True))["train/accuracy"])


@pytest.mark.parametrize("wanted", ["7", "champion"])
def test_an_unknown_version_is_refused_with_those_that_exist(registered: Workspace, wanted: str) -> None:
    with pytest.raises(RegistryError, match=rf"digits-classifier has no version or alias '{wanted}' \(it has 1\)"):
        stage.run(warm(wanted), registered)


def test_another_image_size_is_refused(registered: Workspace) -> None:
    rewrite(registered, size=14)
    with pytest.raises(TrainingError, match=r"version 1 takes images of 16×16×1, digits has 14×14×1: choose another"):
        stage.run(warm(), registered)


def test_other_classes_are_refused(registered: Workspace) -> None:
    rewrite(registered, classes=("zero", *"123456789"))
    with pytest.raises(TrainingError, match=r"version 1 has other classes \(0, zero\): choose another"):
        stage.run(warm(), registered)


def test_the_same_classes_in_another_order_are_refused(registered: Workspace) -> None:
    rewrite(registered, classes=tuple("1023456789"))
    with pytest.raises(TrainingError, match="version 1 has its classes in another order"):
        stage.run(warm(), registered)


def test_another_architecture_is_refused(registered: Workspace) -> None:
    other = SHORT.model_copy(update={"architecture": "sprint", "warm_start": "1"})
    with pytest.raises(TrainingError, match="version 1 has architecture notebook, whose weights do not fit sprint"):
        stage.run(whole(changed(other, epochs=1)), registered)


@pytest.mark.parametrize("damage", model_files.DAMAGES)
def test_files_that_differ_from_the_registered_ones_are_refused(registered: Workspace, damage: Callable[[Path], str]) -> None:
    found = damage(model_files.stored_files(tracking.connect(registered), "digits-classifier", "1"))
    message = rf"^digits-classifier version 1 \(staging\) is not what was registered: {found}[^\n]*$"
    with pytest.raises(RegistryError, match=message):
        stage.run(warm(), registered)


def test_a_version_without_a_manifest_is_refused(registered: Workspace) -> None:
    tracking.connect(registered).delete_model_version_tag("digits-classifier", "1", MANIFEST)
    with pytest.raises(RegistryError, match=r"^digits-classifier version 1 \(staging\) has no manifest of its files"):
        stage.run(warm(), registered)


def test_a_replaced_model_file_is_refused_whatever_its_manifest_says(registered: Workspace) -> None:
    client = tracking.connect(registered)
    files = model_files.stored_files(client, "digits-classifier", "1")
    stage.run(whole(changed(SHORT, epochs=1)), registered)
    (files / "data" / "model.keras").write_bytes(registered.model.read_bytes())
    client.set_model_version_tag("digits-classifier", "1", MANIFEST, manifest.of(files))
    with pytest.raises(TrainingError, match="version 1 has a model file that is not the one that was registered"):
        stage.run(warm(), registered)


def rewrite(workspace: Workspace, size: int = 16, classes: tuple[str, ...] = tuple("0123456789")) -> None:
    """Cut the images to `size` pixels and rename the classes."""
    data = dataset.read(workspace.dataset)
    names: tuple[dataset.SplitName, ...] = ("train", "validation", "test")
    splits = {name: _cut(getattr(data, name), size) for name in names}
    shutil.rmtree(workspace.dataset)
    workspace.dataset.mkdir()
    description = data_sets.write(workspace.dataset, "digits", classes, splits, ())
    workspace.validated.write_text(json.dumps({"dataset_digest": description.digest}))


def _cut(split: Split, size: int) -> Split:
    return Split(split.images[:, :size, :size].copy(), split.labels[:].copy(), split.source_index[:].copy())
