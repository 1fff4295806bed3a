"""The model's probabilities for the test images, checked, and how fast it predicts."""

import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import environment
from pipeline.dataset import Description
from pipeline.errors import EvaluationError

_SUM_TOLERANCE = 1e-3  # a float32 softmax over 1,000 classes stays within 4e-7 (10,000 random rows)


def load(path: Path, description: Description) -> Any:
    """Return the Keras model in `path`, which takes the images of the data set and knows its classes.

    Raises:
        EvaluationError: the file is no Keras model, or the model was made for other images or other classes.
    """
    environment.load_tensorflow()
    import keras

    if not zipfile.is_zipfile(path):  # Keras would say that it does not exist
        raise EvaluationError(f"{path.name} is no Keras model, or was cut short: run `dvc repro -s -f train`")
    try:
        with zipfile.ZipFile(path) as file:  # Keras reads the weights lazily, and misses a checksum that is wrong
            if damaged := file.testzip():
                raise zipfile.BadZipFile(f"{damaged} is damaged")
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:200]
        raise EvaluationError(f"{path.name} cannot be loaded ({reason}): run `dvc repro -s -f train`") from None
    _check_fit(model, path.name, description)
    return model


def _check_fit(model: Any, name: str, description: Description) -> None:
    inputs, outputs = ([tuple(tensor.shape[1:]) for tensor in tensors] for tensors in (model.inputs, model.outputs))
    if len(inputs) != 1 or not _accepts(inputs[0], description.image_shape):
        raise EvaluationError(
            f"{name} takes images of shape {_shapes(inputs)}, {description.name} has {_shapes([description.image_shape])}: "
            "run `dvc repro train`"
        )
    if outputs != [(description.classes,)]:
        raise EvaluationError(
            f"{name} predicts {_shapes(outputs)} values, {description.name} has {description.classes} classes: "
            "run `dvc repro train`"
        )


def _accepts(expected: tuple[int | None, ...], shape: tuple[int, ...]) -> bool:
    """Return whether images of `shape` fit an input of shape `expected`, where None is any size."""
    return len(expected) == len(shape) and all(a in (None, b) for a, b in zip(expected, shape, strict=True))


def _shapes(shapes: list[Any]) -> str:
    return " and ".join(" × ".join("any" if size is None else str(size) for size in shape) for shape in shapes)


def predict(model: Any, images: NDArray[np.uint8], batch_size: int) -> tuple[NDArray[np.float32], float]:
    """Predict `images`, uint8 `(n, h, w, c)`, read batch by batch (a memory-map stays on disk).

    Returns:
        The probabilities `(n, classes)`, each row sums to one; images per second, after one batch of warm-up.

    Raises:
        EvaluationError: there are no images, or a row holds no probabilities; the first such row is named.
    """
    if len(images) == 0:
        raise EvaluationError("the test split is empty: raise ingest.test_fraction in params.yaml, then `dvc repro`")
    probabilities = np.empty((len(images), model.outputs[0].shape[-1]), np.float32)
    model.predict_on_batch(images[:batch_size])  # the first call compiles
    start = time.perf_counter()
    for first in range(0, len(images), batch_size):
        batch = slice(first, first + batch_size)
        probabilities[batch] = model.predict_on_batch(images[batch])
    seconds = time.perf_counter() - start
    _check_probabilities(probabilities)
    return probabilities, len(images) / seconds


def _check_probabilities(probabilities: NDArray[np.float32]) -> None:
    finite: NDArray[np.bool_] = np.all(np.isfinite(probabilities), axis=1)
    if not finite.all():
        raise EvaluationError(
            f"{_first(finite)} is not a number (NaN or infinite): lower train.learning_rate, then `dvc repro train`"
        )
    sums, lowest = probabilities.sum(axis=1, dtype=np.float64), probabilities.min(axis=1)
    good: NDArray[np.bool_] = np.logical_and(np.abs(sums - 1) <= _SUM_TOLERANCE, lowest >= 0)
    if not good.all():
        row = int(good.argmin())
        raise EvaluationError(
            f"{_first(good)} is not a probability distribution (sum {sums[row]:.4g}, lowest {lowest[row]:.4g}): "
            "end the model in a float32 softmax, then `dvc repro train`"
        )


def _first(good: NDArray[np.bool_]) -> str:
    """Name the first row that is not good."""
    return f"the prediction for test image {int(good.argmin())} ({np.count_nonzero(~good):,} of {good.size:,} rows affected)"
