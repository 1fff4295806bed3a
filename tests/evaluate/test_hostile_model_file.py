"""A .keras file that was made to do harm is refused by name before anything in it is used."""

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import model_file
from pipeline.errors import EvaluationError
from tests.compare.trainings import PLAIN, build

Parts = dict[str, bytes]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    """The members of a good model's archive."""
    path = tmp_path_factory.mktemp("good") / "model.keras"
    build(PLAIN).save(path)
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def write(parts: Mapping[str, bytes], path: Path, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in parts.items():
            file.writestr(name, content)
    return path


def with_layer(layer: Mapping[str, Any]) -> Callable[[Parts], None]:
    """Replace the second layer of the config."""

    def change(parts: Parts) -> None:
        config = json.loads(parts["config.json"])
        config["config"]["layers"][1] = layer
        parts["config.json"] = json.dumps(config).encode()

    return change


def of(module: str | None, name: str, config: Any = None, registered: str | None = None) -> Callable[[Parts], None]:
    return with_layer({"module": module, "class_name": name, "config": config or {}, "registered_name": registered})


def nested(parts: Parts) -> None:
    """A function deep in the config of a layer that is known."""
    config = json.loads(parts["config.json"])
    config["config"]["layers"][-1]["config"]["activation"] = {
        "module": "os",
        "class_name": "function",
        "config": "system",
        "registered_name": "function",
    }
    parts["config.json"] = json.dumps(config).encode()


def rewritten(change: Callable[[Any], None]) -> Callable[[Parts], None]:
    """Change the HDF5 file of the weights."""

    def make(parts: Parts) -> None:
        import h5py

        content = io.BytesIO(parts["model.weights.h5"])
        with h5py.File(content, "r+") as file:
            change(file)
        parts["model.weights.h5"] = content.getvalue()

    return make


def first(file: Any) -> tuple[Any, str]:
    """Return the group that holds the kernel, and its name there."""
    group = file["layers/dense/vars"]
    return group, next(iter(group))


def external_link(file: Any) -> None:
    import h5py

    group, name = first(file)
    del group[name]
    group[name] = h5py.ExternalLink("/etc/passwd", "/x")


def soft_link(file: Any) -> None:
    import h5py

    file["layers/loop"] = h5py.SoftLink("/layers")


def hard_link(file: Any) -> None:
    file["layers/loop"] = file["layers"]


def external_data(file: Any) -> None:
    group, name = first(file)
    del group[name]
    group.create_dataset(name, (4, 3), np.float32, external=[("/etc/passwd", 0, 48)])


def bomb(file: Any) -> None:
    group, name = first(file)
    del group[name]
    group.create_dataset(name, (1 << 20, 1 << 9), np.float32, chunks=(1 << 10, 1 << 9), compression="gzip", fillvalue=1.0)


DEFECTS: dict[str, tuple[Callable[[Parts], None], str]] = {
    "lambda": (of("keras.layers", "Lambda", {"function": {"class_name": "__lambda__"}}), r"keras\.layers\.Lambda"),
    "python-lambda": (of(None, "__lambda__", {"value": "x"}), r"None\.__lambda__"),
    "saved-model": (of("keras.layers", "TFSMLayer", {"filepath": "saved"}), r"keras\.layers\.TFSMLayer"),
    "torch": (of("keras.layers", "TorchModuleWrapper"), r"keras\.layers\.TorchModuleWrapper"),
    "reads-a-file": (of("keras.layers", "StringLookup", {"vocabulary": "/etc/passwd"}), r"keras\.layers\.StringLookup"),
    "foreign": (of("os", "system", {"command": "x"}), r"os\.system"),
    "function-of-keras": (of("keras.utils", "get_file", {"origin": "x"}), r"keras\.utils\.get_file"),
    "function-of-layers": (of("keras.layers", "deserialize"), r"keras\.layers\.deserialize"),
    "internal": (of("keras.src.saving.saving_lib", "load_model"), r"keras\.src\.saving\.saving_lib\.load_model"),
    "registered": (of("keras.layers", "Dense", {}, "package>Evil"), r"keras\.layers\.Dense as package>Evil"),
    "no-module": (of(None, "Dense"), r"None\.Dense"),
    "nested-function": (nested, r"os\.function"),
    "not-json": (lambda parts: parts.update({"config.json": b"{"}), "Expecting property name"),
    "deep": (lambda parts: parts.update({"config.json": b'{"a":' * 100_000 + b"1" + b"}" * 100_000}), "recursion"),
    "script": (lambda parts: parts.update({"assets/x.py": b"import os"}), r"it holds assets/x\.py, config\.json"),
    "external-link": (rewritten(external_link), "its weights hold a link"),
    "soft-link": (rewritten(soft_link), "its weights hold a link, loop"),
    "hard-link": (rewritten(hard_link), "its weights hold a link, loop"),
    "external-data": (rewritten(external_data), "are not stored in it"),
    "hdf5-bomb": (rewritten(bomb), "are not stored in it"),
}


def test_the_good_model_loads(parts: Mapping[str, bytes], tmp_path: Path) -> None:
    assert model_file.load(write(parts, tmp_path / "model.keras")).count_params() == 15


@pytest.mark.parametrize("defect", DEFECTS)
def test_it_is_refused_in_one_line(parts: Mapping[str, bytes], tmp_path: Path, defect: str) -> None:
    change, message = DEFECTS[defect]
    spoiled = dict(parts)
    change(spoiled)
    with pytest.raises(EvaluationError, match=rf"^model\.keras cannot be loaded \(.*{message}[^\n]*\)$"):
        model_file.load(write(spoiled, tmp_path / "model.keras"))


def test_a_zip_bomb_is_refused(parts: Mapping[str, bytes], tmp_path: Path) -> None:
    bomb = {**parts, "model.weights.h5": bytes(100_000_000)}
    path = write(bomb, tmp_path / "model.keras", zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 200_000
    with pytest.raises(EvaluationError, match="it is compressed, which Keras does not do"):
        model_file.load(path)
