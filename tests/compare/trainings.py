"""Trainings made by hand: real Keras models whose answers can be told in advance, published as the stages publish theirs."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from pipeline import baseline, dataset, provenance
from pipeline.baseline import Baseline
from pipeline.dataset import Split
from pipeline.provenance import GitState, TrainingRecord
from pipeline.workspace import Workspace
from tests import data_sets, stores
from tests.tracking import model_files

NAMES = ("shirt", "<coat> & 'co'", "bag")
LABELS = (0, 0, 0, 1, 1, 1, 2, 2)
SHOWN = (0, 0, 1, 1, 1, 2, 2, 2)  # which pixel of each test image is white: what `PLAIN` says
PLAIN, SWAPPED = (0, 1, 2), (0, 2, 1)  # the class that each pixel stands for; right on 6 and on 3 of the 8 images
MODEL = "fashion-mnist-classifier"  # of tests/params.yaml


def write_data(
    workspace: Workspace,
    labels: Sequence[int] = LABELS,
    names: tuple[str, ...] = NAMES,
    side: int = 2,
    files: Sequence[str] = (),
) -> None:
    """Ingest's output: images of one white pixel each, those of `SHOWN` over and over; the same in each split.

    In the training split all are of the first class, so the baseline takes every image for that.
    """
    images = np.zeros((len(labels), side * side), np.uint8)
    images[range(len(labels)), np.resize(SHOWN, len(labels))] = 255
    part = Split(
        images.reshape(-1, side, side, 1), np.array(labels, np.int32), np.arange(100, 100 + len(labels), dtype=np.int32)
    )
    workspace.dataset.mkdir(parents=True)
    data_sets.write(
        workspace.dataset,
        "fashion-mnist",
        names,
        {**dict.fromkeys(dataset.SPLITS, part), "train": replace(part, labels=np.zeros_like(part.labels))},
        (),
        dict.fromkeys(dataset.SPLITS, files) if files else None,
    )


def split_again(workspace: Workspace, seed: int) -> set[int]:
    """Replace the data by 120 different images, 40 of them for the test by `seed`; return the numbers of the others."""
    labels = np.resize([0, 1, 2, 0], 120)
    images = np.zeros((120, 4), np.uint8)
    images[range(120), labels] = 255  # what `PLAIN` reads
    images[:, 3] = np.arange(120)  # what nothing reads
    order = np.random.default_rng(seed).permutation(120)
    places = dict(zip(dataset.SPLITS, np.split(order, [60, 80]), strict=True))
    splits = {
        name: Split(images[rows].reshape(-1, 2, 2, 1), labels[rows].astype(np.int32), rows.astype(np.int32))
        for name, rows in places.items()
    }
    shutil.rmtree(workspace.dataset)
    workspace.dataset.mkdir()
    data_sets.write(workspace.dataset, "fashion-mnist", NAMES, splits, ())
    return {*order[:80].tolist()}


def build(reads: Sequence[int], classes: int = 3, side: int = 2) -> Any:
    """A model that is 0.9 sure of the class `reads` gives for the white pixel."""
    import keras

    layers = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(classes, "softmax")]
    model = keras.Sequential([keras.Input((side, side, 1), dtype="uint8", name="images"), *layers])
    kernel = np.zeros((side * side, classes))
    kernel[range(len(reads)), list(reads)] = np.log(0.9 / 0.1 * (classes - 1))
    model.layers[-1].set_weights([kernel, np.zeros(classes)])
    return model


@dataclass(frozen=True)
class Trainings:
    """A workspace with its store, to which trainings are published."""

    workspace: Workspace
    client: Any

    def add(self, reads: Sequence[int], evaluated: bool = True, says_images: bool = True, **changes: Any) -> str:
        """Publishes a training on data/dataset, with `changes` to its record, and returns the id of its run.

        Without `says_images`, its model does not say on which images it was trained.
        """
        data = dataset.read(self.workspace.dataset)
        model = build(reads, data.description.classes, data.description.image_shape[0])
        self.workspace.model.parent.mkdir(exist_ok=True)
        model.save(self.workspace.model)
        digest = provenance.weights_digest(model)
        training_id = f"{''.join(map(str, reads))}-{digest[:8]}-{data.description.digest[:8]}"
        record = replace(_record(data.description, training_id, digest), **{"params_file": "ingest: {}\n", **changes})
        provenance.write(self.workspace.training, record)
        np.save(self.workspace.training_images, dataset.trained_on(data), allow_pickle=False)
        if not says_images:
            self.workspace.training_images.unlink()
        self.workspace.history.parent.mkdir(exist_ok=True)
        self.workspace.history.write_text("epoch,timestamp_ms,train/loss\n1,5,0.5\n")
        run_id = stores.publish(self.client, self.workspace)
        if evaluated:
            self._evaluate(model, data)
        return run_id

    def _evaluate(self, model: Any, data: dataset.Dataset) -> None:
        answers = np.asarray(model(np.asarray(data.test.images)))
        known = {"source_index": data.test.source_index, "label": data.test.labels}
        frame = pd.DataFrame({**known, "predicted": answers.argmax(axis=1).astype(np.int32)})
        frame = frame.join(pd.DataFrame(answers, columns=list(data.description.class_names)))
        frame.to_parquet(self.workspace.predictions, index=False)
        baseline.write(self.baseline(data), data, self.workspace.baseline)
        stores.write_evaluation(self.workspace, {}, self.workspace.predictions, self.workspace.baseline)
        stores.publish(self.client, self.workspace)

    def baseline(self, data: dataset.Dataset) -> Baseline:
        """A classifier that takes every image for the first class."""
        return Baseline(name="constant", labels=data.test.labels, predicted=np.zeros_like(data.test.labels))

    def register(self, run_id: str) -> str:
        """Makes a version of the run's model."""
        return model_files.register(self.client, MODEL, run_id)


def _record(description: dataset.Description, training_id: str, weights_digest: str) -> TrainingRecord:
    return TrainingRecord(
        training_id=training_id,
        dataset_name=description.name,
        dataset_digest=description.digest,
        image_shape=description.image_shape,
        class_names=description.class_names,
        architecture="notebook",
        parameters=15,
        params={"ingest": {"dataset": "fashion-mnist"}, "train": {"epochs": 2, "seed": 42}},
        threads=2,
        warm_start={},
        started_ms=1_700_000_000_000,
        git=GitState("c0ffee" * 6 + "c0ff", "main", True, "", ()),
        environment={"keras": "3.15.1", "tensorflow": "2.21.0", "numpy": "2.4.0"},
        model_summary="",
        weights_digest=weights_digest,
        finished_ms=1_700_000_001_000,
        fit_seconds=1.0,
    )
