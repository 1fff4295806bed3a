"""A .keras file: checked before anything in it is used, loaded in Keras' safe mode; its probabilities, checked as well.

A model file may come from a registry that others can write to, and a config can name any class of Keras: one that runs
pickled code, reads another file, or allocates all memory. So only what an image classifier needs is accepted, and the rest is
refused by name: https://keras.io/api/models/model_saving_apis/ says what `safe_mode` covers (Lambda layers, and little else).
"""

import json
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import environment
from pipeline.dataset import Description
from pipeline.errors import EvaluationError

_SUM_TOLERANCE = 1e-3  # a float32 softmax over 1,000 classes stays within 4e-7 (10,000 random rows)
_MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}
_MAX_CONFIG = 10_000_000  # bytes; `large`, of 40 convolutions, has 137,378
_KINDS = {  # module → name in `keras` of the class that what it holds must be derived from
    "keras": "DTypePolicy",
    "keras.layers": "layers.Layer",
    "keras.initializers": "initializers.Initializer",
    "keras.regularizers": "regularizers.Regularizer",
    "keras.constraints": "constraints.Constraint",
}
_MODELS = {"Functional", "Sequential"}
_REFUSED = {  # layers that run code of another framework or from another file, or read a file that the config names
    *("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"),
    *("StringLookup", "IntegerLookup", "TextVectorization"),
}


def load(path: Path, description: Description | None = None, advice: Callable[[], str] = str) -> Any:
    """Return the Keras model in `path`.

    Args:
        path: The file.
        description: The data set whose images it must take and whose classes it must know.
        advice: Returns the way out, for messages.

    Raises:
        EvaluationError: it is no Keras model, holds what an image classifier does not need, or was made for other images or
            other classes.
    """
    environment.load_tensorflow()
    import keras

    if not zipfile.is_zipfile(path):  # Keras would say that it does not exist
        raise _error(f"{path.name} is no Keras model, or was cut short", advice)
    try:
        check(path)
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, zipfile.BadZipFile) as error:
        reason = environment.message(error)
        raise _error(f"{path.name} cannot be loaded ({reason})", advice) from None
    if description:
        _check_fit(model, path.name, description)
    return model


def _error(problem: str, advice: Callable[[], str]) -> EvaluationError:
    return EvaluationError(": ".join(filter(None, (problem, advice()))))


def check(path: Path) -> None:
    """Raise ValueError or BadZipFile unless `path` is an archive as Keras writes it, of what an image classifier needs.

    Keras stores the members uncompressed, and the weights in HDF5 without filters, so nothing grows when it is read.
    """
    with zipfile.ZipFile(path) as file:
        members = file.infolist()
        names = sorted(each.filename for each in members)
        if names != sorted(_MEMBERS):
            raise ValueError(f"it holds {', '.join(names)[:100]} instead of {', '.join(sorted(_MEMBERS))}")
        if any(each.compress_type != zipfile.ZIP_STORED for each in members):
            raise ValueError("it is compressed, which Keras does not do")
        if sum(each.file_size for each in members) > path.stat().st_size or file.getinfo("config.json").file_size > _MAX_CONFIG:
            raise ValueError("its parts are larger than a model's")
        if damaged := file.testzip():  # Keras reads the weights lazily, and misses a checksum that is wrong
            raise zipfile.BadZipFile(f"{damaged} is damaged")
        config = json.loads(file.read("config.json"))
        config.pop("compile_config", None)  # loaded for prediction only, the model is not compiled
        for each in _objects(config):
            _check_object(each)
        with file.open("model.weights.h5") as weights:
            _check_weights(weights)


def _objects(config: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every serialised object in `config`, at any depth."""
    if isinstance(config, dict):
        if "class_name" in config:
            yield config
        for value in config.values():
            yield from _objects(value)
    elif isinstance(config, list):
        for value in config:
            yield from _objects(value)


def _check_object(config: Mapping[str, Any]) -> None:
    module, name, registered = (config.get(key) for key in ("module", "class_name", "registered_name"))
    if name == "__keras_tensor__" and module is None:
        return
    if name in _REFUSED or registered not in (None, name) or not _is_known(str(module), str(name)):
        raise ValueError(
            f"its config names {module}.{name}{f' as {registered}' if registered not in (None, name) else ''}, which no image "
            "classifier of plain Keras layers needs"
        )


def _is_known(module: str, name: str) -> bool:
    """Return whether `name` in `module` is a layer, a part of one, an operation on tensors or a model made of them."""
    import keras

    if name in _MODELS:
        return module == "keras" or module.startswith("keras.src.models.")
    if module.startswith("keras.src.ops."):
        found, kind = getattr(sys.modules.get(module), name, None), keras.Operation
    elif module in _KINDS:
        found, kind = (_attribute(keras, path) for path in (f"{module}.{name}".removeprefix("keras."), _KINDS[module]))
    else:
        return False
    return isinstance(found, type) and issubclass(found, kind)


def _attribute(module: Any, path: str) -> Any:
    for name in path.split("."):
        module = getattr(module, name, None)
    return module


def _check_weights(file: Any) -> None:
    """Refuse links and data sets that take more memory than file; Keras itself allows 4 GiB, and a thousandfold beyond."""
    import h5py

    with h5py.File(file, "r") as opened:
        groups, seen = [opened], {h5py.h5o.get_info(opened.id).addr}
        while groups:
            group = groups.pop()
            for name in group:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise ValueError(f"its weights hold a link, {name}")
                item = group[name]
                address = h5py.h5o.get_info(item.id).addr
                if address in seen:
                    raise ValueError(f"its weights hold a link, {name}")
                seen.add(address)
                if isinstance(item, h5py.Group):
                    groups.append(item)
                elif item.external or item.is_virtual or item.nbytes > item.id.get_storage_size():
                    raise ValueError(f"its weights {item.name} are not stored in it")


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
    check_probabilities(probabilities)
    return probabilities, len(images) / seconds


def check_probabilities(probabilities: NDArray[np.float32]) -> None:
    """Raise EvaluationError unless each row, `(n, classes)`, is a probability distribution; it names the first that is not."""
    finite: NDArray[np.bool_] = np.all(np.isfinite(probabilities), axis=1)
    if not finite.all():
        raise EvaluationError(
            f"{_first(finite)} is not a number (NaN or infinite): lower the learning_rate of its recipe in params.yaml, then "
            "`dvc repro`"
        )
    sums, lowest = probabilities.sum(axis=1, dtype=np.float64), probabilities.min(axis=1)
    good: NDArray[np.bool_] = np.logical_and(np.abs(sums - 1) <= _SUM_TOLERANCE, lowest >= 0)
    if not good.all():
        row = int(good.argmin())
        raise EvaluationError(
            f"{_first(good)} is not a probability distribution (sum {sums[row]:.4g}, lowest {lowest[row]:.4g}): "
            "end the model in a float32 softmax, then `dvc repro`"
        )


def _first(good: NDArray[np.bool_]) -> str:
    """Name the first row that is not good."""
    return f"the prediction for test image {int(good.argmin())} ({np.count_nonzero(~good):,} of {good.size:,} rows affected)"
