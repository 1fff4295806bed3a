"""A small model trained on scikit-learn's digits, in a workspace of its own; and models that do not fit them."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline import baseline, dataset, provenance
from pipeline.baseline import Baseline
from pipeline.dataset import Split
from pipeline.params import EvaluateParams
from pipeline.provenance import GitState, TrainingRecord
from pipeline.workspace import Workspace
from tests import data_sets

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight, or 8", "<nine> & 'more'")
BuildModel = Callable[..., Any]
PARAMS = EvaluateParams(
    batch_size=64, calibration_bins=10, slices=["pixel_mean", "class_similarity"], slice_bins=4, grid_images=12
)


@dataclass(frozen=True)
class Trained:
    """A workspace after train, and the way to swap its model."""

    workspace: Workspace

    def save(self, model: Any) -> None:
        model.save(self.workspace.model)
        self.record(weights_digest=provenance.weights_digest(model))

    def record(self, **changes: Any) -> None:
        path = self.workspace.training
        provenance.write(path, replace(provenance.read_training(path), **changes))

    def test_on(self, test: Split, class_names: tuple[str, ...] = NAMES, files: Sequence[str] | None = None) -> None:
        """Make `test` the test split, and the rest agree with it."""
        old = dataset.read(self.workspace.dataset)
        shutil.rmtree(self.workspace.dataset)  # its arrays stay readable while they are mapped
        self.workspace.dataset.mkdir()
        splits = {"train": test, "validation": old.validation, "test": test}
        names = dict.fromkeys(splits, files or ()) if files else None
        folder = self.workspace.dataset
        description = data_sets.write(folder, "digits", class_names, splits, (), names)  # type: ignore[arg-type]
        _write_features(self.workspace, test)
        write_baseline(self.workspace)
        self.record(dataset_digest=description.digest, class_names=class_names)


@pytest.fixture(scope="session")
def build_model() -> BuildModel:
    """Build a one-layer model of uint8 images; `bias` fixes its outputs, `activation` what they are."""

    def build(
        shape: Sequence[int] = (8, 8, 1), classes: int = 10, activation: str = "softmax", bias: Sequence[float] | None = None
    ) -> Any:
        import keras

        keras.utils.set_random_seed(1)
        layers = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(classes, activation)]
        model = keras.Sequential([keras.Input(tuple(shape), dtype="uint8"), *layers])
        if bias is not None:
            model.layers[-1].set_weights([np.zeros((int(np.prod(shape)), classes)), np.array(bias)])
        return model

    return build


@pytest.fixture(scope="session")
def params() -> EvaluateParams:
    return PARAMS


@pytest.fixture(scope="session")
def learned(tmp_path_factory: pytest.TempPathFactory, build_model: BuildModel) -> Workspace:
    """Digits and a model trained on them briefly; read only: copy it to change it."""
    import keras
    from sklearn.datasets import load_digits

    root = tmp_path_factory.mktemp("learned")
    workspace = Workspace(root, root)
    (root / "dvc.yaml").touch()
    digits = load_digits()
    images = (digits.images * 15).astype(np.uint8)[..., None]
    labels, index = digits.target.astype(np.int32), np.arange(len(images), dtype=np.int32)
    parts = {"train": slice(0, 1200), "validation": slice(1200, 1400), "test": slice(1400, None)}
    splits = {name: Split(images[part], labels[part], index[part]) for name, part in parts.items()}
    workspace.dataset.mkdir(parents=True)
    description = data_sets.write(workspace.dataset, "digits", NAMES, splits, ())  # type: ignore[arg-type]
    workspace.model.parent.mkdir()
    np.save(workspace.training_images, dataset.trained_on(dataset.read(workspace.dataset)))
    model = build_model()
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    model.fit(images[:1200], labels[:1200], batch_size=32, epochs=5, verbose=0)
    model.save(workspace.model)
    provenance.write(workspace.training, _record(description, provenance.weights_digest(model)))
    workspace.history.parent.mkdir()
    _write_features(workspace, splits["test"])
    write_baseline(workspace)
    found = {"expectations": [{"id": "no-lost-regions", "verdict": "warned"}, {"id": "labels-in-range", "verdict": "passed"}]}
    workspace.validation_json.write_text(json.dumps(found))
    workspace.history.write_text("train/loss,validation/loss,train/accuracy,validation/accuracy\n1,2,0.5,0.4\n0.5,1,0.7,0.6\n")
    return workspace


@pytest.fixture
def trained(learned: Workspace, tmp_path: Path) -> Trained:
    """A copy of `learned` that a test may change."""
    shutil.copytree(learned.root, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("reports"))
    (tmp_path / "reports").mkdir()
    for path in (learned.history, learned.features, learned.baseline, learned.validation_json):
        shutil.copy(path, tmp_path / "reports")
    return Trained(Workspace(tmp_path, tmp_path))


def _write_features(workspace: Workspace, test: Split) -> None:
    """Write the columns of features.parquet that PARAMS uses; class_similarity is unknown for every tenth image."""
    rows = np.arange(len(test), dtype=np.int32)
    class_similarity = np.where(rows % 10 == 0, np.nan, np.linspace(-0.2, 1, len(test)))
    brightness = test.images.mean(axis=(1, 2, 3))
    columns = {
        "row": rows,
        "label": test.labels,
        "split": "test",
        "pixel_mean": brightness,
        "class_similarity": class_similarity,
    }
    pd.DataFrame(columns).to_parquet(workspace.features, index=False)


def write_baseline(workspace: Workspace) -> None:
    """Write a baseline that takes every image for the first class."""
    data = dataset.read(workspace.dataset)
    simple = Baseline(name="<simple> classifier", labels=data.test.labels, predicted=np.zeros_like(data.test.labels))
    baseline.write(simple, data, workspace.baseline)


def _record(description: dataset.Description, weights_digest: str) -> TrainingRecord:
    return TrainingRecord(
        training_id="6f3c",
        dataset_name=description.name,
        dataset_digest=description.digest,
        image_shape=description.image_shape,
        class_names=description.class_names,
        architecture="notebook",
        parameters=650,
        params={"train": {"epochs": 5}},
        threads=2,
        warm_start={},
        started_ms=1,
        git=GitState("c0ffee", "main", True, "", ()),
        environment={},
        model_summary="",
        weights_digest=weights_digest,
        finished_ms=2,
        fit_seconds=0.001,
    )
