"""The folder of a logged model, as `log_model` writes it and nothing else: checked before anything in it is loaded.

MLflow imports the `loader_module` and the `code` that an MLmodel file names, and the module that data/keras_module.txt names;
whoever can write to the store could so run code wherever a model is loaded. Here the MLmodel is never followed: it must be of
the one kind that this pipeline writes, so that other clients can load what was checked.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import environment, params
from pipeline.errors import ParamsError, RegistryError
from pipeline.restore import way_back

MODEL, IMAGES = "data/model.keras", "training_images.npy"
_NEEDED = {"MLmodel", "data/keras_module.txt", MODEL}
_KNOWN = {
    *_NEEDED,
    *("conda.yaml", "python_env.yaml", "requirements.txt", "input_example.json", "serving_input_example.json", IMAGES),
    "registered_model_meta",  # MLflow adds it whenever a model is loaded
}
_MAX_TEXT = 100_000  # bytes; an MLmodel has 1,200
_FLAVORS: Mapping[str, Mapping[str, object]] = {
    "keras": {"data": "data", "keras_backend": "tensorflow", "save_exported_model": False},
    "python_function": {"loader_module": "mlflow.keras"},
}
_FREE = {"keras": {"keras_version"}, "python_function": {"env", "python_version"}}


def check(folder: Path, name: str) -> None:
    """Raise RegistryError unless `folder` is the entry of a model that this pipeline logged; the message calls it `name`."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()}
    problem = next((f"{path} is a link" for path, file in found.items() if not file.is_file() or file.is_symlink()), "")
    if unknown := sorted({*found} - _KNOWN):
        problem = f"it holds {unknown[0]}, which this pipeline never logs"
    elif missing := sorted(_NEEDED - {*found}):
        problem = f"it holds no {missing[0]}"
    problem = problem or _in_keras_module(found["data/keras_module.txt"]) or _in_mlmodel(found["MLmodel"])
    if problem:
        raise RegistryError(f"the files of {name} are refused, nothing was loaded: {problem}; do not use it")


def _in_keras_module(path: Path) -> str:
    return "" if path.read_bytes()[:100].strip() == b"keras" else "data/keras_module.txt names another module than keras"


def _in_mlmodel(path: Path) -> str:
    """Return what in the MLmodel is not as `log_model` writes it; "" where nothing is."""
    if path.stat().st_size > _MAX_TEXT:
        return "its MLmodel is too large"
    try:
        content = params.read_yaml(path)
    except (ParamsError, ValueError, RecursionError):  # a date that does not exist is a ValueError
        return "its MLmodel is not YAML"
    flavors = content.get("flavors") if isinstance(content, dict) else None
    if not isinstance(flavors, dict) or {*flavors} != {*_FLAVORS}:
        return f"its MLmodel has the flavors {_shown(flavors)} instead of {' and '.join(_FLAVORS)}"
    for flavor, wanted in _FLAVORS.items():
        given = flavors[flavor] if isinstance(flavors[flavor], dict) else {}
        for key in sorted({*given, *wanted} - _FREE[flavor], key=str):
            if key not in wanted or given.get(key) != wanted[key]:
                return f"its MLmodel has {flavor}.{key} {_shown(given.get(key))}" + _instead(wanted, key)
    return ""


def _instead(wanted: Mapping[str, object], key: str) -> str:
    return f" instead of {wanted[key]}" if key in wanted else ", which this pipeline never writes"


def _shown(value: Any) -> str:
    names = sorted(map(str, value)) if isinstance(value, dict) else [str(value)]
    return (" ".join(", ".join(names).split()) or "none")[:100]


def training_images(folder: Path, name: str) -> NDArray[np.uint64] | None:
    """Return the digests of the images that the model of the entry `folder` was trained on; None where it does not say.

    Raises:
        RegistryError: the file is not what train writes.
    """
    path = folder / IMAGES
    if not path.exists():
        return None
    return read_images(path, f"{IMAGES} of {name}")


def read_images(path: Path, shown: str) -> NDArray[np.uint64]:
    """Return the content of training_images.npy, sorted uint64 `(n,)`; errors call the file `shown`.

    Raises:
        RegistryError: it is not what train writes.
    """
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        good = found.dtype == np.uint64 and found.ndim == 1 and len(found) > 0 and bool((found[1:] > found[:-1]).all())
    except (OSError, ValueError, TypeError) as error:
        reason = f"cannot be read ({environment.message(error, 100)})"
    else:
        reason = "" if good else "is not what train writes"
    if reason:
        raise RegistryError(f"{shown} {reason}: {way_back(path, 'train')}")
    digests: NDArray[np.uint64] = np.array(found)
    return digests
